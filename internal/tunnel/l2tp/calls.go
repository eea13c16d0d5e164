package l2tp

import (
	"fmt"
	"time"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// callMessage handles what a peer says about a call, on an established tunnel.
func (m *machine) callMessage(in *inbound) {
	switch v := in.msg.(type) {
	case *wire.ICRQ:
		m.callRequest(v)
	case *wire.OCRQ:
		// Nobody can be called through us: RFC 2661 has the LNS ask and the LAC dial.
		m.refuseCall(v.AssignedSessionID, why{
			tenant.ReasonProtocolError, "an OCRQ is not accepted", wire.Result{Code: wire.CallResultPermanent},
		})
	case *wire.ICCN:
		if c := m.calls[in.session]; c != nil {
			m.call(c, gotConnected, v, m.strayMessage(v, c))
		}
	case *wire.CDN:
		// By the RFC the header has our session ID; before a peer knows it, the AVP has its own.
		c := m.calls[in.session]
		if c == nil {
			c = m.byPeer[v.AssignedSessionID]
		}
		if c != nil {
			m.call(c, gotDisconnect, nil, why{
				reason: hangUpCause(v.Result), detail: told("the peer disconnected the call", v.Result),
			})
		}
	case *wire.ICRP, *wire.OCRP, *wire.OCCN:
		if c := m.calls[in.session]; c != nil {
			m.call(c, gotBadMessage, nil, m.strayMessage(v, c))
		}
	default:
		// WAN-Error-Notify counts errors on an asynchronous line and Set-Link-Info is for a LAC: neither changes a thing.
	}
}

func (m *machine) strayMessage(msg wire.Message, c *call) why {
	return why{
		tenant.ReasonProtocolError, fmt.Sprintf("%s for call %d in state %d", msg.Type(), c.id, c.state),
		wire.Result{Code: wire.CallResultGeneralError, Error: wire.ErrorSessionID},
	}
}

// callRequest handles an ICRQ.
func (m *machine) callRequest(r *wire.ICRQ) {
	if old := m.byPeer[r.AssignedSessionID]; old != nil {
		// The CDN for the old call names the same session as the new one: both are over, as RFC 2661 section 7.4.2 wants.
		m.call(old, gotBadMessage, nil, m.strayMessage(r, old))
		return
	}
	limit := m.answer.MaxCalls
	if limit == 0 {
		limit = m.cfg.MaxCallsPerTunnel
	}
	if len(m.calls) >= limit {
		m.refuseCall(r.AssignedSessionID, why{
			tenant.ReasonInstanceLimit, fmt.Sprintf("the tunnel has %d calls", len(m.calls)),
			wire.Result{Code: wire.CallResultTemporary},
		})
		return
	}
	c := &call{peerSession: r.AssignedSessionID, post: m.up.post}
	m.reported = true
	a := m.up.incomingCall(c, CallRequest{
		Port: m.port, LocalTunnel: m.id, PeerTunnel: m.peer.AssignedTunnelID, PeerSession: r.AssignedSessionID,
		HostName: m.peer.HostName, Vendor: m.peer.VendorName,
		SerialNumber: r.CallSerialNumber,
		CalledNumber: wire.Printable(r.CalledNumber, maxText), CallingNumber: wire.Printable(r.CallingNumber, maxText),
		SubAddress: wire.Printable(r.SubAddress, maxText),
		BearerType: r.BearerType.Value, PhysicalChannel: r.PhysicalChannelID.Value,
	})
	if a.Result == 0 && a.SessionID != 0 {
		c.id = a.SessionID
		m.call(c, callAccepted, nil, why{})
		return
	}
	w := why{result: wire.Result{Code: a.Result, Error: a.ErrorCode, Message: a.Message}}
	if a.Result == 0 {
		w.result = wire.Result{Code: wire.CallResultGeneralError, Error: wire.ErrorVendor}
	}
	m.refuseCall(c.peerSession, w)
}

// refuseCall answers a request for a call with a CDN. A reason means that the Handler does not know of it. peerSession may
// be 0 if it is not known, when nobody can be told.
func (m *machine) refuseCall(peerSession uint16, w why) {
	if w.reason != "" {
		m.reported = true
		m.up.refused(tenant.StageCall, w.reason, w.detail)
	}
	if peerSession != 0 {
		m.call(&call{peerSession: peerSession}, callRefused, nil, w)
	}
	if m.refusals++; m.refusals >= maxRefusals && len(m.calls) == 0 {
		m.control(localStop, nil, why{
			tenant.ReasonProtocolError, "too many calls were refused", stopResult(tenant.ReasonInstanceLimit),
		})
	}
}

// call takes the step of callTable. w says why, in case the call ends by it.
func (m *machine) call(c *call, ev callEvent, msg *wire.ICCN, w why) {
	from := c.state
	step := callTable[ev][from]
	c.state = step.next
	if step.do&enter != 0 {
		c.deadline = m.now.Add(m.cfg.CallTimeout)
		m.calls[c.id], m.byPeer[c.peerSession] = c, c
		m.waiting = append(m.waiting, c)
		m.deadline, m.refusals = time.Time{}, 0
	}
	if step.do&sendAccept != 0 {
		m.ch.send(m.now, c.peerSession, &wire.ICRP{AssignedSessionID: c.id})
	}
	if step.do&connect != 0 && !c.ended.Load() {
		r := connectOf(msg)
		if m.challenge == nil && len(r.ProxyAuthentication.Challenge) > 0 {
			r.ProxyAuthentication = ProxyAuthentication{}
		}
		m.up.connected(c.id, r)
	}
	if step.do&leave != 0 {
		if from == callEstablished {
			w.reason = endedReason(w.reason)
		}
		m.leave(c, w)
	}
	if step.do&sendHangup != 0 {
		m.ch.send(m.now, c.peerSession, &wire.CDN{Result: w.result, AssignedSessionID: c.id})
	}
}

// leave takes a call out of the tables, tells the Handler if it was not the Handler's own wish, and starts the time that a
// tunnel without calls may stay.
func (m *machine) leave(c *call, w why) {
	delete(m.calls, c.id)
	delete(m.byPeer, c.peerSession)
	if c.ended.CompareAndSwap(false, true) {
		m.up.callClosed(c.id, w.reason, w.detail)
	}
	if len(m.calls) == 0 {
		m.waitForCall("the last call has ended, and no other came")
	}
}

// connectOf turns an ICCN into what the Handler gets.
func connectOf(c *wire.ICCN) Connect {
	r := Connect{
		TxSpeed: c.TxConnectSpeed, RxSpeed: c.TxConnectSpeed,
		FramingType: c.FramingType, SequencingRequired: c.SequencingRequired,
		PrivateGroupID:     wire.Printable(string(c.PrivateGroupID), maxText),
		InitialReceivedLCP: c.InitialReceivedLCP, LastSentLCP: c.LastSentLCP, LastReceivedLCP: c.LastReceivedLCP,
		ProxyAuthentication: ProxyAuthentication{
			Type: c.ProxyAuthenType.Value, Name: string(c.ProxyAuthenName), Challenge: c.ProxyAuthenChallenge,
			ID: uint8(c.ProxyAuthenID.Value), Response: c.ProxyAuthenResponse,
		},
	}
	if c.RxConnectSpeed.Set {
		r.RxSpeed = c.RxConnectSpeed.Value
	}
	return r
}
