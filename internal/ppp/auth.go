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
	authRetry                   // refused by MS-CHAPv2 with R=1: another Response may come
	authPassed                  // allowed
	authFailed                  // refused for good; the link is on its way down
)

// auth is the login of the peer, over and over if LCP is negotiated again. chap.go and pap.go know the packets.
type auth struct {
	l *Link

	started bool
	state   authState
	method  tenant.AuthMethod

	proxied *ProxyAuth // what a LAC has got of the peer already; nil: nothing, or it is used up

	id        byte // CHAP: of our latest Challenge
	challenge []byte
	deadline  time.Time // zero: none runs
	tries     int       // Challenges sent, or restart timers waited for PAP
	waitedAt  time.Time // when the latest of them began
	giveUpAt  time.Time // in authRetry

	serial   uint64 // of the latest question to the Handler, never reset
	attempt  int    // logins on this link, over renegotiations
	failures int    // and how many of them were refused
	refused  tenant.Reason

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
	clear(a.asked)
	a.asked = a.asked[:0]
}

// await waits for a login: for CHAP behind a fresh Challenge, for PAP in patience.
func (a *auth) await() {
	a.state, a.tries, a.replaced = authWait, 0, 0
	if a.method == tenant.AuthPAP || a.newChallenge() {
		a.wait()
	}
}

// wait begins one restart timer of authWait, for CHAP by sending the Challenge.
func (a *auth) wait() {
	a.tries++
	a.waitedAt = a.l.now
	a.deadline = a.l.now.Add(a.l.cfg.RestartTimer)
	if a.method != tenant.AuthPAP {
		a.sendChallenge()
	}
}

// peerWasNotOpen says that the peer repeated its LCP request, so our Ack was lost and whatever we sent behind it too.
// Less than a second after the latest Challenge the repetition is more likely the network's; a peer that gets a Challenge
// twice answers twice, and MS-CHAPv2 can prove us against one answer only.
func (a *auth) peerWasNotOpen() {
	if a.state == authWait && a.l.now.Sub(a.waitedAt) >= time.Second {
		a.tries = 0
		a.wait()
	}
}

// receive handles a packet of PAP or CHAP.
func (a *auth) receive(protocol uint16, p wire.Packet) {
	if (protocol == wire.ProtocolPAP) != (a.method == tenant.AuthPAP) {
		return
	}
	if protocol == wire.ProtocolPAP {
		a.receivePAP(p)
	} else {
		a.receiveCHAP(p)
	}
}

// ask puts one login to the Handler. data is the packet's, to know its repetitions by.
func (a *auth) ask(id byte, data []byte, r AuthRequest) {
	a.asked, a.askedID = append(a.asked[:0], data...), id
	a.state, a.deadline, a.reply = authAsked, time.Time{}, nil
	a.serial++
	r.Serial, r.Method, r.ID, r.Attempt = a.serial, a.method, id, a.attempt
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
	clear(a.asked) // perhaps a password
	a.asked = a.asked[:0]
	if d.Reason == "" && a.method == tenant.AuthMSCHAPv2 && d.Success == "" {
		// The peer would refuse us: it wants proof that we know its password too.
		d = Decision{Reason: tenant.ReasonProtocolError, Message: "The server can not prove itself"}
	}
	if d.Reason == "" {
		a.allow(d)
	} else {
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

func (a *auth) deny(d Decision) {
	a.failures++
	a.refused = d.Reason
	retry := d.Retry && a.failures < a.l.cfg.MaxAuthFailures
	if retry && a.method == tenant.AuthMSCHAPv2 && !a.newChallenge() {
		return
	}
	a.replyWith(false, d, retry)
	switch {
	case !retry:
		a.state, a.deadline = authFailed, time.Time{}
		a.l.fail(d.Reason, fmt.Sprintf("The login was refused%s.", quote([]byte(d.Message))), "Authentication failed")
	case a.method == tenant.AuthMSCHAPv2:
		a.state, a.repeats = authRetry, maxFailures
		a.deadline = a.l.now.Add(a.l.cfg.RestartTimer)
		a.giveUpAt = a.l.now.Add(retryFactor * a.l.cfg.RestartTimer)
	default:
		reply, code, id := a.reply, a.code, a.askedID
		a.await()
		a.reply, a.code, a.askedID = reply, code, id // for a repetition of the refused login
	}
}

// replyWith builds the answer to the login and sends it.
func (a *auth) replyWith(allowed bool, d Decision, retry bool) {
	if a.method == tenant.AuthPAP {
		a.code, a.reply = replyPAP(allowed, d)
	} else {
		a.code, a.reply = a.replyCHAP(allowed, d, retry)
	}
	a.sendReply()
}

func (a *auth) sendReply() {
	protocol := wire.ProtocolCHAP
	if a.method == tenant.AuthPAP {
		protocol = wire.ProtocolPAP
	}
	a.l.send(protocol, a.code, a.askedID, a.reply)
}

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
			a.l.fail(a.refused, "The login was refused and the peer did not try again.", "Authentication failed")
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
