package ppp

import (
	"slices"

	"concentrator/internal/ppp/automaton"
	wireccp "concentrator/internal/wire/ccp"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// layer is one protocol of the client: it asks for what its list says, takes what the server proposes and leaves out what
// the server rejects. What the server asks for is for judge.
type layer struct {
	c        *Machine
	m        *automaton.Machine
	protocol uint16
	wants    []wire.Option // of a fresh negotiation
	ask      []wire.Option // of the next request
	judge    func(a *automaton.Answer)
	failed   bool // finished, and not by our own wish
	timedOut bool // that was for want of an answer
}

func newLayer(c *Machine, protocol uint16, wants []wire.Option, judge func(a *automaton.Answer)) *layer {
	l := &layer{c: c, protocol: protocol, wants: wants, judge: judge}
	l.m = automaton.NewMachine(c.cfg.machine(), l)
	l.reset()
	return l
}

// reset makes the next negotiation begin as the first one did.
func (l *layer) reset() {
	l.failed, l.timedOut = false, false
	l.ask = slices.Clone(l.wants)
}

// start begins a negotiation: the layer below is up.
func (l *layer) start() {
	l.reset()
	l.m.Open(l.c.now)
	l.m.Up(l.c.now)
}

// asked returns the value of an option as it stands in our request.
func (l *layer) asked(typ byte) ([]byte, bool) {
	for _, o := range l.ask {
		if o.Type == typ {
			return o.Value, true
		}
	}
	return nil, false
}

// AppendRequest implements automaton.Layer. Once we have acknowledged the server's MPPE, its Ack of this very request lets
// it encrypt, and that Ack may get lost.
func (l *layer) AppendRequest(b []byte) []byte {
	if l == l.c.ccp && l.c.mppe.peer.Bits != 0 {
		l.c.installReceive()
	}
	for _, o := range l.ask {
		b = wire.AppendOption(b, o.Type, o.Value...)
	}
	return b
}

// Judge implements automaton.Layer.
func (l *layer) Judge(a *automaton.Answer) { l.judge(a) }

// BeforeAck implements automaton.Layer: what the server may send next is installed before the Ack that permits it.
func (l *layer) BeforeAck() {
	if l == l.c.ccp {
		l.c.installReceive()
	}
}

// Naked implements automaton.Layer. An option that we did not ask for is one that the server prompts us to.
func (l *layer) Naked(opts wire.Options) {
	for o := range opts.All() {
		o.Value = slices.Clone(o.Value)
		i := slices.IndexFunc(l.ask, func(have wire.Option) bool { return have.Type == o.Type })
		switch {
		case i >= 0:
			l.ask[i] = o
		case l == l.c.ipcp && l.c.cfg.NoAddress, l == l.c.ccp && l.c.cfg.CCPMode == CCPReject:
		default:
			l.ask = append(l.ask, o)
		}
	}
}

// Rejected implements automaton.Layer.
func (l *layer) Rejected(opts wire.Options) {
	for o := range opts.All() {
		l.ask = slices.DeleteFunc(l.ask, func(have wire.Option) bool { return have.Type == o.Type })
	}
}

// Knows implements automaton.Layer.
func (l *layer) Knows(code byte) bool {
	switch l.protocol {
	case wire.ProtocolLCP:
		return code >= wirelcp.CodeProtocolReject && code <= wirelcp.CodeTimeRemaining
	case wire.ProtocolCCP:
		return code == wireccp.CodeResetRequest || code == wireccp.CodeResetAck
	default:
		return false
	}
}

// Extra implements automaton.Layer.
func (l *layer) Extra(p wire.Packet) {
	if l == l.c.lcp {
		l.c.extraLCP(p)
	}
}

// Up implements automaton.Layer; for the rest Machine.step goes on.
func (l *layer) Up() {
	if l == l.c.ccp {
		l.c.ccpUp()
	}
}

// Down implements automaton.Layer.
func (l *layer) Down() {
	switch l {
	case l.c.lcp:
		l.c.lcpDown()
	case l.c.ccp:
		l.c.ccpDown()
	case l.c.ipcp:
		l.c.networkDown()
	}
}

// PeerTerminates implements automaton.Layer. While LCP is not open, RFC 1661 goes on negotiating.
func (l *layer) PeerTerminates(text []byte) {
	if l == l.c.lcp && l.m.Opened() {
		l.c.closing = true
		l.c.fail(&TerminatedError{Text: string(text)}, "")
	}
}

// Finished implements automaton.Layer.
func (l *layer) Finished(e automaton.Event) {
	l.failed, l.timedOut = true, e == automaton.TOMinus
}

// Send implements automaton.Layer.
func (l *layer) Send(packet []byte) { l.c.ev.SendFrame(l.protocol, packet) }
