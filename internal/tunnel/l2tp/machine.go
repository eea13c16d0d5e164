package l2tp

import (
	"fmt"
	"io"
	"slices"
	"time"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

const (
	// maxText is how much of a peer's text is kept, in octets.
	maxText = 128
	// challengeLen is the length of our challenges in octets.
	challengeLen = 16
	// maxRefusals is how many calls in a row a tunnel without a call may have refused before it is stopped.
	maxRefusals = 16
)

// upper is what the machine asks of the tunnel around it. It is called from within the machine's methods and must not
// call back into it.
type upper interface {
	// newID takes our tunnel ID; 0 means that there is none.
	newID() uint16
	tunnel(r TunnelRequest) TunnelAnswer
	incomingCall(c *call, r CallRequest) Answer
	connected(id uint16, r Connect)
	callClosed(id uint16, cause tenant.Reason, detail string)
	refused(stage tenant.Stage, reason tenant.Reason, detail string)
	moved(port uint16)
	// entered is told of each change of state before anything is sent for it.
	entered(s tunnelState)
	// tunnelClosed says that a tunnel which tunnel accepted has no calls any more and gets none.
	tunnelClosed()
	// authenticated says that a call of this tunnel has logged in.
	authenticated()
	// peerIdle is Peer.Idle.
	peerIdle() time.Duration
	// post hands over a command from any goroutine.
	post(command)
	// received is told of each message and the state that it meets, for the log.
	received(t wire.Type, s tunnelState)
}

// machine is the protocol of one tunnel, RFC 2661 section 7. It belongs to one goroutine. Messages, commands and the time
// go in; messages to send are in ch.out, for the peer's UDP port.
type machine struct {
	cfg   *Config
	up    upper
	state tunnelState
	ch    channel
	id    uint16 // our tunnel ID
	port  uint16 // the peer's UDP port
	now   time.Time

	peer      wire.SCCRQ
	answer    TunnelAnswer
	challenge []byte // ours, if we want proof

	calls   map[uint16]*call // by our session ID
	byPeer  map[uint16]*call // by the peer's session ID
	waiting []*call          // for their ICCN, the oldest first; some may be gone

	deadline time.Time // of the state; zero: none
	late     string    // what that deadline waits for
	helloAt  time.Time // when the peer's silence is looked at, while established
	muted    bool      // a newer tunnel has the peer's ear
	stopSent bool      // our StopCCN is on its way
	refusals int       // calls refused in a row

	reported bool // the Handler knows of this tunnel's attempt: nothing is left to report when it ends
}

func newMachine(cfg *Config, up upper, port uint16, plain bool) *machine {
	m := &machine{
		cfg: cfg, up: up, port: port, ch: newChannel(),
		calls: map[uint16]*call{}, byPeer: map[uint16]*call{},
	}
	m.ch.quiet = plain
	return m
}

// Start takes the SCCRQ that the tunnel begins with.
func (m *machine) Start(now time.Time, r *wire.SCCRQ) {
	m.now = now
	m.peer = *r
	m.peer.HostName, m.peer.VendorName = wire.Printable(r.HostName, maxText), wire.Printable(r.VendorName, maxText)
	m.ch.peerTunnel = r.AssignedTunnelID
	m.ch.nr = 1
	if r.ReceiveWindowSize.Set {
		m.ch.setWindow(r.ReceiveWindowSize.Value)
	}
	m.up.received(wire.TypeSCCRQ, m.state)
	if m.id = m.up.newID(); m.id == 0 {
		m.refuseTunnel(why{
			tenant.ReasonInstanceLimit, "no tunnel ID is left",
			wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource},
		})
		return
	}
	if r.ProtocolVersion>>8 != wire.Version>>8 {
		m.refuseTunnel(why{
			tenant.ReasonProtocolError, fmt.Sprintf("protocol version %#04x is not supported", r.ProtocolVersion),
			wire.Result{Code: wire.StopResultVersion, Error: wire.Version},
		})
		return
	}
	m.answer = m.up.tunnel(TunnelRequest{
		Port: m.port, LocalTunnel: m.id, PeerTunnel: r.AssignedTunnelID,
		HostName: m.peer.HostName, Vendor: m.peer.VendorName, FirmwareRevision: r.FirmwareRevision.Value,
		FramingCapabilities: r.FramingCapabilities, BearerCapabilities: r.BearerCapabilities.Value,
		Challenged: r.Challenge != nil,
	})
	switch {
	case m.answer.Result != 0:
		m.reported = true
		m.control(requestBad, nil, why{result: wire.Result{
			Code: m.answer.Result, Error: m.answer.ErrorCode, Message: m.answer.Message,
		}})
	case r.Challenge != nil && m.answer.Secret == nil:
		// RFC 2661 section 5.1.1: a Challenge must be answered, and an answer without a secret would prove nothing.
		m.refuseAccepted(why{
			tenant.ReasonTunnelSecretMismatch, "the peer asks for tunnel authentication and no tunnel secret is set",
			wire.Result{Code: wire.StopResultNotAuthorized},
		})
	case m.answer.Secret != nil && !m.newChallenge():
		m.refuseAccepted(why{
			tenant.ReasonInstanceLimit, "no random numbers",
			wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource},
		})
	default:
		m.control(requestGood, nil, why{})
	}
}

