package pptp

import (
	"fmt"
	"time"

	wire "concentrator/internal/wire/pptp"
)

// Events is told what happens. Its methods are called from within the Machine's and must not call back into it.
type Events interface {
	// Started says that the server has accepted the control connection.
	Started(r wire.StartControlConnectionReply)
	// EchoReplied says that the server has answered the Echo-Request with this identifier.
	EchoReplied(id uint32)
	// Answered brings the reply to a call, a yes or a no.
	Answered(id uint16, r wire.OutgoingCallReply)
	// Ended says that a call is over, also one that was refused. id is ours; err is never nil.
	Ended(id uint16, err error)
	// Closed says that the connection is over: write what is left and close it. Called once; err is never nil.
	Closed(err error)
}

// Machine is the client's half of one control connection. It belongs to one goroutine.
type Machine struct {
	cfg   Config
	ev    Events
	state State
	calls map[uint16]*call // by our ID

	in    [wire.MaxSize]byte // an incomplete message
	inLen int
	out   []byte

	deadline time.Time // of the state; zero: none
	heard    time.Time // when the last message came
	echoSent time.Time // zero: no Echo-Request is open
	echoID   uint32
}

// call is one call of ours.
type call struct {
	id, peerID uint16
	answered   bool // peerID is known
	state      callState
	deadline   time.Time // of the state; zero: none
}

// NewMachine returns a Machine that has a Start-Control-Connection-Request ready to be sent.
func NewMachine(cfg Config, now time.Time, ev Events) *Machine {
	m := &Machine{cfg: cfg.withDefaults(), ev: ev, calls: map[uint16]*call{}, heard: now}
	m.deadline = now.Add(m.cfg.SetupTimeout)
	m.send(m.cfg.Start)
	return m
}

// State returns the state of the control connection.
func (m *Machine) State() State { return m.state }

// Output returns the octets to be sent and forgets them. They are the caller's until the next call of a method.
func (m *Machine) Output() []byte {
	b := m.out
	m.out = m.out[:0]
	return b
}

// Feed takes octets from the server, in any portions. It keeps nothing of b.
func (m *Machine) Feed(now time.Time, b []byte) {
	for len(b) > 0 && m.state != Closed {
		n := copy(m.in[m.inLen:], b)
		m.inLen += n
		b = b[n:]
		done := 0
		for m.state != Closed {
			size, err := wire.Split(m.in[done:m.inLen])
			if err != nil {
				m.control(now, broken, nil, fmt.Errorf("reading from the server: %w", err))
				return
			}
			if size == 0 {
				break
			}
			m.message(now, m.in[done:done+size])
			done += size
		}
		m.inLen = copy(m.in[:], m.in[done:m.inLen])
	}
}

// Deadline returns the next time at which Tick is wanted, and false if there is none.
func (m *Machine) Deadline() (time.Time, bool) {
	if m.state == Closed {
		return time.Time{}, false
	}
	d := m.deadline
	sooner := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	sooner(m.echoDeadline())
	for _, c := range m.calls {
		sooner(c.deadline)
	}
	return d, !d.IsZero()
}

// echoDeadline is when to ask the server for a sign of life, or to give it up; zero for never.
func (m *Machine) echoDeadline() time.Time {
	switch {
	case m.state != Established:
		return time.Time{}
	case !m.echoSent.IsZero():
		return m.echoSent.Add(m.cfg.EchoTimeout)
	case m.cfg.EchoInterval < 0:
		return time.Time{}
	default:
		return m.heard.Add(m.cfg.EchoInterval)
	}
}

// Tick acts on the deadlines that have passed.
func (m *Machine) Tick(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(m.deadline) {
		m.control(now, gaveUp, nil, fmt.Errorf("%w in state %s", ErrTimeout, m.state))
	}
	for _, c := range m.calls {
		if due(c.deadline) {
			m.call(now, c, callGaveUp, nil, ErrTimeout)
		}
	}
	if !due(m.echoDeadline()) {
		return
	}
	if !m.echoSent.IsZero() {
		m.control(now, silent, nil, fmt.Errorf("%w to an Echo-Request", ErrTimeout))
		return
	}
	m.Echo(now)
}

// Echo sends an Echo-Request and returns its identifier; false means that there is no established connection.
func (m *Machine) Echo(now time.Time) (uint32, bool) {
	if m.state != Established {
		return 0, false
	}
	m.echoID++
	m.echoSent = now
	m.send(wire.EchoRequest{Identifier: m.echoID})
	return m.echoID, true
}

// Call asks for a call.
func (m *Machine) Call(now time.Time, r wire.OutgoingCallRequest) error {
	if m.state != Established {
		return ErrClosed
	}
	if m.calls[r.CallID] != nil {
		return fmt.Errorf("%w: %d", ErrCallIDInUse, r.CallID)
	}
	c := &call{id: r.CallID}
	m.calls[c.id] = c
	m.call(now, c, openRequest, r, nil)
	return nil
}

// Clear asks to end the call with our ID id. It does nothing if there is none.
func (m *Machine) Clear(now time.Time, id uint16) {
	if c := m.calls[id]; c != nil {
		m.call(now, c, localClear, nil, nil)
	}
}

// SetLinkInfo sends a Set-Link-Info for the answered call with our ID id.
func (m *Machine) SetLinkInfo(id uint16, send, receive uint32) error {
	c := m.calls[id]
	if m.state != Established || c == nil || !c.answered {
		return ErrClosed
	}
	m.send(wire.SetLinkInfo{PeerCallID: c.peerID, SendACCM: send, ReceiveACCM: receive})
	return nil
}

