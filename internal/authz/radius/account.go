package radius

import (
	"context"
	"fmt"
	"strings"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/radius/transport"
)

// Account implements accounting.Sink: it tells r to the tenant's servers, in order, until one of them has acknowledged it.
// The error says which servers were asked; it holds no secrets.
func (c *Client) Account(ctx context.Context, r accounting.Record) error {
	o, err := recording(&r)
	if err != nil {
		return err
	}
	if _, err := c.group.Exchange(ctx, transport.Request{
		Purpose: transport.Accounting, Code: radius.CodeAccountingRequest, Build: o.build,
	}); err != nil {
		return fmt.Errorf("%s of %s is not acknowledged: %w", r.Status, o.SessionID, err)
	}
	return nil
}

// recording is what the Accounting-Request for r is made of.
func recording(r *accounting.Record) (*outgoing, error) {
	status, known := statusTypes[r.Status]
	o := &outgoing{packet: status.packet, record: r, at: r.Time}
	switch {
	case !known:
		return nil, fmt.Errorf("radius: a record with the status %s can't be told", r.Status)
	case status.packet&inSession == 0:
		// RFC 2866 section 5.5 has an Acct-Session-Id in every request.
		o.Caller = authz.Caller{Tenant: r.Tenant, SessionID: fmt.Sprintf("%s-%x", strings.ToLower(r.Status.String()), r.ID)}
	case r.Session == nil:
		return nil, fmt.Errorf("radius: a record with the status %s has no session", r.Status)
	default:
		o.Caller, o.user, o.method = r.Session.Caller, r.Session.User, r.Session.Method
	}
	return o, nil
}
