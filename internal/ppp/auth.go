package ppp

import (
	"bytes"
	"fmt"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

const (
	// challengeLen is the length of our challenges in octets: what MS-CHAPv2 prescribes, and plenty for CHAP.
	challengeLen = mschap.ChallengeLen
	// maxFailures is how often a Failure that leaves the peer another try is sent again. It does not know that it may try
	// if the first copy was lost.
	maxFailures = 3
	// retryFactor times the restart timer is how long a user may take to type the password again: RFC 2759 section 6 asks
	// for no short timeout there.
	retryFactor = 20
	// maxReplaced is how often a peer may replace its Response while we wait for the verdict.
	maxReplaced = 2
)

// authState is where the login stands.
type authState uint8

const (
	authIdle   authState = iota // LCP is not open
	authWait                    // the peer's Response or Authenticate-Request is awaited
	authAsked                   // the Handler's verdict is awaited: no timer, the owner bounds it
	authRetry                   // refused by MS-CHAPv2 with R=1 or E=648: another Response or a Change-Password may come
	authPassed                  // allowed
	authFailed                  // refused for good; the link is on its way down
)

// auth is the login of the peer, over and over if LCP is negotiated again. chap.go, pap.go and eap.go know the
// packets.
type auth struct {
	l *Link

	started bool
	state   authState
	method  tenant.AuthMethod

	proxied *ProxyAuth // what a LAC has got of the peer already; nil: nothing, or it is used up

	id        byte // CHAP: of our latest Challenge
	challenge []byte
	eap       eapLogin
	deadline  time.Time // zero: none runs
	tries     int       // Challenges or EAP Requests sent, or restart timers waited for PAP
	waitedAt  time.Time // when the latest of them began
	giveUpAt  time.Time // in authRetry
	change    bool      // in authRetry: a Change-Password is awaited, not a Response

	serial   uint64 // of the latest question to the Handler, never reset
	attempt  int    // logins on this link, over renegotiations
	failures int    // and how many of them were refused
	refused  tenant.Reason

	name     string // that the peer gave with it: a Change-Password has none
	changing bool   // it was a Change-Password
	asked    []byte // data of the packet that the verdict is about
	askedID  byte   // and its identifier; for PAP that of its latest copy
	replaced int
	reply    []byte // data of our answer to it
	code     byte   // code of that answer
	repeats  int    // how often it may still be sent unasked
}

func (a *auth) init(l *Link) { a.l = l }

// start begins the login with the method that LCP agreed on.
func (a *auth) start() {
	a.started, a.method = true, a.l.lcp.method
	if p := a.proxied; p != nil {
		a.proxied = nil
		if a.takeOver(p) {
			return
		}
	}
	a.await()
}

// reset forgets the login, but not how many were refused: a peer must not get fresh guesses by renegotiating.
func (a *auth) reset() {
	a.started, a.state, a.deadline, a.reply, a.repeats = false, authIdle, time.Time{}, nil, 0
	a.eap.reset()
	a.forgetAsked()
}

// forgetAsked clears the packet that the verdict is about: a password may be in it.
func (a *auth) forgetAsked() {
	clear(a.asked)
	a.asked = a.asked[:0]
}

// await waits for a login: for CHAP behind a fresh Challenge, for EAP behind the question for the identity, for PAP in
// patience.
func (a *auth) await() {
	a.state, a.tries, a.replaced = authWait, 0, 0
	switch a.method {
	case tenant.AuthPAP:
	case tenant.AuthEAP:
		a.askIdentity()
	default:
		if !a.newChallenge() {
			return
		}
	}
	a.wait()
}

// wait begins one restart timer of authWait, for CHAP by sending the Challenge and for EAP the Request.
func (a *auth) wait() {
	a.tries++
	a.waitedAt = a.l.now
	pause := a.l.cfg.RestartTimer
	switch a.method {
	case tenant.AuthPAP:
	case tenant.AuthEAP:
		pause = a.eap.pause
		a.sendRequestEAP()
	default:
		a.sendChallenge()
	}
	a.deadline = a.l.now.Add(pause)
}

// peerWasNotOpen says that the peer repeated its LCP request, so our Ack was lost and whatever we sent behind it too.
// Less than a second after the latest Challenge or EAP Request the repetition is more likely the network's; a peer that
// gets a Challenge twice answers twice, and MS-CHAPv2 can prove us against one answer only.
func (a *auth) peerWasNotOpen() {
	if a.state == authWait && a.l.now.Sub(a.waitedAt) >= time.Second {
		a.tries = 0
		a.wait()
	}
}

// protocol is what the packets of the method have in their frames.
func (a *auth) protocol() uint16 {
	w, _ := wireAuth(a.method)
	return w.Protocol
}

// receive handles a packet of PAP, CHAP or EAP. Before LCP has agreed on one of them, and of the others, nothing counts.
func (a *auth) receive(protocol uint16, packet []byte) {
	if protocol != a.protocol() {
		return
	}
	if protocol == wire.ProtocolEAP {
		a.receiveEAP(packet)
		return
	}
	p, err := wire.ParsePacket(packet)
	switch {
	case err != nil:
	case protocol == wire.ProtocolPAP:
		a.receivePAP(p)
	default:
		a.receiveCHAP(p)
	}
}

// ask puts one login to the Handler. data is the packet's, to know its repetitions by; EAP knows them by the identifier.
func (a *auth) ask(id byte, data []byte, r AuthRequest) {
	a.forgetAsked() // what grows leaves the old octets behind
	a.asked, a.askedID = append(a.asked, data...), id
	a.state, a.deadline, a.reply = authAsked, time.Time{}, nil
	a.name, a.changing = r.Name, r.NewPassword != nil
	a.serial++
	r.Serial, r.Method, r.ID, r.Attempt, r.PeerMRU = a.serial, a.method, id, a.attempt, a.l.lcp.peer.mru
	a.l.h.Authenticate(r)
}

// sameAsked says whether p is the packet that was asked about, repeated by the peer or the network.
func (a *auth) sameAsked(p wire.Packet) bool {
	return p.ID == a.askedID && bytes.Equal(p.Data, a.asked)
}

// decide handles the verdict.
func (a *auth) decide(d Decision) {
	if a.state != authAsked || d.Serial != a.serial {
		return
	}
	a.forgetAsked()
	switch {
	case a.method == tenant.AuthEAP:
		a.decideEAP(d)
	case d.Next != nil || d.Restart:
		a.refuse(Decision{Reason: tenant.ReasonProtocolError}, "The login was answered with a step of EAP, which it is not.")
	case d.Reason == "" && a.method == tenant.AuthMSCHAPv2 && d.Success == "":
		// The peer would refuse us: it wants proof that we know its password too.
		a.deny(Decision{Reason: tenant.ReasonProtocolError, Message: "The server can not prove itself"})
	case d.Reason == "":
		a.allow(d)
	default:
		a.deny(d)
	}
}

func (a *auth) allow(d Decision) {
	a.state, a.refused = authPassed, ""
	a.replyWith(true, d, false)
	// The peer of CHAP does not repeat its Response, so a lost Success would leave both sides waiting for ever
	// (RFC 1994 section 4.2). It is repeated until the peer goes on to the network.
	a.repeats = a.l.cfg.MaxConfigure
	a.deadline = a.l.now.Add(a.l.cfg.RestartTimer)
	a.l.authenticated, a.l.grant = true, d.Grant
}

// deny refuses the login, and says to the peer if it may try again. EAP has its own tries, in its methods.
func (a *auth) deny(d Decision) {
	last := a.failures+1 >= a.l.cfg.MaxAuthFailures
	a.change = d.ChangePassword && !last && a.method == tenant.AuthMSCHAPv2
	retry := d.Retry && !last && !a.change && a.method != tenant.AuthEAP
	if !retry && !a.change {
		a.refuse(d, fmt.Sprintf("The login was refused%s.", quote([]byte(d.Message))))
		return
	}
	a.failures++
	a.refused = d.Reason
	if a.method == tenant.AuthMSCHAPv2 {
		if !a.newChallenge() {
			return
		}
		a.replyWith(false, d, retry)
		a.state, a.repeats = authRetry, maxFailures
		a.deadline = a.l.now.Add(a.l.cfg.RestartTimer)
		a.giveUpAt = a.l.now.Add(retryFactor * a.l.cfg.RestartTimer)
		return
	}
	a.replyWith(false, d, retry)
	reply, code, id := a.reply, a.code, a.askedID
	a.await()
	a.reply, a.code, a.askedID = reply, code, id // for a repetition of the refused login
}

// refuse refuses the login for good and ends the link.
func (a *auth) refuse(d Decision, detail string) {
	a.failures++
	a.refused, a.change = d.Reason, false
	a.replyWith(false, d, false)
	a.state, a.deadline = authFailed, time.Time{}
	a.l.fail(d.Reason, detail, "Authentication failed")
}

// replyWith builds the answer to the login and sends it.
func (a *auth) replyWith(allowed bool, d Decision, retry bool) {
	switch a.method {
	case tenant.AuthPAP:
		a.code, a.reply = replyPAP(allowed, d)
	case tenant.AuthEAP:
		a.code, a.reply = replyEAP(allowed), nil
	default:
		a.code, a.reply = a.replyCHAP(allowed, d, retry)
	}
	a.sendReply()
}

func (a *auth) sendReply() { a.l.send(a.protocol(), a.code, a.askedID, a.reply) }

// confirmed notes that the peer has seen our Success.
func (a *auth) confirmed() {
	if a.state == authPassed {
		a.repeats, a.deadline = 0, time.Time{}
	}
}

// tick handles the timeouts of the login.
func (a *auth) tick() {
	if a.deadline.IsZero() || a.l.now.Before(a.deadline) {
		return
	}
	switch a.state {
	case authWait:
		a.tickWait()
	case authPassed:
		a.repeat()
		if a.repeats == 0 {
			a.deadline = time.Time{}
		}
	case authRetry:
		if !a.l.now.Before(a.giveUpAt) {
			a.deadline = time.Time{}
			detail := "The login was refused and the peer did not try again."
			if a.change {
				detail = "The password has expired and the peer did not change it."
			}
			a.l.fail(a.refused, detail, "Authentication failed")
			return
		}
		a.repeat()
		if a.repeats == 0 {
			a.deadline = a.giveUpAt
		}
	case authIdle, authAsked, authFailed:
		a.deadline = time.Time{}
	}
}

func (a *auth) tickWait() {
	if a.tries >= a.l.cfg.MaxConfigure {
		a.deadline = time.Time{}
		reason, detail := tenant.ReasonPeerTimeout, "The peer does not answer the authentication."
		if a.refused != "" {
			reason, detail = a.refused, "The login was refused and the peer did not try again."
		}
		a.l.fail(reason, detail, "Authentication timeout")
		return
	}
	a.wait()
}

// repeat sends the answer once more and arms the timer for the next time.
func (a *auth) repeat() {
	if a.repeats > 0 {
		a.repeats--
		a.sendReply()
		a.deadline = a.l.now.Add(a.l.cfg.RestartTimer)
	}
}