// refuseTunnel refuses the SCCRQ without the Handler having had a say.
func (m *machine) refuseTunnel(w why) { m.control(requestBad, nil, w) }

// refuseAccepted refuses an SCCRQ that the Handler has accepted.
func (m *machine) refuseAccepted(w why) {
	m.control(requestBad, nil, w)
	m.up.tunnelClosed()
}

func (m *machine) newChallenge() bool {
	m.challenge = make([]byte, challengeLen)
	_, err := io.ReadFull(m.cfg.Rand, m.challenge)
	return err == nil
}

// Repeat says that the SCCRQ has come again: the reply was lost, or is late.
func (m *machine) Repeat(now time.Time) {
	m.now = now
	if m.state != closed {
		m.ch.repeat()
		m.flush()
	}
}

// Receive takes a message from the peer's UDP port, with our tunnel ID or, from a peer that never learned it, without. body is
// kept.
func (m *machine) Receive(now time.Time, port uint16, h wire.Header, body []byte) {
	if m.state == closed {
		return
	}
	if h.TunnelID == 0 && m.state == established {
		return // its SCCCN had our ID; without that, anybody who forges addresses could guess the rest
	}
	m.now = now
	if h.TunnelID != 0 {
		m.ch.quiet = false // it has seen our ID, so its address is its own
	}
	m.heard() // a message that says nothing new still says that the peer is there
	got := m.ch.receive(now, h, body, func(d delivered) {
		m.fresh(port)
		m.deliver(d)
	})
	if got != stale {
		m.fresh(port)
	} else if m.ch.ackDue && m.state == established && m.ch.idle() {
		// Our acknowledgement was lost, and nobody repeats one: the peer gives the tunnel up when five have been. A message has
		// it too, and comes until it has arrived.
		m.ch.send(now, 0, &wire.HELLO{})
	}
	m.flush()
}

// fresh notes that the peer has said something new, from this port of its.
func (m *machine) fresh(port uint16) {
	m.muted = false
	if port != m.port {
		m.port = port
		m.up.moved(port)
	}
}

// heard notes that the peer lives.
func (m *machine) heard() { m.helloAt = m.now.Add(m.cfg.HelloInterval) }

// flush sends a due acknowledgement and ends a tunnel whose StopCCN has been acknowledged.
func (m *machine) flush() {
	m.ch.flush()
	if m.state == stopped && m.stopSent && m.ch.idle() {
		m.control(lost, nil, why{})
	}
}

// Deadline returns the next time at which Tick is wanted; false once the machine is closed. The zero time means never.
func (m *machine) Deadline() (time.Time, bool) {
	if m.state == closed {
		return time.Time{}, false
	}
	d := m.deadline
	sooner := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	if m.muted {
		// Only the end of stopped still matters.
		if m.state != stopped {
			return time.Time{}, true
		}
		return d, true
	}
	sooner(m.ch.deadline)
	if m.state == established {
		sooner(m.helloAt)
		m.dropGone()
		if len(m.waiting) > 0 {
			sooner(m.waiting[0].deadline)
		}
	}
	return d, true
}

// dropGone forgets calls at the head of waiting that wait no longer.
func (m *machine) dropGone() {
	for len(m.waiting) > 0 && m.waiting[0].state != callWaitConnect {
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
	}
}

// Tick acts on the deadlines that have passed.
func (m *machine) Tick(now time.Time) {
	if m.state == closed {
		return
	}
	m.now = now
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if !m.muted || m.state == stopped {
		if due(m.deadline) {
			m.control(gaveUp, nil, why{tenant.ReasonPeerTimeout, m.late, stopResult(tenant.ReasonPeerTimeout)})
		}
	}
	if m.muted || m.state == closed {
		return
	}
	if m.ch.tick(now); m.ch.dead {
		m.control(undeliverable, nil, why{reason: tenant.ReasonPeerTimeout, detail: "the peer acknowledges nothing"})
		return
	}
	if m.state == established {
		for m.dropGone(); len(m.waiting) > 0 && due(m.waiting[0].deadline); m.dropGone() {
			m.call(m.waiting[0], callGaveUp, nil, why{
				tenant.ReasonPeerTimeout, fmt.Sprintf("no ICCN came within %v", m.cfg.CallTimeout),
				wire.Result{Code: wire.CallResultTimeout},
			})
		}
		if due(m.helloAt) {
			m.hello()
		}
	}
	m.flush()
}

