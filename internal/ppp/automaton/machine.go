package automaton

import (
	"bytes"
	"hash/fnv"
	"slices"
	"time"

	"concentrator/internal/wire/ppp"
)

// Layer is the protocol that a Machine runs: it knows what the options mean. Its methods are called from within the
// Machine's and must not call the same Machine. Slices are borrowed until the method returns.
type Layer interface {
	// AppendRequest appends the options that we ask for now.
	AppendRequest(b []byte) []byte
	// Judge gives an opinion on the peer's request and keeps what it asked for.
	Judge(a *Answer)
	// BeforeAck is called before each Configure-Ack that Judge led to, except a repeated one.
	BeforeAck()
	// Naked hands over the values that the peer would take. The next request goes out afterwards.
	Naked(o ppp.Options)
	// Rejected hands over the options that the peer does not take. The next request goes out afterwards.
	Rejected(o ppp.Options)
	// Knows says whether the protocol has a code above ppp.CodeCodeReject.
	Knows(code byte) bool
	// Extra handles a packet with such a code; it is only called while the layer is open.
	Extra(p ppp.Packet)
	// Up and Down say that the layer is open, and no longer.
	Up()
	Down()
	// PeerTerminates says that the peer sent a Terminate-Request with this text.
	PeerTerminates(text []byte)
	// Finished says that the layer is not needed any more; e is the event that ended it.
	Finished(e Event)
	// Send sends one packet.
	Send(packet []byte)
}

// Config bounds a Machine. Every field must be set, but Parting.
type Config struct {
	Restart      time.Duration // restart timer, RFC 1661 section 4.6
	First        time.Duration // time to the first repetition of the very first request, and to the next one when the peer appears
	Linger       time.Duration // how long a layer that the peer terminated still answers a repeated Terminate-Request
	Parting      time.Duration // how long the end waits when the peer has asked for it too and acknowledged ours; 0: not at all
	Limit        time.Duration // longest negotiation: some packet sequences restart the counter for ever
	MaxConfigure int
	MaxTerminate int
	MaxFailure   int
	// KeepSame is how many requests for what is open already, but with a new identifier, are acknowledged without
	// going down. Windows sends them for CCP, and pppd then loses its keys.
	KeepSame int
}

// maxLoops is how many Configure-Naks and -Rejects in one negotiation we follow before we call it hopeless. Max-Failure
// bounds what we send; this bounds a peer that keeps no such count.
const maxLoops = 20

// maxRejected is how much of a packet is sent back in a Code-Reject, in octets. It keeps within every MRU.
const maxRejected = 512

// staleLen is how many of the peer's earlier requests are remembered.
const staleLen = 4

// Machine runs one protocol by the table.
type Machine struct {
	cfg   Config
	layer Layer

	state    State
	restart  int       // restart counter
	deadline time.Time // of the restart timer; zero: it does not run
	limit    time.Time // end of the negotiation; zero: none runs
	now      time.Time // of the method that runs

	lastID    byte   // of what we sent last
	requestID byte   // of our last Configure-Request
	request   []byte // its options
	answered  bool   // the peer has answered it
	started   bool   // the first request is out, so First is used up
	heard     bool   // the peer has asked for something
	naks      int    // Configure-Naks sent since the last Ack, not counting repeated ones
	renewed   bool   // the request that is being answered is not a repetition
	loops     int    // Configure-Naks and -Rejects received in this negotiation
	why       []byte // text of our Terminate-Request
	both      bool   // the peer has asked to terminate too

	answer    Answer
	accepted  []byte           // options of the last request that we acknowledged
	openedAt  time.Time        // when the layer opened
	kept      int              // requests acknowledged by KeepSame
	keptAt    time.Time        // and the last of them
	current   uint64           // fingerprint of the peer's latest request, 0 for none
	stale     [staleLen]uint64 // of those before it
	staleAt   time.Time        // when the latest request came
	lastStale uint64           // of the stale request that was dropped last
	buf       []byte           // the packet that is being built
}

// NewMachine makes a Machine in state Initial.
func NewMachine(cfg Config, l Layer) *Machine { return &Machine{cfg: cfg, layer: l} }

