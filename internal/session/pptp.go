package session

import (
	"net/netip"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/pptp"
	wire "concentrator/internal/wire/pptp"
)

// calls is the Manager as the PPTP server sees it.
type calls struct{ m *Manager }

var _ pptp.Handler = calls{}

// pptpCall is a PPTP call as its session sees it. A control connection that died is found by the mark of its calls.
type pptpCall struct{ pptp.Call }

// pptpMark names a call between two addresses (RFC 2637 section 4.1).
type pptpMark struct {
	remote, local netip.Addr
	callID        uint16
}

// OutgoingCall implements pptp.Handler.
func (c calls) OutgoingCall(tc pptp.Call, r pptp.CallRequest) pptp.Answer {
	mark := pptpMark{r.Remote.Addr(), r.Local.Addr(), r.PeerCallID}
	s, no := c.m.open(carrier{
		protocol: tenant.ProtocolPPTP, listener: r.Listener, local: r.Local, remote: r.Remote,
		mark: mark, ccp: true, tunnel: pptpCall{tc},
	}, dataplane.CallSpec{Local: r.Local.Addr(), Remote: r.Remote.Addr(), PeerCallID: r.PeerCallID}, c.m.cfg.Plane.OpenCall)
	if no != nil {
		result := map[refusedCall]uint8{
			callFailed: wire.ResultGeneralError, callBusy: wire.ResultBusy, callNotAccepted: wire.ResultDoNotAccept,
		}[no.kind]
		return pptp.Answer{Result: result}
	}
	return pptp.Answer{CallID: s.call.ID(), Result: wire.ResultConnected}
}

// CallClosed implements pptp.Handler.
func (c calls) CallClosed(id uint16, cause tenant.Reason, detail string) {
	c.m.callClosed(id, cause, detail)
}

// Refused implements pptp.Handler.
func (c calls) Refused(remote, local netip.AddrPort, reason tenant.Reason, detail string) {
	c.m.recordLogin(LoginAttempt{
		Time: time.Now(), Protocol: tenant.ProtocolPPTP, ClientAddress: remote,
		Stage: tenant.StageCall, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
	})
}