// hello asks a silent peer whether it is there, unless data or an unacknowledged message do so already.
func (m *machine) hello() {
	if quiet := m.up.peerIdle(); quiet < m.cfg.HelloInterval {
		m.helloAt = m.now.Add(m.cfg.HelloInterval - max(quiet, 0))
		return
	}
	m.heard()
	if m.ch.idle() {
		m.ch.send(m.now, 0, &wire.HELLO{})
	}
}

// Run carries out a command of another goroutine.
func (m *machine) Run(now time.Time, cmd command) {
	if m.state == closed {
		return
	}
	m.now = now
	switch cmd.do {
	case hangUp:
		m.call(cmd.call, localHangup, nil, why{cmd.cause, "the server disconnected the call", hangUpResult(cmd.cause)})
	case noteLogin:
		if cmd.call.state != callIdle {
			m.up.authenticated()
		}
	case stop:
		m.control(localStop, nil, why{cmd.cause, "the server stops the tunnel", stopResult(cmd.cause)})
		if m.state == stopped && !m.stopSent {
			m.control(lost, nil, why{}) // nothing of ours is on its way, and what it acknowledges can do without
		}
	case abandon:
		m.control(lost, nil, why{reason: cmd.cause, detail: cmd.detail})
	case suspend:
		m.muted = true
	case resume:
		m.muted = false
		m.heard()
	}
	m.flush()
}

// control takes the step of tunnelTable. w says why, in case calls or the tunnel end by it.
func (m *machine) control(ev tunnelEvent, in *inbound, w why) {
	from := m.state
	step := tunnelTable[ev][from]
	if step.do&endCalls != 0 {
		m.endCalls(w)
	}
	m.enterState(from, step.next)
	if step.do&sendReply != 0 {
		m.sendReply()
	}
	if step.do&open != 0 {
		m.heard()
	}
	if step.do&handleCall != 0 {
		m.callMessage(in)
	}
	if (from == waitCtlConn || from == established || from == idle) && step.next >= stopped && !m.reported {
		m.reported = true
		stage := tenant.StageL2TPTunnel
		if from == established {
			stage = tenant.StageCall
		}
		m.up.refused(stage, halfOpenReason(w.reason), w.detail)
	}
	if step.do&tellStopped != 0 {
		m.up.tunnelClosed()
	}
	if step.do&sendStop != 0 {
		m.stopSent = true
		m.ch.send(m.now, 0, &wire.StopCCN{AssignedTunnelID: m.id, Result: w.result})
	}
	if step.do&forget != 0 {
		m.ch.giveUp()
	}
}

// enterState sets the state and its deadline.
func (m *machine) enterState(from, to tunnelState) {
	if from == to {
		return
	}
	m.state = to
	switch to {
	case waitCtlConn:
		m.deadline = m.now.Add(m.cfg.HalfOpenTimeout)
		m.late = fmt.Sprintf("no SCCCN came within %v", m.cfg.HalfOpenTimeout)
	case established:
		m.waitForCall("no call came")
	case stopped:
		m.deadline = m.now.Add(fullCycle)
	default:
		m.deadline = time.Time{}
	}
	m.up.entered(to)
}

// waitForCall starts the time that a tunnel may be without a call.
func (m *machine) waitForCall(what string) {
	m.deadline = m.now.Add(m.cfg.IdleTimeout)
	m.late = fmt.Sprintf("%s within %v", what, m.cfg.IdleTimeout)
}

// endCalls tells the Handler that every call is gone.
func (m *machine) endCalls(w why) {
	w.reason = endedReason(w.reason)
	for _, c := range m.calls {
		m.call(c, tunnelGone, nil, w)
	}
}

// endedReason is the reason for the end of a call: one for the end of sessions.
func endedReason(r tenant.Reason) tenant.Reason {
	if slices.Contains(tenant.EndedReasons, r) {
		return r
	}
	return tenant.ReasonLostCarrier
}

// halfOpenReason is the reason for the end of a tunnel that had no call: one for refused logins.
func halfOpenReason(r tenant.Reason) tenant.Reason {
	switch {
	case r == tenant.ReasonShutdown:
		return tenant.ReasonDraining
	case slices.Contains(tenant.RefusedReasons, r):
		return r
	default:
		return tenant.ReasonPeerTimeout
	}
}

// sendReply accepts the tunnel.
func (m *machine) sendReply() {
	name := m.answer.HostName
	if name == "" {
		name = m.cfg.HostName
	}
	r := &wire.SCCRP{
		ProtocolVersion: wire.Version, FramingCapabilities: wire.FramingEither,
		FirmwareRevision: wire.Some(m.cfg.FirmwareRevision), HostName: name, VendorName: m.cfg.Vendor,
		AssignedTunnelID: m.id, ReceiveWindowSize: wire.Some[uint16](receiveWindow), Challenge: m.challenge,
	}
	if m.peer.Challenge != nil {
		proof := wire.ChallengeResponse(wire.TypeSCCRP, m.answer.Secret, m.peer.Challenge)
		r.ChallengeResponse = proof[:]
	}
	m.ch.send(m.now, 0, r)
}
