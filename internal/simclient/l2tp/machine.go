package l2tp

import (
	"encoding/binary"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// Events is told what happens. Its methods are called from within the Machine's and must not call back into it.
type Events interface {
	// Started says that the tunnel is open.
	Started(r *wire.SCCRP)
	// Answered says that the call with our session ID id is connected; peerID is the server's session ID.
	Answered(id, peerID uint16)
	// Ended says that a call is over, also one that was refused. id is ours; err is never nil.
	Ended(id uint16, err error)
	// Closed says that the tunnel is over: send what is left. Called once; err is never nil.
	Closed(err error)
}

// Machine is the LAC's half of one tunnel. It belongs to one goroutine.
type Machine struct {
	cfg   Config
	ev    Events
	state State
	ch    channel
	calls map[uint16]*call // by our ID

	heard    time.Time // when the last message came
	deadline time.Time // for the acknowledgement of StopCCN
	stopErr  error     // why we have sent it
}

// call is one call of ours.
type call struct {
	id, peerID uint16
	state      callState
	connect    wire.ICCN
}

// NewMachine returns a Machine that has an SCCRQ ready to be sent.
func NewMachine(cfg Config, now time.Time, ev Events) *Machine {
	m := &Machine{cfg: cfg.withDefaults(), ev: ev, calls: map[uint16]*call{}, heard: now}
	m.ch = channel{cfg: &m.cfg, window: 1}
	m.ch.send(now, 0, &m.cfg.Start)
	return m
}

// State returns the state of the tunnel.
func (m *Machine) State() State { return m.state }

// PeerTunnel returns the server's tunnel ID, which is in the header of data towards it; 0 until the tunnel is open.
func (m *Machine) PeerTunnel() uint16 { return m.ch.peerID }

// Output returns the messages to be sent, which are the caller's, and forgets them.
func (m *Machine) Output() [][]byte {
	out := m.ch.out
	m.ch.out = nil
	return out
}

// Receive takes a control message of the server, and takes it over. What is none, or not for this tunnel, is dropped.
func (m *Machine) Receive(now time.Time, msg []byte) {
	h, body, err := wire.ParseHeader(msg)
	if err != nil || !h.Control || h.TunnelID != m.cfg.Start.AssignedTunnelID {
		return
	}
	if m.cfg.Picky && (binary.BigEndian.Uint16(msg) != 0xc802 || len(body) > 0 && !picky(body)) {
		return
	}
	m.heard = now
	for _, r := range m.ch.receive(now, h, body) {
		n := len(m.ch.out)
		m.message(now, r)
		if len(m.ch.out) == n {
			m.ch.ack() // nothing else has carried it
		}
	}
	if m.state == WaitStop && len(m.ch.unacked) == 0 {
		m.control(now, stopAcked, nil, m.stopErr)
	}
}

// picky says whether a body begins with a Message Type AVP of eight octets with the M bit and no other.
func picky(body []byte) bool {
	_, mandatory, err := wire.TypeOf(body)
	return err == nil && mandatory
}

// Deadline returns when Tick is wanted next, and false if it is not.
func (m *Machine) Deadline() (time.Time, bool) {
	var d time.Time
	if m.state == Closed {
		return d, false
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	sooner(m.ch.next)
	sooner(m.deadline)
	if m.state == Established && m.cfg.Hello > 0 {
		sooner(m.heard.Add(m.cfg.Hello))
	}
	return d, !d.IsZero()
}

// Tick acts on the deadlines that have passed.
func (m *Machine) Tick(now time.Time) {
	if m.state == Closed {
		return
	}
	m.ch.tick(now)
	switch {
	case m.ch.failed, !m.deadline.IsZero() && !now.Before(m.deadline):
		m.control(now, gaveUp, nil, ErrTimeout)
	case m.state == Established && m.cfg.Hello > 0 && !now.Before(m.heard.Add(m.cfg.Hello)):
		m.heard = now
		m.ch.send(now, 0, &wire.HELLO{})
	}
}

// Call asks for a call with our session ID id.
func (m *Machine) Call(now time.Time, id uint16) error { return m.CallWith(now, id, m.cfg.Connect) }

// CallWith asks for a call whose ICCN is connect, as a LAC does that has something to hand over.
func (m *Machine) CallWith(now time.Time, id uint16, connect wire.ICCN) error {
	if m.state != Established {
		return ErrClosed
	}
	if id == 0 || m.calls[id] != nil {
		return ErrSession
	}
	c := &call{id: id, connect: connect}
	m.calls[id] = c
	m.call(now, c, openRequest, nil)
	return nil
}

// Hangup ends a call with a CDN of this result, if it is there.
func (m *Machine) Hangup(now time.Time, id uint16, r wire.Result) {
	if c := m.calls[id]; c != nil {
		m.call(now, c, localHangup, &ResultError{wire.TypeCDN, r})
	}
}

// Stop ends the tunnel with a StopCCN.
func (m *Machine) Stop(now time.Time) { m.control(now, localStop, nil, ErrClosed) }

// Send sends any message, to the server's session peerSession or to none: what no client should.
func (m *Machine) Send(now time.Time, peerSession uint16, msg wire.Message, extra ...wire.AVP) {
	m.ch.send(now, peerSession, msg, extra...)
}

// message handles a message in its turn.
func (m *Machine) message(now time.Time, r received) {
	msg, err := wire.Parse(r.body, m.cfg.Secret)
	if err != nil {
		m.control(now, gotOutOfOrder, nil, err)
		return
	}
	switch v := msg.(type) {
	case nil:
	case *wire.SCCRP:
		m.reply(now, v)
	case *wire.StopCCN:
		m.control(now, gotStop, nil, &ResultError{wire.TypeStopCCN, v.Result})
	case *wire.HELLO:
		m.control(now, gotHello, nil, nil)
	case *wire.ICRP, *wire.CDN, *wire.SLI:
		m.control(now, gotCallMessage, func() { m.callMessage(now, r.session, msg) }, nil)
	default:
		m.control(now, gotOutOfOrder, nil, &ResultError{msg.Type(), wire.Result{Code: wire.StopResultStateMachine}})
	}
}

// reply handles the SCCRP.
func (m *Machine) reply(now time.Time, r *wire.SCCRP) {
	if m.state == WaitReply {
		m.ch.peerID = r.AssignedTunnelID
		window := wire.DefaultReceiveWindow
		if r.ReceiveWindowSize.Set {
			window = max(r.ReceiveWindowSize.Value, 1)
		}
		m.ch.window = int(window)
	}
	challenge := m.cfg.Start.Challenge
	switch {
	case challenge != nil && !wire.CheckChallengeResponse(wire.TypeSCCRP, m.cfg.Secret, challenge, r.ChallengeResponse),
		r.Challenge != nil && m.cfg.Secret == nil:
		m.control(now, replyBad, nil, ErrSecret)
		return
	}
	m.control(now, gotReply, func() {
		var c wire.SCCCN
		if r.Challenge != nil {
			proof := wire.ChallengeResponse(wire.TypeSCCCN, m.cfg.Secret, r.Challenge)
			c.ChallengeResponse = proof[:]
		}
		m.ch.send(now, 0, &c)
		m.ev.Started(r)
	}, &ResultError{wire.TypeSCCRP, wire.Result{Code: wire.StopResultStateMachine}})
}

// control takes the step of table. then is what the message that goes with the event asks for, if the state lets it; err
// says why, in case the tunnel ends by it.
func (m *Machine) control(now time.Time, ev event, then func(), err error) {
	st := table[ev][m.state]
	from := m.state
	m.state = st.next
	if st.do&endCalls != 0 {
		for _, c := range m.calls {
			m.call(now, c, tunnelGone, err)
		}
	}
	if then != nil && st.do&(sendConnected|tellStarted|handleCall) != 0 {
		then()
	}
	if st.do&sendStop != 0 {
		m.stopErr, m.deadline = err, now.Add(m.cfg.StopTimeout)
		r := wire.Result{Code: wire.StopResultGeneralRequest}
		switch {
		case ev == replyBad:
			r.Code = wire.StopResultNotAuthorized
		case ev != localStop:
			r.Code = wire.StopResultStateMachine
		}
		m.ch.send(now, 0, &wire.StopCCN{AssignedTunnelID: m.cfg.Start.AssignedTunnelID, Result: r})
	}
	if st.do&tellClosed != 0 {
		if from == WaitStop && ev == gotStop {
			err = m.stopErr
		}
		m.ev.Closed(err)
	}
}

// callMessage handles what the server says about a call.
func (m *Machine) callMessage(now time.Time, session uint16, msg wire.Message) {
	c := m.calls[session]
	if c == nil {
		return
	}
	switch v := msg.(type) {
	case *wire.ICRP:
		if c.state == callWaitReply {
			c.peerID = v.AssignedSessionID
		}
		m.call(now, c, callReply, &ResultError{wire.TypeICRP, wire.Result{Code: wire.CallResultGeneralError}})
	case *wire.CDN:
		m.call(now, c, gotDisconnect, &ResultError{wire.TypeCDN, v.Result})
	}
}

// call takes the step of callTable. err says why, in case the call ends by it.
func (m *Machine) call(now time.Time, c *call, ev callEvent, err error) {
	st := callTable[ev][c.state]
	c.state = st.next
	if st.do&sendRequest != 0 {
		r := m.cfg.Request
		r.AssignedSessionID = c.id
		m.ch.send(now, 0, &r, m.cfg.RequestExtra...)
	}
	if st.do&sendConnect != 0 {
		m.ch.send(now, c.peerID, &c.connect)
	}
	if st.do&tellAnswered != 0 {
		m.ev.Answered(c.id, c.peerID)
	}
	if st.do&sendHangup != 0 {
		result := wire.Result{Code: wire.CallResultGeneralError, Error: wire.ErrorSessionID}
		if r, ok := err.(*ResultError); ok && ev == localHangup { //nolint:errorlint // Hangup made it
			result = r.Result
		}
		m.ch.send(now, c.peerID, &wire.CDN{Result: result, AssignedSessionID: c.id})
	}
	if st.do&tellEnded != 0 {
		delete(m.calls, c.id)
		m.ev.Ended(c.id, err)
	}
}