// State returns the state.
func (m *Machine) State() State { return m.state }

// Opened says whether the layer is open.
func (m *Machine) Opened() bool { return m.state == Opened }

// Up says that the layer below is up.
func (m *Machine) Up(now time.Time) { m.event(now, Up, ppp.Packet{}) }

// Down says that the layer below is down.
func (m *Machine) Down(now time.Time) {
	m.event(now, Down, ppp.Packet{})
	m.current, m.stale, m.lastStale, m.started = 0, [staleLen]uint64{}, 0, false
}

// Open says that the layer is wanted.
func (m *Machine) Open(now time.Time) { m.event(now, Open, ppp.Packet{}) }

// Adopt opens the layer at once, in state Initial, because somebody else has negotiated it with the peer: sent are the
// options of the request that the peer has acknowledged, received those of the peer's request that was acknowledged. The
// Layer knows what they mean already. It returns false in any other state.
func (m *Machine) Adopt(now time.Time, sent, received []byte) bool {
	if m.state != Initial {
		return false
	}
	m.now, m.state = now, Opened
	m.request, m.answered, m.started = append(m.request[:0], sent...), true, true
	m.accepted = append(m.accepted[:0], received...)
	m.perform(TLU, Up, ppp.Packet{})
	return true
}

// Judged lets the Layer judge options without an answer and says whether they would be acknowledged.
func (m *Machine) Judged(o ppp.Options) bool {
	m.answer.reset(o, false)
	m.layer.Judge(&m.answer)
	return m.answer.Good()
}

// Close says that the layer is not wanted any more; why is the text of the Terminate-Request.
func (m *Machine) Close(now time.Time, why string) {
	m.why = append(m.why[:0], why...)
	m.event(now, Close, ppp.Packet{})
}

// Fail ends the layer because the peer rejects the protocol or something that can not be done without.
func (m *Machine) Fail(now time.Time) { m.event(now, RXJMinus, ppp.Packet{}) }

// Deadline returns when Tick is wanted next.
func (m *Machine) Deadline() (time.Time, bool) {
	switch {
	case m.deadline.IsZero():
		return m.limit, !m.limit.IsZero()
	case !m.limit.IsZero() && m.limit.Before(m.deadline):
		return m.limit, true
	}
	return m.deadline, true
}

// Tick handles the timeouts that are due.
func (m *Machine) Tick(now time.Time) {
	switch {
	case !m.limit.IsZero() && !now.Before(m.limit):
		m.event(now, TOMinus, ppp.Packet{})
	case m.deadline.IsZero() || now.Before(m.deadline):
	case m.restart > 0:
		m.event(now, TOPlus, ppp.Packet{})
	default:
		m.event(now, TOMinus, ppp.Packet{})
	}
}

// Receive handles a packet of the protocol. What RFC 1661 calls invalid is dropped in silence.
func (m *Machine) Receive(now time.Time, p ppp.Packet) {
	m.now = now
	switch p.Code {
	case ppp.CodeConfigureRequest:
		m.receiveRequest(p)
	case ppp.CodeConfigureAck:
		if m.answersRequest(p) && bytes.Equal(p.Data, m.request) {
			m.answered = true
			m.event(now, RCA, p)
		}
	case ppp.CodeConfigureNak, ppp.CodeConfigureReject:
		m.receiveRefusal(p)
	case ppp.CodeTerminateRequest:
		if m.state >= Closed {
			m.layer.PeerTerminates(p.Data)
		}
		m.event(now, RTR, p)
		m.both = m.ending()
	case ppp.CodeTerminateAck:
		if !m.lingers() {
			m.event(now, RTA, p)
		}
	case ppp.CodeCodeReject:
		// A peer that does not know one of the first seven codes can not speak the protocol (RFC 1661 section 4.3).
		e := RXJPlus
		if len(p.Data) > 0 && p.Data[0] <= ppp.CodeCodeReject {
			e = RXJMinus
		}
		m.event(now, e, p)
	default:
		e := RUC
		if m.layer.Knows(p.Code) {
			e = RXR
		}
		m.event(now, e, p)
	}
}

// ending says whether a Terminate-Request of ours is out, or the peer's was answered.
func (m *Machine) ending() bool { return m.state == Closing || m.state == Stopping }

