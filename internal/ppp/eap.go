package ppp

import (
	"bytes"
	"fmt"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// Limits of one EAP login that neither the peer nor the owner can move.
const (
	// maxEAPRounds is how many Requests of the owner a conversation may take. EAP-TLS with long chains takes about twenty.
	maxEAPRounds = 50
	// maxEAPRestarts is how often a conversation may begin anew because its server is gone.
	maxEAPRestarts = 3
)

// eapLogin is the conversation of a pass-through authenticator (RFC 3748 section 2.3): we ask for the identity, and pass
// on all that follows. Only the headers matter to us. It goes in lock-step: one Request at a time, which is repeated until
// a Response has its identifier; whatever else comes is an echo of the past and dropped (RFC 3748 section 4.1).
type eapLogin struct {
	id       byte          // of our latest Request, never reset: a Response to a Request before a renegotiation must not count
	request  []byte        // that Request
	pause    time.Duration // between its copies
	passing  bool          // the Request is the owner's; else it asks for the identity
	begun    bool          // the peer has answered a Request of a method, so no other method may begin (RFC 3748 section 2.1)
	identity string
	state    any // of the step that the Request is
	rounds   int
	restarts int // on this link
}

// reset forgets the conversation.
func (e *eapLogin) reset() { *e = eapLogin{id: e.id, restarts: e.restarts} }

// askIdentity makes the Request that every conversation begins with (RFC 3748 section 5.1).
func (a *auth) askIdentity() {
	e := &a.eap
	e.reset()
	e.id++
	e.pause = a.l.cfg.RestartTimer
	// It fails for no packet without data.
	e.request, _ = eap.Packet{Code: eap.CodeRequest, ID: e.id, Type: eap.TypeIdentity}.AppendBinary(nil)
}

// receiveEAP handles an EAP packet. Only Responses come to an authenticator.
func (a *auth) receiveEAP(packet []byte) {
	if a.method != tenant.AuthEAP || a.state != authWait {
		return
	}
	p, err := eap.ParsePacket(packet)
	if err != nil || p.Code != eap.CodeResponse || p.ID != a.eap.id {
		return
	}
	packet = bytes.Clone(packet[:p.Len()])
	e := &a.eap
	switch {
	case p.Len() > max(a.l.cfg.MRU, wirelcp.DefaultMRU):
		a.askedID = p.ID
		a.refuseEAP(fmt.Sprintf("The peer sent an EAP packet of %d octets, which is more than its link carries.", p.Len()))
		return
	case e.passing:
		switch p.Type {
		case eap.TypeIdentity, eap.TypeNotification, eap.TypeNak:
		default:
			e.begun = true
		}
	case p.Type != eap.TypeIdentity:
		return // a Nak is no answer to this question (RFC 3748 section 5.3.1)
	default:
		a.attempt++
		if len(p.Data) > eap.MaxIdentityLen {
			a.askedID = p.ID
			a.refuseEAP(fmt.Sprintf("The peer's EAP identity has %d octets; RADIUS carries %d.", len(p.Data), eap.MaxIdentityLen))
			return
		}
		e.identity = string(p.Data)
	}
	a.ask(p.ID, nil, AuthRequest{Name: e.identity, EAP: packet, State: e.state})
}

// decideEAP handles the verdict on one step.
func (a *auth) decideEAP(d Decision) {
	switch {
	case d.Next != nil:
		a.passOn(d.Next)
	case d.Restart:
		a.restartEAP(d)
	case d.Reason == "" && !sameCode(d.EAP, eap.CodeSuccess):
		a.refuseEAP("The login is allowed, but the EAP packet for the peer says otherwise.")
	case d.Reason == "":
		a.allow(d)
	default:
		a.deny(d)
	}
}

// sameCode says whether a packet of the owner fits its decision; none at all does.
func sameCode(packet []byte, code byte) bool {
	if packet == nil {
		return true
	}
	p, err := eap.ParsePacket(packet)
	return err == nil && p.Code == code
}

// passOn sends the owner's Request to the peer.
func (a *auth) passOn(step *EAPStep) {
	e := &a.eap
	p, err := eap.ParsePacket(step.Packet)
	e.rounds++
	switch {
	case err != nil || p.Code != eap.CodeRequest:
		a.refuseEAP("The authentication server sent something else than an EAP Request.")
		return
	case p.ID == e.id:
		a.refuseEAP("The authentication server sent two EAP Requests with the same identifier.")
		return
	case p.Len() > a.l.lcp.peer.mru:
		a.refuseEAP(fmt.Sprintf(
			"The authentication server sent an EAP packet of %d octets, but the peer's MRU is %d: it must send smaller fragments.",
			p.Len(), a.l.lcp.peer.mru))
		return
	case e.rounds > maxEAPRounds:
		a.refuseEAP(fmt.Sprintf("EAP does not come to an end in %d rounds.", maxEAPRounds))
		return
	}
	e.id, e.request, e.state, e.passing = p.ID, bytes.Clone(step.Packet[:p.Len()]), step.State, true
	e.pause, a.tries = a.patience(step.Timeout)
	a.state = authWait
	a.wait()
}

// patience spreads the time that a peer may take over the copies of a Request: how long to wait for each, and how many of
// them count as sent already. A user who types shall not be asked every three seconds, and no server may hold a link for
// longer than a user may type.
func (a *auth) patience(timeout time.Duration) (pause time.Duration, sent int) {
	restart, most := a.l.cfg.RestartTimer, a.l.cfg.MaxConfigure
	if timeout <= 0 {
		return restart, 0
	}
	timeout = max(restart, min(timeout, retryFactor*restart))
	copies := min(int(timeout/restart), most)
	return timeout / time.Duration(copies), most - copies
}

// restartEAP begins anew. In the middle of a method the peer could not follow a new Request of the identity: EAP goes on
// from there only after that method's end (RFC 3748 section 2.1). So LCP starts again, and takes the peer's EAP with it.
func (a *auth) restartEAP(d Decision) {
	a.eap.restarts++
	switch {
	case a.eap.restarts > maxEAPRestarts:
		if d.Reason == "" {
			d.Reason = tenant.ReasonProtocolError
		}
		a.deny(d)
	case a.eap.begun:
		a.state = authIdle
		a.l.anew = true
	default:
		a.attempt-- // it is the same login
		a.await()
	}
}

// refuseEAP ends a conversation that can not go on.
func (a *auth) refuseEAP(detail string) {
	a.refuse(Decision{Reason: tenant.ReasonProtocolError}, detail)
}

// sendRequestEAP sends our latest Request, or sends it again.
func (a *auth) sendRequestEAP() { a.l.h.SendFrame(wire.ProtocolEAP, a.eap.request) }

// replyEAP builds Success or Failure. Nothing but the identifier could differ in what a server has made, and that must be
// the Response's (RFC 3748 section 4.2). RFC 3748 has nobody repeat them: a peer of its network may do without. A peer of
// PPP does not go on without Success, so it is repeated like that of CHAP (allow), as long as the peer is not heard to be
// in the network phase; a second copy is the same to it.
func replyEAP(allowed bool) (code byte) {
	if allowed {
		return eap.CodeSuccess
	}
	return eap.CodeFailure
}
