package l2tp

import (
	"fmt"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// deliver takes a message in its turn.
func (m *machine) deliver(d delivered) {
	t, _, err := wire.TypeOf(d.body)
	var msg wire.Message
	if err == nil {
		m.up.received(t, m.state)
		msg, err = wire.Parse(d.body, m.answer.Secret)
	}
	if err != nil {
		m.badMessage(t, d, err)
		return
	}
	switch v := msg.(type) {
	case nil: // unknown, and may be ignored
	case *wire.SCCCN:
		m.authenticate(v)
	case *wire.StopCCN:
		w := why{reason: stopCause(v.Result), detail: told("the peer stopped the tunnel", v.Result)}
		if m.state == waitCtlConn && m.secretRefused(v.Result) {
			w.reason = tenant.ReasonTunnelSecretMismatch
		}
		m.control(gotStop, nil, w)
	case *wire.HELLO:
		m.control(gotHello, nil, why{})
	case *wire.SCCRQ, *wire.SCCRP:
		m.outOfOrder(t)
	default:
		m.control(gotCallMessage, &inbound{d, msg}, why{})
	}
}

// secretRefused says whether a peer that stops the tunnel before its SCCCN does not like our proof, or has none of its own.
// xl2tpd says so with a general error.
func (m *machine) secretRefused(r wire.Result) bool {
	return r.Code == wire.StopResultNotAuthorized || r.Code == wire.StopResultGeneralError && m.answer.Secret != nil
}

// inbound is a message about a call.
type inbound struct {
	delivered
	msg wire.Message
}

func (m *machine) outOfOrder(t wire.Type) {
	m.control(gotOutOfOrder, nil, why{
		tenant.ReasonProtocolError, fmt.Sprintf("%s in state %s", t, m.state),
		wire.Result{Code: wire.StopResultStateMachine},
	})
}

// authenticate takes the SCCCN and checks the peer's proof.
func (m *machine) authenticate(c *wire.SCCCN) {
	switch {
	case m.state != waitCtlConn:
		m.outOfOrder(wire.TypeSCCCN)
	case m.challenge != nil && c.ChallengeResponse == nil:
		m.control(connectedBad, nil, why{
			tenant.ReasonTunnelSecretMismatch, "the peer did not answer our Challenge: it has no tunnel secret",
			wire.Result{Code: wire.StopResultNotAuthorized},
		})
	case m.challenge != nil &&
		!wire.CheckChallengeResponse(wire.TypeSCCCN, m.answer.Secret, m.challenge, c.ChallengeResponse):
		m.control(connectedBad, nil, why{
			tenant.ReasonTunnelSecretMismatch, "the peer has another tunnel secret",
			wire.Result{Code: wire.StopResultNotAuthorized},
		})
	default:
		m.control(connectedGood, nil, why{})
	}
}

// badMessage handles a message that can't be read. One about a call ends the call, any other the tunnel: RFC 2661
// sections 4.1 and 4.4.1.
func (m *machine) badMessage(t wire.Type, d delivered, err error) {
	code := wire.ErrorVendor
	if bad, ok := err.(*wire.Error); ok { //nolint:errorlint // Parse says that it is one
		code = bad.Code
	}
	w := why{tenant.ReasonProtocolError, err.Error(), wire.Result{Code: wire.StopResultGeneralError, Error: code}}
	switch t {
	case wire.TypeICRQ, wire.TypeOCRQ:
		w.result.Code = wire.CallResultGeneralError
		if m.state == established {
			m.refuseCall(wire.FindID(d.body, wire.AttributeAssignedSessionID), w)
		}
	case wire.TypeICRP, wire.TypeICCN, wire.TypeOCRP, wire.TypeOCCN, wire.TypeCDN, wire.TypeWEN, wire.TypeSLI:
		w.result.Code = wire.CallResultGeneralError
		if c := m.calls[d.session]; c != nil {
			m.call(c, gotBadMessage, nil, w)
		}
	default:
		m.control(gotBad, nil, w)
	}
}

// told says what a peer has said with a Result Code.
func told(what string, r wire.Result) string {
	s := fmt.Sprintf("%s: result %d", what, r.Code)
	if r.Error != 0 {
		s += fmt.Sprintf(", error %d", r.Error)
	}
	if r.Message != "" {
		s += ", " + wire.Printable(r.Message, maxText)
	}
	return s
}