// lingers says, when a Terminate-Ack has come, whether the end waits nevertheless: when both have asked to terminate, the peer's Ack
// often comes before it has ours, and what ends the lower layer may overtake that on another way. RFC 1661 would end here. pppd then
// tells of a modem that has hung up instead of a login that was refused.
func (m *Machine) lingers() bool {
	if !m.both || !m.ending() || m.cfg.Parting == 0 {
		return false
	}
	if m.restart > 0 {
		m.restart, m.deadline = 0, m.now.Add(m.cfg.Parting)
	}
	return true
}

// answersRequest says whether p can be the answer to our last request. A second answer to the same request is a
// repetition by the network: taking it for a new one would bring an open layer down.
func (m *Machine) answersRequest(p ppp.Packet) bool {
	return m.state >= ReqSent && !m.answered && p.ID == m.requestID
}

func (m *Machine) receiveRefusal(p ppp.Packet) {
	o, err := ppp.ParseOptions(p.Data)
	if err != nil || !m.answersRequest(p) {
		return
	}
	if m.loops++; m.loops > maxLoops {
		m.event(m.now, RXJMinus, p)
		return
	}
	if p.Code == ppp.CodeConfigureNak {
		m.layer.Naked(o)
	} else {
		m.layer.Rejected(o)
	}
	m.event(m.now, RCN, p)
}

func (m *Machine) receiveRequest(p ppp.Packet) {
	o, err := ppp.ParseOptions(p.Data)
	if err != nil {
		return
	}
	if m.state >= ReqSent && m.repetition(p) {
		return
	}
	h := fingerprint(p)
	m.renewed = h != m.current
	if m.renewed {
		copy(m.stale[1:], m.stale[:])
		m.stale[0], m.current, m.staleAt, m.lastStale = m.current, h, m.now, 0
	}
	m.answer.reset(o, m.naks >= m.cfg.MaxFailure)
	if m.state == Stopped || m.state >= ReqSent { // in all other states the answer does not depend on the options
		m.layer.Judge(&m.answer)
	}
	e := RCRMinus
	if m.answer.Good() {
		e = RCRPlus
	}
	m.event(m.now, e, p)
	if !m.heard && (m.state == ReqSent || m.state == AckSent) {
		// It is there now, and what we have asked before may have met nobody: clients take a second or two to start.
		m.heard = true
		if soon := m.now.Add(m.cfg.First); m.deadline.After(soon) {
			m.deadline = soon
		}
	}
}

// repetition handles requests that say nothing new and reports whether p was one. By the table each would bring an open
// layer down and cost a new login; a network that repeats and reorders packets sends plenty of them. Only within the
// time in which a peer repeats a request are they taken for repetitions: later, the peer has lost its state.
func (m *Machine) repetition(p ppp.Packet) bool {
	window := time.Duration(m.cfg.MaxConfigure) * m.cfg.Restart
	h := fingerprint(p)
	if h == m.current {
		if m.state == Opened && m.now.Sub(m.openedAt) < window && bytes.Equal(p.Data, m.accepted) {
			m.acknowledge(p)
			return true
		}
		return false
	}
	// An earlier request, overtaken by the latest one. Twice in a row, the peer means it.
	if slices.Contains(m.stale[:], h) && h != m.lastStale && m.now.Sub(m.staleAt) < window {
		m.lastStale = h
		return true
	}
	if m.state == Opened && m.keepSame(p, window) {
		m.acknowledge(p)
		return true
	}
	return false
}

// keepSame says whether p asks for what is open already and Config.KeepSame allows to leave it at that. A peer that
// goes on asking wants a new negotiation.
func (m *Machine) keepSame(p ppp.Packet, window time.Duration) bool {
	if !bytes.Equal(p.Data, m.accepted) {
		return false
	}
	if m.now.Sub(m.keptAt) >= window {
		m.kept = 0
	}
	if m.kept >= m.cfg.KeepSame {
		return false
	}
	m.kept++
	m.keptAt = m.now
	return true
}

