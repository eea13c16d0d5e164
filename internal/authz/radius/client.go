package radius

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// Client asks the RADIUS servers of one tenant. It is safe for concurrent use; Close releases its sockets.
type Client struct {
	group      *transport.Group
	challenges challenges

	mu  sync.Mutex
	cfg transport.Config // of New or the last Update
}

var (
	_ authz.Authenticator = (*Client)(nil)
	_ accounting.Sink     = (*Client)(nil)
)

// New checks cfg and returns a Client for it. It does not block: names are looked up and connections made behind its back.
func New(cfg Config) (*Client, error) {
	group, err := transport.New(cfg.Config)
	if err != nil {
		return nil, fmt.Errorf("RADIUS servers of %s: %w", cfg.Tenant, err)
	}
	return &Client{group: group, cfg: cfg.Config}, nil
}

// Update replaces the configuration. Servers that stay keep their sockets, their health and the requests under way. After
// an error everything is as before.
func (c *Client) Update(cfg Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.group.Update(cfg.Config); err != nil {
		return fmt.Errorf("RADIUS servers of %s: %w", cfg.Tenant, err)
	}
	c.cfg = cfg.Config
	return nil
}

// Health says how each server does, in the order of the configuration.
func (c *Client) Health() []transport.Health { return c.group.Health() }

// Close ends the requests under way without an answer, closes the sockets and waits until every goroutine has ended. It may
// be called again.
func (c *Client) Close() { c.group.Close() }

// Authenticate implements authz.Authenticator.
//
// A conversation (Request.State, or a PAP password that answers an Access-Challenge) stays with its server: nobody else
// knows its State. If that server does not answer, the error's Verdict has Restart where EAP can begin anew with another.
func (c *Client) Authenticate(ctx context.Context, r authz.Request) (authz.Verdict, error) {
	if v, ok := askable(&r); !ok {
		return v, nil
	}
	who := asked{user: userName(&r), client: r.ClientAddress}
	at := c.goesOn(&r, who)
	o := &outgoing{
		packet: inRequest, Caller: r.Caller, user: who.user, method: r.Method, ask: &r, state: at.state, at: time.Now(),
	}
	reply, err := c.group.Exchange(ctx, transport.Request{
		Purpose: transport.Access, Code: radius.CodeAccessRequest, Build: o.build, Server: at.server,
		Signed: r.Method == tenant.AuthEAP, // there is nothing else that protects the packets of EAP
	})
	if err != nil {
		v, err := noAnswer(err)
		v.Restart = r.Method == tenant.AuthEAP && at.server != ""
		v.Trace.Sent = o.describe()
		return v, err
	}
	v, kept := interpret(reply.Packet, answering{
		server: reply.Server, method: r.Method, id: r.ID, mppeWanted: r.MPPEWanted,
		authenticator: reply.Authenticator, secret: reply.Secret,
	})
	if kept != nil {
		c.challenges.put(who, kept)
	}
	if v.Deny == "" && v.Next == nil && v.UserName == "" && who.user != r.User {
		v.UserName = who.user // accounting says what the server was asked about
	}
	v.Trace = traceOf(&reply)
	return v, nil
}

// goesOn returns the conversation that r is a part of; the zero value: r begins one.
func (c *Client) goesOn(r *authz.Request, who asked) conversation {
	switch r.Method {
	case tenant.AuthEAP:
		if at, ok := r.State.(*conversation); ok && at != nil {
			return *at
		}
	case tenant.AuthPAP:
		if at, ok := c.challenges.take(who); ok {
			return at
		}
	default: // CHAP and MS-CHAPv2 are over with one answer
	}
	return conversation{}
}

// noAnswer is what Authenticate returns when no server decided.
func noAnswer(err error) (authz.Verdict, error) {
	none := (*transport.NoAnswer)(nil)
	if !errors.As(err, &none) {
		return authz.NoAnswer(tenant.ReasonRadiusTimeout, err.Error(), err)
	}
	return authz.NoAnswer(none.Reason, none.Detail, err)
}

// traceOf is how a reply came about.
func traceOf(reply *transport.Reply) authz.Trace {
	return authz.Trace{
		Server: reply.Server, RTT: reply.RTT, Sent: describe(reply.Sent), Received: describe(reply.Packet),
	}
}

// build makes the packet for one server.
func (o *outgoing) build(t transport.Target) (*radius.Packet, error) {
	o.nasIdentifier, o.nasAddress = t.NASIdentifier, t.LocalAddr.Unmap()
	o.authenticator, o.secret = t.Authenticator, t.Secret
	list, err := o.attributes()
	if err != nil {
		return nil, err
	}
	o.built = &radius.Packet{Attributes: list}
	return o.built, nil
}

// describe is what was last sent, if anything was.
func (o *outgoing) describe() []authz.Attribute {
	if o.built == nil {
		return nil
	}
	b, err := (&radius.Packet{Attributes: o.built.Attributes}).MarshalBinary()
	if err != nil { // it was too long to be sent
		return nil
	}
	return describe(b)
}
