package coa

import (
	"context"
	"errors"
	"slices"
	"strings"

	"layeh.com/radius"
	"layeh.com/radius/rfc3576"

	"concentrator/internal/authz"
	access "concentrator/internal/authz/radius"
	"concentrator/internal/authz/radius/packet"
)

// answer does what q asks for. nil: it is done.
func (s *Server) answer(ctx context.Context, q *request) *Refusal {
	if r := s.checkNAS(q); r != nil {
		return r
	}
	if r := checkService(q); r != nil {
		return r
	}
	m, c, bad := access.ParseChange(q.packet.Code, q.packet.Attributes)
	if bad != nil {
		return refuse(Cause(bad.Cause), "%v", bad)
	}
	disconnect := q.packet.Code == radius.CodeDisconnectRequest
	switch {
	case isEmpty(m):
		return refuse(MissingAttribute, "no attribute tells which session is meant")
	case !disconnect && c == authz.Change{}:
		return refuse(MissingAttribute, "no attribute says what to change")
	}
	found, r := s.find(q, m)
	if r != nil {
		return r
	}
	if !disconnect {
		if err := s.cfg.Host.Change(ctx, found[0], c); err != nil {
			return refusal(err)
		}
		return nil
	}
	return s.disconnect(ctx, found, c)
}

// find returns the IDs of the sessions that m fits: at least one, and one only where no more are allowed.
func (s *Server) find(q *request, m authz.Match) ([]string, *Refusal) {
	tenants := 0
	for _, id := range q.who.tenants {
		n := len(q.sessions)
		for _, session := range s.cfg.Host.Sessions(id) {
			if fits(m, session) {
				q.sessions = append(q.sessions, session.ID)
			}
		}
		if len(q.sessions) > n {
			tenants++
		}
	}
	switch n := len(q.sessions); {
	case n == 0:
		return nil, refuse(NotFound, "no session fits")
	case n == 1:
	case tenants > 1:
		return nil, refuse(MultipleSessions, "sessions of %d tenants fit", tenants)
	case q.packet.Code != radius.CodeDisconnectRequest:
		return nil, refuse(MultipleSessions, "%d sessions fit, and only one can be changed", n)
	case m.User == "":
		return nil, refuse(MultipleSessions, "%d sessions fit, and without a User-Name only one can be ended", n)
	}
	return q.sessions, nil
}

// disconnect ends sessions. One that has ended meanwhile is as good as ended; after another error the rest is ended all the same,
// for the ones before can't be brought back.
func (s *Server) disconnect(ctx context.Context, ids []string, c authz.Change) (first *Refusal) {
	for _, id := range ids {
		var err error
		if c.Class != nil { // for its Stop
			err = s.cfg.Host.Change(ctx, id, c)
		}
		if err == nil {
			err = s.cfg.Host.Disconnect(ctx, id)
		}
		if err != nil && !errors.Is(err, ErrNotFound) && first == nil {
			first = refusal(err)
		}
	}
	return first
}

// reply makes the ACK or, if the request is refused, the NAK, RFC 5176 section 2.3.
func (q *request) reply(refused *Refusal) ([]byte, error) {
	code := radius.CodeDisconnectACK
	switch disconnect := q.packet.Code == radius.CodeDisconnectRequest; {
	case disconnect && refused != nil:
		code = radius.CodeDisconnectNAK
	case !disconnect && refused != nil:
		code = radius.CodeCoANAK
	case !disconnect:
		code = radius.CodeCoAACK
	}
	p := q.packet.Response(code)
	if refused != nil {
		p.Add(rfc3576.ErrorCause_Type, radius.NewInteger(uint32(refused.Cause)))
	}
	p.Attributes = append(p.Attributes, q.echo...)
	return packet.Sign(p)
}

// tenantNames are the resource names of who's tenants, for the log.
func tenantNames(who signer) string {
	names := slices.Clone(who.tenants)
	for i := range names {
		names[i] = "tenants/" + names[i]
	}
	return strings.Join(names, " ")
}