// fingerprint tells requests apart; it is never 0.
func fingerprint(p ppp.Packet) uint64 {
	h := fnv.New64a()
	h.Write([]byte{p.ID})
	h.Write(p.Data)
	return h.Sum64() | 1
}

// event moves by the table. p is the packet that the event is about, if any.
func (m *Machine) event(now time.Time, e Event, p ppp.Packet) {
	m.now = now
	from := m.state
	st, ok := Next(from, e)
	if !ok {
		return
	}
	m.state = st.To
	switch {
	case m.state < ReqSent || m.state == Opened:
		m.limit = time.Time{}
	case from < ReqSent || from == Opened:
		m.limit = now.Add(m.cfg.Limit)
		m.loops, m.naks = 0, 0
	}
	for a := Actions(1); a < endOfActions; a <<= 1 {
		if st.Do&a != 0 {
			m.perform(a, e, p)
		}
	}
	if !TimerRuns(m.state) {
		m.deadline = time.Time{}
	}
	if !m.ending() {
		m.both = false
	}
}

func (m *Machine) perform(a Actions, e Event, p ppp.Packet) {
	switch a {
	case TLD:
		m.layer.Down()
	case IRC:
		m.restart = m.cfg.MaxConfigure
		if m.ending() {
			m.restart = m.cfg.MaxTerminate
		}
	case ZRC:
		m.restart = 0
		m.deadline = m.now.Add(m.cfg.Linger)
	case SCR:
		m.sendRequest(e == TOPlus)
	case SCA:
		m.naks = 0
		m.accepted = append(m.accepted[:0], p.Data...)
		m.layer.BeforeAck()
		m.acknowledge(p)
	case SCN:
		code, options := m.answer.code()
		if code == ppp.CodeConfigureNak && m.renewed { // a repeated one was lost, not ignored
			m.naks++
		}
		m.send(code, p.ID, options)
	case STR:
		m.restart--
		m.deadline = m.now.Add(m.cfg.Restart)
		m.lastID++
		m.send(ppp.CodeTerminateRequest, m.lastID, m.why)
	case STA:
		id := p.ID
		if e != RTR { // nothing to answer: it tells the peer that we are closed
			m.lastID++
			id = m.lastID
		}
		m.send(ppp.CodeTerminateAck, id, nil)
	case SCJ:
		rejected := ppp.AppendPacket(nil, p.Code, p.ID, p.Data)
		m.lastID++
		m.send(ppp.CodeCodeReject, m.lastID, rejected[:min(len(rejected), maxRejected)])
	case SER:
		m.layer.Extra(p)
	case TLF:
		m.layer.Finished(e)
	case TLU:
		m.openedAt, m.kept = m.now, 0
		m.layer.Up()
	case TLS, endOfActions: // nobody waits for a layer to start: the owner brings the lower one up anyway
	}
}

// sendRequest sends a Configure-Request. again means that the restart timer wants it: then the identifier stays, so that
// a late answer to the earlier copy counts, unless the content changed or a valid answer came (RFC 1661 section 5.1).
func (m *Machine) sendRequest(again bool) {
	b := append(m.buf[:0], ppp.CodeConfigureRequest, 0, 0, 0)
	b = m.layer.AppendRequest(b)
	options := b[ppp.PacketHeaderLen:]
	if !again || m.answered || !bytes.Equal(options, m.request) {
		m.lastID++
		m.requestID = m.lastID
		m.request = append(m.request[:0], options...)
		m.answered = false
	}
	b[1] = m.requestID
	m.buf = ppp.FinishPacket(b, 0)
	wait := m.cfg.Restart
	if !m.started {
		m.started = true
		wait = m.cfg.First
	}
	m.restart--
	m.deadline = m.now.Add(wait)
	m.layer.Send(m.buf)
}

func (m *Machine) acknowledge(p ppp.Packet) { m.send(ppp.CodeConfigureAck, p.ID, p.Data) }

// NextID returns a fresh identifier for a packet that the Layer sends by itself.
func (m *Machine) NextID() byte {
	m.lastID++
	return m.lastID
}

func (m *Machine) send(code, id byte, data []byte) {
	m.buf = ppp.AppendPacket(m.buf[:0], code, id, data)
	m.layer.Send(m.buf)
}