// Stop ends the connection with all its calls.
func (m *Machine) Stop(now time.Time) { m.control(now, localStop, nil, ErrClosed) }

// Lost says that the TCP connection can no longer be used.
func (m *Machine) Lost(now time.Time, err error) { m.control(now, broken, nil, err) }

// message handles one whole message.
func (m *Machine) message(now time.Time, b []byte) {
	msg, err := wire.Parse(b)
	if err != nil {
		m.control(now, broken, nil, err)
		return
	}
	m.heard = now
	switch v := msg.(type) {
	case wire.StartControlConnectionReply:
		// Some modems send result 0 and mean yes, as pptp-linux knows.
		if v.Result > wire.ResultOK || v.Version != m.cfg.Start.Version {
			m.control(now, startRefused, msg, &ResultError{v.Type(), v.Result, v.Error})
			return
		}
		m.control(now, startAccepted, msg, nil)
	case wire.StopControlConnectionRequest:
		m.control(now, gotStop, msg, fmt.Errorf("%w, reason %d", ErrStopped, v.Reason))
	case wire.StopControlConnectionReply:
		m.control(now, gotStopReply, msg, ErrClosed)
	case wire.EchoRequest:
		m.control(now, gotEcho, msg, nil)
	case wire.EchoReply:
		if v.Identifier == m.echoID {
			m.echoSent = time.Time{}
		}
		m.control(now, gotEchoReply, msg, nil)
	case wire.OutgoingCallReply, wire.CallDisconnectNotify:
		m.control(now, gotCallMessage, msg, nil)
	default:
		m.control(now, gotStray, msg, nil)
	}
}

// control takes the step of table. err says why, in case calls or the connection end by it.
func (m *Machine) control(now time.Time, ev event, msg wire.Message, err error) {
	st := table[ev][m.state]
	if st.do&endCalls != 0 {
		for _, c := range m.calls {
			m.call(now, c, connectionGone, nil, err)
		}
	}
	if m.state != st.next {
		m.state, m.deadline = st.next, time.Time{}
		if st.next == WaitStopReply {
			m.deadline = now.Add(m.cfg.StopTimeout)
		}
	}
	if st.do&tellStarted != 0 {
		r, _ := msg.(wire.StartControlConnectionReply)
		m.ev.Started(r)
	}
	if st.do&sendStopRequest != 0 {
		m.send(wire.StopControlConnectionRequest{Reason: wire.StopReasonNone})
	}
	if st.do&sendStopReply != 0 {
		m.send(wire.StopControlConnectionReply{Result: wire.ResultOK})
	}
	if st.do&sendEchoReply != 0 {
		if e, ok := msg.(wire.EchoRequest); ok {
			m.send(wire.EchoReply{Identifier: e.Identifier, Result: wire.ResultOK})
		}
	}
	if st.do&tellEcho != 0 {
		if e, ok := msg.(wire.EchoReply); ok {
			m.ev.EchoReplied(e.Identifier)
		}
	}
	if st.do&handleCall != 0 {
		m.callMessage(now, msg)
	}
	if st.do&tellClosed != 0 {
		m.ev.Closed(err)
	}
}

// callMessage handles what the server says about a call.
func (m *Machine) callMessage(now time.Time, msg wire.Message) {
	switch v := msg.(type) {
	case wire.OutgoingCallReply:
		c := m.calls[v.PeerCallID]
		if c == nil {
			return
		}
		if v.Result != wire.ResultConnected {
			m.call(now, c, callRefused, v, &ResultError{v.Type(), v.Result, v.Error})
			return
		}
		c.peerID, c.answered = v.CallID, true
		m.call(now, c, callAccepted, v, nil)
	case wire.CallDisconnectNotify:
		if c := m.disconnected(v.CallID); c != nil {
			m.call(now, c, gotDisconnect, v, &ResultError{v.Type(), v.Result, v.Error})
		}
	}
}

// disconnected finds the call of a Call-Disconnect-Notify: by the server's ID as in RFC 2637 section 2.13, or by ours,
// which is what accel-ppp and pptpd send.
func (m *Machine) disconnected(id uint16) *call {
	for _, c := range m.calls {
		if c.answered && c.peerID == id {
			return c
		}
	}
	return m.calls[id]
}

// call takes the step of callTable. msg is the message that goes with the event, if any; err says why, in case the call ends by it.
func (m *Machine) call(now time.Time, c *call, ev callEvent, msg wire.Message, err error) {
	st := callTable[ev][c.state]
	if c.state != st.next {
		c.state, c.deadline = st.next, time.Time{}
		switch st.next {
		case callWaitReply:
			c.deadline = now.Add(m.cfg.CallTimeout)
		case callWaitDisconnect:
			c.deadline = now.Add(m.cfg.ClearTimeout)
		default: // the others may last
		}
	}
	if st.do&sendCallRequest != 0 {
		m.send(msg)
	}
	if st.do&sendClear != 0 {
		m.send(wire.CallClearRequest{CallID: c.id})
	}
	if r, ok := msg.(wire.OutgoingCallReply); ok && st.do&tellAnswered != 0 {
		m.ev.Answered(c.id, r)
	}
	if st.do&tellEnded != 0 {
		delete(m.calls, c.id)
		m.ev.Ended(c.id, err)
	}
}

// send appends a message to the output.
func (m *Machine) send(msg wire.Message) {
	m.out, _ = msg.AppendBinary(m.out) // never fails, see wire.Message
}
