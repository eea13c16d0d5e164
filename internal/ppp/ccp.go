package ppp

import (
	"slices"
	"time"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	wire "concentrator/internal/wire/ppp"
)

// resetInterval is the least time between two Reset-Requests: the receiver asks for each packet that it can not read.
const resetInterval = 100 * time.Millisecond

// sameRequests is how many CCP requests for what is open already are taken for strays (automaton.Config.KeepSame).
const sameRequests = 2

// keyLengths are the key lengths of MPPE in bits, strongest first.
var keyLengths = []int{128, 56, 40}

// ccpLayer is CCP with MPPE (RFC 3078). A Configure-Request names what its sender can decrypt, so our request is about
// what the peer sends and the peer's about what we send. Both may end up different.
type ccpLayer struct {
	l *Link
	m *automaton.Machine

	started bool
	open    bool // CCP is open with MPPE in both directions
	gaveUp  bool // negotiation has failed at some time since the start: IPCP does not wait for it

	ask  MPPEParams // what our request names; no Bits: we ask for nothing
	wide bool       // our request names every key length of the grant, for the peer to choose (RFC 3078 section 2.1)
	naks int        // of our request, since the start

	peer      MPPEParams // what the peer's latest request names; no Bits: nothing
	acked     bool       // that request has our Ack
	installed MPPEParams // what Handler.MPPEReceive was told last; no Bits: nothing

	resetAt time.Time // when the last Reset-Request went out
}

func (c *ccpLayer) init(l *Link) {
	cfg := l.cfg.machine()
	cfg.KeepSame = sameRequests
	*c = ccpLayer{l: l, m: automaton.NewMachine(cfg, c)}
}

// wanted says whether MPPE is to be negotiated.
func (c *ccpLayer) wanted() bool {
	policy := c.l.grant.MPPE.Policy
	return c.l.cfg.CCP && c.strongest() != 0 && (policy == tenant.MPPERequired || policy == tenant.MPPEOptional)
}

// required says whether the link may carry IP only with MPPE.
func (c *ccpLayer) required() bool {
	return c.l.cfg.CCP && c.l.grant.MPPE.Policy == tenant.MPPERequired
}

func (c *ccpLayer) start() {
	c.started, c.gaveUp = true, false
	c.ask, c.naks = MPPEParams{Bits: c.strongest()}, 0
	c.wide = c.allowed() != wireccp.Strength(c.ask.Bits)
	c.m.Open(c.l.now)
	c.m.Up(c.l.now)
}

func (c *ccpLayer) stop() {
	if !c.started {
		return
	}
	c.m.Down(c.l.now)
	c.void()
	c.started = false
}

// settled says whether there is nothing more to wait for: MPPE is open, has failed, or was never to be.
func (c *ccpLayer) settled() bool { return !c.started || c.open || c.gaveUp }

// void takes back what the Handler was told.
func (c *ccpLayer) void() {
	if c.open || c.installed.Bits != 0 {
		c.open, c.installed = false, MPPEParams{}
		c.l.h.MPPEDown()
	}
	c.acked = false
}

// strongest returns the longest key of the grant in bits, 0 if there is none.
func (c *ccpLayer) strongest() int { return c.pick(wireccp.Strengths) }

// pick returns the longest key of the grant that the bits name, 0 if there is none.
func (c *ccpLayer) pick(bits wireccp.MPPE) int {
	for _, n := range keyLengths {
		if bits&wireccp.Strength(n) != 0 && slices.Contains(c.l.grant.MPPE.KeyBits, n) {
			return n
		}
	}
	return 0
}

// allowed names every key length of the grant.
func (c *ccpLayer) allowed() (bits wireccp.MPPE) {
	for _, n := range keyLengths {
		if slices.Contains(c.l.grant.MPPE.KeyBits, n) {
			bits |= wireccp.Strength(n)
		}
	}
	return bits
}

func supportedBits(p MPPEParams) wireccp.MPPE {
	bits := wireccp.Strength(p.Bits)
	if !p.Stateful {
		bits |= wireccp.Stateless
	}
	return bits
}

// AppendRequest implements automaton.Layer. Where the profile leaves a choice the peer makes it, by a Nak: pppd rejects
// a single strength that it was not told to use, and never asks for another.
func (c *ccpLayer) AppendRequest(b []byte) []byte {
	if c.ask.Bits == 0 {
		return b
	}
	if c.acked { // the peer opens with its Ack of this very request
		c.install()
	}
	if c.wide {
		return wireccp.AppendMPPE(b, c.allowed()|wireccp.Stateless)
	}
	return wireccp.AppendMPPE(b, supportedBits(c.ask))
}

// install tells the Handler what the peer may send once it has our Ack and we have its own. While our request names every
// key length that is the longest: it is the one to choose (RFC 3078 section 2.1), also for a peer that acknowledges them
// all at once instead. A Nak that chooses another one changes it before our next request.
func (c *ccpLayer) install() {
	if c.ask.Bits != 0 && c.installed != c.ask {
		c.installed = c.ask
		c.l.h.MPPEReceive(c.ask)
	}
}

