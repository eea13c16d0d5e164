package ppp

import (
	"net/netip"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wireipcp "concentrator/internal/wire/ipcp"
	wire "concentrator/internal/wire/ppp"
)

// maxPrompts is how often a peer that names no address is asked to take ours. Then it is taken at its word that it knows
// its address; what it sends is checked against the grant in any case.
const maxPrompts = 2

// ipcpLayer is IPCP (RFC 1332, RFC 1877).
type ipcpLayer struct {
	l *Link
	m *automaton.Machine

	started bool
	askAddr bool // our request names our address
	naks    int  // of our request, since the start
	prompts int

	net   Network // what was agreed on
	ready bool    // Handler.NetworkReady was told net
	ended bool    // the peer sent a Terminate-Request
}

func (c *ipcpLayer) init(l *Link) {
	*c = ipcpLayer{l: l, m: automaton.NewMachine(l.cfg.machine(), c)}
}

func (c *ipcpLayer) start() {
	c.started, c.askAddr = true, true
	c.naks, c.prompts = 0, 0
	c.ready, c.ended = false, false
	c.m.Open(c.l.now)
	c.m.Up(c.l.now)
}

func (c *ipcpLayer) stop() {
	if !c.started {
		return
	}
	c.m.Down(c.l.now)
	c.started = false
}

// AppendRequest implements automaton.Layer.
func (c *ipcpLayer) AppendRequest(b []byte) []byte {
	if c.askAddr {
		b = wireipcp.AppendAddr(b, wireipcp.OptionAddress, c.l.grant.Local)
	}
	return b
}

// Judge implements automaton.Layer. Header compression and all other options are rejected.
func (c *ipcpLayer) Judge(a *automaton.Answer) {
	g := &c.l.grant
	for o := range a.Options() {
		switch o.Type {
		case wireipcp.OptionAddress:
			if !c.offer(a, o, g.Address) && a.RejectOnly() { // with another address it is of no use to anyone
				c.l.fail(tenant.ReasonProtocolError, "The peer insists on an address of its own.", "Address not accepted")
			}
		case wireipcp.OptionPrimaryDNS:
			c.offer(a, o, nth(g.DNS, 0))
		case wireipcp.OptionSecondaryDNS:
			c.offer(a, o, nth(g.DNS, 1))
		case wireipcp.OptionPrimaryNBNS:
			c.offer(a, o, nth(g.WINS, 0))
		case wireipcp.OptionSecondaryNBNS:
			c.offer(a, o, nth(g.WINS, 1))
		default:
			a.Reject(o)
		}
	}
	// RFC 1332 section 3.3: an address that must be negotiated and was left out is appended to a Configure-Nak.
	if !a.Has(wireipcp.OptionAddress) && c.prompts < maxPrompts {
		c.prompts++
		v := g.Address.As4()
		a.Prompt(wireipcp.OptionAddress, v[:]...)
	}
}

// nth returns the address at i that IPCP can carry; the zero Addr if there is none.
func nth(addrs []netip.Addr, i int) netip.Addr {
	if i < len(addrs) && addrs[i].Unmap().Is4() {
		return addrs[i].Unmap()
	}
	return netip.Addr{}
}

// offer accepts the address if it is the one we give, and says which it is if not. It reports whether it accepted.
func (c *ipcpLayer) offer(a *automaton.Answer, o wire.Option, give netip.Addr) bool {
	addr, err := wireipcp.ParseAddr(o.Value)
	switch {
	case err != nil || !give.IsValid():
		a.Reject(o)
		return false
	case addr != give:
		v := give.As4()
		a.Nak(o, v[:]...)
		return false
	}
	return true
}

// BeforeAck implements automaton.Layer. What it tells the Handler can not change before LCP starts anew.
func (c *ipcpLayer) BeforeAck() {
	if c.ready {
		return
	}
	c.ready = true
	c.net = Network{
		Local:   c.l.grant.Local,
		Address: c.l.grant.Address,
		PeerMRU: c.l.lcp.peer.mru,
		PFC:     c.l.lcp.peer.pfc,
		ACFC:    c.l.lcp.peer.acfc,
	}
	c.l.h.NetworkReady(c.net)
}

// Naked implements automaton.Layer. Our address is not for the peer to choose; one that can not live with it is left
// without.
func (c *ipcpLayer) Naked(opts wire.Options) {
	if _, ok := opts.Find(wireipcp.OptionAddress); ok {
		if c.naks++; c.naks >= c.l.cfg.MaxFailure {
			c.askAddr = false
		}
	}
}

// Rejected implements automaton.Layer.
func (c *ipcpLayer) Rejected(opts wire.Options) {
	if _, ok := opts.Find(wireipcp.OptionAddress); ok {
		c.askAddr = false
	}
}

// Knows implements automaton.Layer.
func (c *ipcpLayer) Knows(byte) bool { return false }

// Extra implements automaton.Layer.
func (c *ipcpLayer) Extra(wire.Packet) {}

// Up implements automaton.Layer; Link.step goes on.
func (c *ipcpLayer) Up() {}

// Down implements automaton.Layer.
func (c *ipcpLayer) Down() { c.l.networkDown() }

// PeerTerminates implements automaton.Layer.
func (c *ipcpLayer) PeerTerminates([]byte) { c.ended = true }

// Finished implements automaton.Layer: there is no other network protocol to go on with.
func (c *ipcpLayer) Finished(e automaton.Event) {
	switch {
	case c.ended:
		c.l.fail(tenant.ReasonUserRequest, "The peer closed IPCP.", "No network protocol")
	case e == automaton.TOMinus:
		c.l.fail(tenant.ReasonPeerTimeout, "The peer does not come to terms in IPCP in time.", "IPCP timeout")
	default:
		c.l.fail(tenant.ReasonProtocolError, "The peer rejects IPCP.", "No network protocol")
	}
}

// Send implements automaton.Layer.
func (c *ipcpLayer) Send(packet []byte) { c.l.h.SendFrame(wire.ProtocolIPCP, packet) }
