package pptp

import (
	"fmt"
	"time"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

const (
	// A connection may send messageBurst messages at once and messageRate a second in the long run. A client needs a
	// handful; the bound keeps one that floods us with Echo-Requests from using a CPU.
	messageBurst = 1024
	messageRate  = 256
	// maxRefusals is how many calls in a row may be refused before we stop the connection.
	maxRefusals = 16
	// receiveWindow is what Windows servers advertise. Nothing here stalls on a window.
	receiveWindow = 16384
)

// upper is what the machine asks of the connection around it. It is called from within the machine's methods and must not
// call back into it.
type upper interface {
	outgoingCall(c *call, r CallRequest) Answer
	callClosed(id uint16, cause tenant.Reason, detail string)
	refused(reason tenant.Reason, detail string)
	// connected says that the connection has a connected call and had none, disconnected that it has none any more.
	connected()
	disconnected()
	// authenticated says that the user of one of its calls has logged in; from any goroutine.
	authenticated()
	// post hands over a command from any goroutine.
	post(command)
	// received is told of each message and the state that it meets, for the log.
	received(t wire.Type, s controlState)
}

// machine is the protocol of one control connection, RFC 2637 section 3. It belongs to one goroutine. Octets, commands
// and the time go in; octets to send are in out, and closed says that nothing more will come after them.
type machine struct {
	cfg   *Config
	up    upper
	state controlState
	peer  wire.StartControlConnectionRequest

	calls  map[uint16]*call // by our ID
	byPeer map[uint16]*call // by the client's ID

	in      [wire.MaxSize]byte // an incomplete message
	inLen   int
	inSince time.Time // when its first octets came

	out []byte

	deadline time.Time // of the state: start, first call, linger, stop reply; zero: none
	late     string    // what that deadline waits for
	heard    time.Time // when the last message came
	echoSent time.Time // zero: no Echo-Request is open
	echoID   uint32

	budget   int // messages that may still come at budgetAt
	budgetAt time.Time
	refusals int // calls refused since the last one that was connected

	anyOctet bool // the client has sent something
	reported bool // the Handler knows of this connection: nothing is left to report when it ends
}

func newMachine(cfg *Config, now time.Time, up upper) *machine {
	return &machine{
		cfg: cfg, up: up,
		calls: map[uint16]*call{}, byPeer: map[uint16]*call{},
		deadline: now.Add(cfg.SetupTimeout),
		late:     fmt.Sprintf("no Start-Control-Connection-Request came within %v", cfg.SetupTimeout),
		heard:    now, budget: messageBurst, budgetAt: now,
	}
}

// Feed takes octets from the peer, in any portions. It keeps nothing of b.
func (m *machine) Feed(now time.Time, b []byte) {
	m.anyOctet = m.anyOctet || len(b) > 0
	for len(b) > 0 && m.state != closed {
		if m.inLen == 0 {
			m.inSince = now
		}
		n := copy(m.in[m.inLen:], b)
		m.inLen += n
		b = b[n:]

		done := 0
		for m.state != closed {
			size, err := wire.Split(m.in[done:m.inLen])
			if err != nil {
				m.control(now, broken, nil, tenant.ReasonProtocolError, err.Error())
				return
			}
			if size == 0 {
				break
			}
			m.message(now, m.in[done:done+size])
			done += size
		}
		if done > 0 {
			m.inLen = copy(m.in[:], m.in[done:m.inLen])
			m.inSince = now
		}
	}
}

// Deadline returns the next time at which Tick is wanted; false once the machine is closed.
func (m *machine) Deadline() (time.Time, bool) {
	if m.state == closed {
		return time.Time{}, false
	}
	d := m.deadline
	sooner := func(t time.Time) {
		if d.IsZero() || t.Before(d) {
			d = t
		}
	}
	if m.inLen > 0 {
		sooner(m.inSince.Add(m.cfg.MessageTimeout))
	}
	if m.state == established {
		sooner(m.echoDeadline())
	}
	return d, true
}

func (m *machine) echoDeadline() time.Time {
	if m.echoSent.IsZero() {
		return m.heard.Add(m.cfg.EchoInterval)
	}
	return m.echoSent.Add(m.cfg.EchoTimeout)
}

// Tick acts on the deadlines that have passed.
func (m *machine) Tick(now time.Time) {
	due := func(t time.Time) bool { return !now.Before(t) }
	if m.state == closed {
		return
	}
	if m.inLen > 0 && due(m.inSince.Add(m.cfg.MessageTimeout)) {
		m.control(now, broken, nil, tenant.ReasonPeerTimeout,
			fmt.Sprintf("a message was not complete after %v", m.cfg.MessageTimeout))
		return
	}
	if !m.deadline.IsZero() && due(m.deadline) {
		m.control(now, gaveUp, nil, tenant.ReasonPeerTimeout, m.late)
		return
	}
	if m.state != established || !due(m.echoDeadline()) {
		return
	}
	if !m.echoSent.IsZero() {
		m.control(now, silent, nil, tenant.ReasonPeerTimeout,
			fmt.Sprintf("no answer to an Echo-Request within %v", m.cfg.EchoTimeout))
		return
	}
	m.echoID++
	m.echoSent = now
	m.send(wire.EchoRequest{Identifier: m.echoID})
}

// Run carries out a command of another goroutine.
func (m *machine) Run(now time.Time, cmd command) {
	if cmd.hangUp == nil {
		m.control(now, localTerminate, nil, cmd.cause, "the server stops the control connection")
		return
	}
	m.call(now, cmd.hangUp, localHangup, cmd.cause, "")
}

// Lost says that the TCP connection can no longer be used. detail says why.
func (m *machine) Lost(now time.Time, detail string) {
	m.control(now, broken, nil, tenant.ReasonPeerTimeout, detail)
}

// message handles one whole message.
func (m *machine) message(now time.Time, b []byte) {
	msg, err := wire.Parse(b)
	if err != nil {
		m.control(now, broken, nil, tenant.ReasonProtocolError, err.Error())
		return
	}
	m.up.received(msg.Type(), m.state)
	if !m.spend(now) {
		m.control(now, broken, nil, tenant.ReasonProtocolError, "too many control messages")
		return
	}
	// TCP acknowledges for us, so whatever the peer sends proves that it lives as well as an Echo-Reply does.
	m.heard, m.echoSent = now, time.Time{}
	ev, reason, detail := classify(msg)
	if m.state == idle && ev != gotStart && ev != gotStartOld && ev != gotStop {
		detail = msg.Type().String() + " before the start of the control connection"
	}
	m.control(now, ev, msg, reason, detail)
}

// classify names the event that a message is, and what to say if it ends the connection.
func classify(msg wire.Message) (ev controlEvent, reason tenant.Reason, detail string) {
	switch v := msg.(type) {
	case wire.StartControlConnectionRequest:
		if v.Version < wire.Version {
			return gotStartOld, tenant.ReasonProtocolError, fmt.Sprintf("protocol version %#04x is not supported", v.Version)
		}
		return gotStart, "", ""
	case wire.StopControlConnectionRequest:
		return gotStop, tenant.ReasonUserRequest, "the client stopped the control connection"
	case wire.StopControlConnectionReply:
		return gotStopReply, tenant.ReasonProtocolError, ""
	case wire.EchoRequest:
		return gotEcho, tenant.ReasonProtocolError, ""
	case wire.EchoReply:
		return gotEchoReply, tenant.ReasonProtocolError, ""
	case wire.OutgoingCallRequest, wire.IncomingCallRequest:
		return gotCallRequest, tenant.ReasonProtocolError, ""
	case wire.CallClearRequest, wire.CallDisconnectNotify, wire.WANErrorNotify, wire.SetLinkInfo:
		return gotCallMessage, tenant.ReasonProtocolError, ""
	default:
		return gotStray, tenant.ReasonProtocolError, ""
	}
}

// spend takes one message off the budget; false means that the peer sends too many.
func (m *machine) spend(now time.Time) bool {
	if since := now.Sub(m.budgetAt); since >= time.Second {
		m.budget = min(messageBurst, m.budget+messageRate*int(min(since/time.Second, messageBurst)))
		m.budgetAt = now
	}
	m.budget--
	return m.budget >= 0
}

// control takes the step of controlTable. reason and detail say why, in case calls or the connection end by it.
func (m *machine) control(now time.Time, ev controlEvent, msg wire.Message, reason tenant.Reason, detail string) {
	from := m.state
	step := controlTable[ev][from]
	if step.do&endCalls != 0 {
		m.endCalls(now, reason, detail)
	}
	m.enter(now, from, step.next)
	switch {
	case step.do&sendStartReply != 0:
		m.peer, _ = msg.(wire.StartControlConnectionRequest)
		m.sendStartReply(wire.ResultOK)
	case step.do&sendStartExists != 0:
		m.sendStartReply(wire.StartResultExists)
	case step.do&sendStartVersion != 0:
		m.sendStartReply(wire.StartResultVersion)
	case step.do&sendStopRequest != 0:
		r := wire.StopReasonNone
		if reason == tenant.ReasonShutdown {
			r = wire.StopReasonLocalShutdown
		}
		m.send(wire.StopControlConnectionRequest{Reason: r})
	case step.do&sendStopReply != 0:
		m.send(wire.StopControlConnectionReply{Result: wire.ResultOK})
	case step.do&sendEchoReply != 0:
		if e, ok := msg.(wire.EchoRequest); ok {
			m.send(wire.EchoReply{Identifier: e.Identifier, Result: wire.ResultOK})
		}
	case step.do&sendNotConnected != 0:
		m.refuse(msg, wire.ResultGeneralError, wire.ErrorNotConnected)
	case step.do&handleCallRequest != 0:
		m.callRequest(now, msg)
	case step.do&handleCallMessage != 0:
		m.callMessage(now, msg)
	}
	if m.reported || m.state == established || from == waitStopReply {
		return
	}
	// The connection has come to its end without a call. A peer that never said a word and left again is a health check.
	m.reported = true
	if m.anyOctet || ev != broken {
		m.up.refused(halfOpenReason(reason), detail)
	}
}

// halfOpenReason is the reason for the end of a connection that had no call: one for refused logins.
func halfOpenReason(r tenant.Reason) tenant.Reason {
	switch r {
	case tenant.ReasonUserRequest:
		return tenant.ReasonPeerTimeout
	case tenant.ReasonShutdown:
		return tenant.ReasonDraining
	default:
		return r
	}
}

// enter sets the state and its deadline.
func (m *machine) enter(now time.Time, from, to controlState) {
	m.state = to
	if from == to {
		return
	}
	switch to {
	case established:
		m.deadline, m.late = now.Add(m.cfg.CallTimeout), fmt.Sprintf("no call was connected within %v", m.cfg.CallTimeout)
	case waitStopReply:
		m.deadline, m.late = now.Add(m.cfg.StopTimeout), "no Stop-Control-Connection-Reply came"
	default:
		m.deadline = time.Time{}
	}
}

// endCalls tells the Handler that every call is gone.
func (m *machine) endCalls(now time.Time, reason tenant.Reason, detail string) {
	cause := reason
	if cause != tenant.ReasonUserRequest && cause != tenant.ReasonShutdown {
		cause = tenant.ReasonLostCarrier
	}
	for _, c := range m.calls {
		m.call(now, c, connectionGone, cause, detail)
	}
}

// callRequest handles Outgoing-Call-Request, and refuses Incoming-Call-Request: no client of a VPN has a telephone line.
func (m *machine) callRequest(now time.Time, msg wire.Message) {
	r, ok := msg.(wire.OutgoingCallRequest)
	if !ok {
		m.refuse(msg, wire.IncomingResultDoNotAccept, wire.ErrorNone)
		m.countRefusal(now, "an Incoming-Call-Request is not accepted")
		return
	}
	c := &call{peerID: r.CallID, request: r, post: m.up.post, login: m.up.authenticated}
	if m.byPeer[r.CallID] != nil {
		c.answer = Answer{Result: wire.ResultGeneralError, ErrorCode: wire.ErrorBadCallID}
		m.call(now, c, requestBad, "", "")
		m.countRefusal(now, fmt.Sprintf("call ID %d is in use on this control connection", r.CallID))
		return
	}
	m.call(now, c, requestGood, "", "")
	if c.state != callEstablished {
		m.countRefusal(now, "")
	}
}

// countRefusal notes a refused call, with a detail if the Handler does not know of it, and stops a connection that has
// had too many.
func (m *machine) countRefusal(now time.Time, detail string) {
	m.reported = true
	if detail != "" {
		m.up.refused(tenant.ReasonProtocolError, detail)
	}
	if m.refusals++; m.refusals >= maxRefusals {
		m.control(now, localTerminate, nil, tenant.ReasonProtocolError, "too many calls were refused")
	}
}

// callMessage handles what a client may say about a call that it has.
func (m *machine) callMessage(now time.Time, msg wire.Message) {
	switch v := msg.(type) {
	case wire.CallClearRequest:
		// By the RFC it is the client's ID; some send the one that we gave.
		c := m.byPeer[v.CallID]
		if c == nil {
			c = m.calls[v.CallID]
		}
		if c == nil {
			m.send(wire.CallDisconnectNotify{
				CallID: v.CallID, Result: wire.ResultGeneralError, Error: wire.ErrorBadCallID,
			})
			return
		}
		m.call(now, c, gotClear, tenant.ReasonUserRequest, "the client cleared the call")
	case wire.CallDisconnectNotify:
		if c := m.byPeer[v.CallID]; c != nil {
			m.call(now, c, gotGone, tenant.ReasonUserRequest, "the client disconnected the call")
		}
	default:
		// Set-Link-Info is about characters to escape on an asynchronous line and WAN-Error-Notify about errors on one;
		// there is no such line. Windows sends the first twice a call.
	}
}

// call takes the step of callTable. cause and detail say why, in case the call ends by it.
func (m *machine) call(now time.Time, c *call, ev callEvent, cause tenant.Reason, detail string) {
	step := callTable[ev][c.state]
	c.state = step.next
	if step.do&askHandler != 0 {
		m.call(now, c, m.ask(c), "", "")
		return
	}
	if step.do&sendConnected != 0 {
		m.connect(c)
	}
	if step.do&sendRefusal != 0 {
		m.refuse(c.request, c.answer.Result, c.answer.ErrorCode)
	}
	if step.do&hangUp != 0 {
		m.hangUp(now, c, cause, detail)
	}
	if step.do&sendDisconnect != 0 {
		m.send(wire.CallDisconnectNotify{CallID: c.id, Result: disconnectResult(cause)})
	}
}

// ask lets the Handler decide.
func (m *machine) ask(c *call) callEvent {
	c.answer = m.up.outgoingCall(c, CallRequest{
		PeerCallID: c.peerID, SerialNumber: c.request.SerialNumber, Window: c.request.ReceiveWindow,
		PhoneNumber: c.request.Number(),
		HostName:    m.peer.HostName.String(), Vendor: m.peer.VendorName.String(),
		FirmwareRevision: m.peer.FirmwareRevision,
	})
	if c.answer.Result == wire.ResultConnected {
		return answered
	}
	if c.answer.Result == 0 {
		c.answer = Answer{Result: wire.ResultGeneralError, ErrorCode: wire.ErrorPACError}
	}
	return incomplete
}

// connect enters an answered call into the tables and tells the client.
func (m *machine) connect(c *call) {
	c.id = c.answer.CallID
	m.calls[c.id], m.byPeer[c.peerID] = c, c
	m.send(wire.OutgoingCallReply{
		CallID: c.id, PeerCallID: c.peerID, Result: wire.ResultConnected,
		ConnectSpeed: c.request.MaximumBPS, ReceiveWindow: receiveWindow,
	})
	c.request = wire.OutgoingCallRequest{}
	m.deadline, m.refusals, m.reported = time.Time{}, 0, true
	if len(m.calls) == 1 {
		m.up.connected()
	}
}

// hangUp takes a call out of the tables, tells the Handler if it was not the Handler's own wish, and starts the time that
// a connection without calls may stay.
func (m *machine) hangUp(now time.Time, c *call, cause tenant.Reason, detail string) {
	delete(m.calls, c.id)
	delete(m.byPeer, c.peerID)
	if c.ended.CompareAndSwap(false, true) {
		m.up.callClosed(c.id, cause, detail)
	}
	if len(m.calls) == 0 {
		m.deadline, m.late = now.Add(m.cfg.LingerTimeout), "the last call has ended"
		m.up.disconnected()
	}
}

// refuse answers a request for a call with a no.
func (m *machine) refuse(msg wire.Message, result, code uint8) {
	switch v := msg.(type) {
	case wire.OutgoingCallRequest:
		m.send(wire.OutgoingCallReply{PeerCallID: v.CallID, Result: result, Error: code})
	case wire.IncomingCallRequest:
		m.send(wire.IncomingCallReply{PeerCallID: v.CallID, Result: result, Error: code})
	}
}

func (m *machine) sendStartReply(result uint8) {
	m.send(wire.StartControlConnectionReply{
		Version: wire.Version, Result: result,
		FramingCapabilities: wire.FramingEither, BearerCapabilities: wire.BearerEither,
		FirmwareRevision: m.cfg.FirmwareRevision,
		HostName:         wire.NewText(m.cfg.HostName), VendorName: wire.NewText(m.cfg.Vendor),
	})
}

// send appends a message to the octets to be written.
func (m *machine) send(msg wire.Message) {
	m.out, _ = msg.AppendBinary(m.out) // never fails, see wire.Message
}