// Judge implements automaton.Layer: exactly MPPE, with exactly one strength, stateless unless the profile allows more.
func (c *ccpLayer) Judge(a *automaton.Answer) {
	c.peer, c.acked = MPPEParams{}, false
	agreed := false
	for o := range a.Options() {
		if o.Type == wireccp.OptionMPPE {
			agreed = c.judgeMPPE(a, o)
		} else {
			a.Reject(o)
		}
	}
	if !a.Has(wireccp.OptionMPPE) && (c.required() || c.ask.Bits != 0) {
		c.prompt(a)
	}
	if !agreed && a.RejectOnly() {
		c.giveUp("the peer insists on other terms")
	}
}

// judgeMPPE keeps what the peer's option names, or what it should have named, and reports whether they are the same.
func (c *ccpLayer) judgeMPPE(a *automaton.Answer, o wire.Option) bool {
	bits, err := wireccp.ParseMPPE(o.Value)
	if err != nil {
		a.Reject(o)
		return false
	}
	c.peer = MPPEParams{
		Bits:     c.pick(bits),
		Stateful: bits&wireccp.Stateless == 0 && c.l.grant.MPPE.AllowStateful,
	}
	if c.peer.Bits == 0 {
		c.peer.Bits = c.strongest()
	}
	want := supportedBits(c.peer)
	if bits == want {
		return true
	}
	a.Nak(o, byte(want>>24), byte(want>>16), byte(want>>8), byte(want))
	return false
}

// prompt asks a peer that named no MPPE for our favourite.
func (c *ccpLayer) prompt(a *automaton.Answer) {
	want := supportedBits(MPPEParams{Bits: c.strongest()})
	a.Prompt(wireccp.OptionMPPE, byte(want>>24), byte(want>>16), byte(want>>8), byte(want))
}

// giveUp handles that there will be no MPPE.
func (c *ccpLayer) giveUp(why string) {
	c.gaveUp = true
	if c.required() {
		c.l.fail(tenant.ReasonMPPERequired, "MPPE is required, but "+why+".", "MPPE required but not agreed on")
	}
}

// BeforeAck implements automaton.Layer.
func (c *ccpLayer) BeforeAck() {
	c.acked = c.peer.Bits != 0
	if c.acked {
		c.install()
	}
}

// Naked implements automaton.Layer.
func (c *ccpLayer) Naked(opts wire.Options) {
	value, ok := opts.Find(wireccp.OptionMPPE)
	if !ok || c.ask.Bits == 0 {
		return
	}
	bits, err := wireccp.ParseMPPE(value)
	if err != nil {
		return
	}
	n := c.pick(bits)
	if c.naks++; n == 0 || c.naks > c.l.cfg.MaxFailure {
		c.ask = MPPEParams{}
		c.void()
		c.giveUp("the peer offers no key length and mode of the profile")
		return
	}
	c.ask = MPPEParams{Bits: n, Stateful: bits&wireccp.Stateless == 0 && c.l.grant.MPPE.AllowStateful}
	c.wide = false
}

// Rejected implements automaton.Layer.
func (c *ccpLayer) Rejected(opts wire.Options) {
	if _, ok := opts.Find(wireccp.OptionMPPE); ok {
		if c.wide { // it may be the choice that it rejects
			c.wide = false
			return
		}
		c.ask = MPPEParams{}
		c.void() // its own request may have been acknowledged already
		c.giveUp("the peer rejects it")
	}
}

// Knows implements automaton.Layer.
func (c *ccpLayer) Knows(code byte) bool {
	return code == wireccp.CodeResetRequest || code == wireccp.CodeResetAck
}

// Extra implements automaton.Layer. MPPE answers a Reset-Request with the flag in the next packet (RFC 3078 section 7.3).
// CCP wants a Reset-Ack besides (RFC 1962 section 3), and Linux insists on it: after a packet that it can not decrypt, a late
// one in stateless mode too, it decrypts nothing until it sees one. It must get there before the flagged packet.
func (c *ccpLayer) Extra(p wire.Packet) {
	if p.Code != wireccp.CodeResetRequest || !c.open {
		return
	}
	c.l.send(wire.ProtocolCCP, wireccp.CodeResetAck, p.ID, nil)
	if c.peer.Stateful {
		c.l.h.MPPEReset()
	}
}

// requestReset sends a Reset-Request if the direction towards us has a state that can be lost.
func (c *ccpLayer) requestReset() {
	if !c.open || !c.ask.Stateful || c.l.now.Sub(c.resetAt) < resetInterval {
		return
	}
	c.resetAt = c.l.now
	c.l.send(wire.ProtocolCCP, wireccp.CodeResetRequest, c.m.NextID(), nil)
}

// Up implements automaton.Layer.
func (c *ccpLayer) Up() {
	if c.peer.Bits == 0 || c.ask.Bits == 0 {
		c.giveUp("CCP opened without it")
		return
	}
	c.open = true
	c.l.h.MPPEOpen(c.peer)
}

// Down implements automaton.Layer. IP stops before the keys go.
func (c *ccpLayer) Down() {
	if c.required() {
		c.l.networkDown()
	}
	c.void()
}

// PeerTerminates implements automaton.Layer.
func (c *ccpLayer) PeerTerminates([]byte) {
	c.giveUp("the peer closed CCP")
}

// Finished implements automaton.Layer.
func (c *ccpLayer) Finished(e automaton.Event) {
	c.void()
	if e == automaton.TOMinus {
		c.giveUp("the peer did not come to terms in CCP in time")
	} else {
		c.giveUp("the peer rejects CCP")
	}
}

// Send implements automaton.Layer.
func (c *ccpLayer) Send(packet []byte) { c.l.h.SendFrame(wire.ProtocolCCP, packet) }
