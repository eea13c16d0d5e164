package ppp

import (
	"encoding/binary"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

const (
	// minMRU is the smallest MRU that a peer may ask for, in octets: every IPv4 host takes datagrams of 576 octets
	// (RFC 791 section 3.2), and smaller ones would make us cut each packet into dozens.
	minMRU = 576
	// maxIdents and maxIdentLen bound what Handler.Ident gets to see.
	maxIdents   = 3
	maxIdentLen = 255
	// lcpMagicLen is the length of a magic number, in octets.
	lcpMagicLen = 4
)

// lcpLayer is LCP: what both sides may do on the wire, and how the peer logs in.
type lcpLayer struct {
	l *Link
	m *automaton.Machine

	// What we ask for; the flags go down as the peer refuses.
	magic                     uint32
	mru                       int
	askMRU, askACCM, askMagic bool
	askPFC, askACFC           bool
	methods                   []tenant.AuthMethod // in the order of the profile
	method                    tenant.AuthMethod   // the one in our request
	refused                   map[tenant.AuthMethod]bool
	mruNaks                   int

	peer   lcpPeer
	idents int
}

// lcpPeer is what the peer asked for in its latest request.
type lcpPeer struct {
	mru       int
	pfc, acfc bool
}

func (c *lcpLayer) init(l *Link) {
	cfg := l.cfg.machine()
	cfg.First = min(firstRestart, cfg.Restart)
	*c = lcpLayer{
		l: l, m: automaton.NewMachine(cfg, c),
		mru: min(l.cfg.MRU, wirelcp.MaxMRU), askMRU: true, askACCM: true, askMagic: true, askPFC: true, askACFC: true,
		methods: l.cfg.methods(), refused: map[tenant.AuthMethod]bool{},
		peer: lcpPeer{mru: wirelcp.DefaultMRU},
	}
	if len(c.methods) > 0 {
		c.method = c.methods[0]
	}
}

// wireAuth says how LCP names a method, and false for what is no method.
func wireAuth(m tenant.AuthMethod) (wirelcp.Auth, bool) {
	switch m {
	case tenant.AuthPAP:
		return wirelcp.Auth{Protocol: wire.ProtocolPAP}, true
	case tenant.AuthCHAP:
		return wirelcp.Auth{Protocol: wire.ProtocolCHAP, Algorithm: wirelcp.AlgorithmMD5}, true
	case tenant.AuthMSCHAPv2:
		return wirelcp.Auth{Protocol: wire.ProtocolCHAP, Algorithm: wirelcp.AlgorithmMSCHAPv2}, true
	case tenant.AuthEAP:
		return wirelcp.Auth{Protocol: wire.ProtocolEAP}, true
	}
	return wirelcp.Auth{}, false
}

// newMagic picks a magic number; zero is not one (RFC 1661 section 6.4).
func (c *lcpLayer) newMagic() {
	var b [lcpMagicLen]byte
	if c.l.random(b[:]) {
		c.magic = max(binary.BigEndian.Uint32(b[:]), 1)
	}
}

// AppendRequest implements automaton.Layer. The character map is for peers that run async HDLC between their own
// programs, as pppd with pptp-linux does: with a map of zero they escape next to nothing.
func (c *lcpLayer) AppendRequest(b []byte) []byte {
	if c.askMRU {
		b = wirelcp.AppendMRU(b, uint16(c.mru))
	}
	if c.askACCM {
		b = wirelcp.AppendACCM(b, 0)
	}
	if a, ok := wireAuth(c.method); ok {
		b = wirelcp.AppendAuth(b, a)
	}
	if c.askMagic {
		b = wirelcp.AppendMagic(b, c.magic)
	}
	if c.askPFC {
		b = wirelcp.AppendFlag(b, wirelcp.OptionPFC)
	}
	if c.askACFC {
		b = wirelcp.AppendFlag(b, wirelcp.OptionACFC)
	}
	return b
}

// Judge implements automaton.Layer. Everything that is not listed is rejected: authentication of us, quality reports,
// callback, multilink.
func (c *lcpLayer) Judge(a *automaton.Answer) {
	c.peer = lcpPeer{mru: wirelcp.DefaultMRU}
	for o := range a.Options() {
		switch o.Type {
		case wirelcp.OptionMRU:
			mru, err := wirelcp.ParseMRU(o.Value)
			switch {
			case err != nil:
				a.Reject(o)
			case mru < minMRU:
				a.Nak(o, minMRU>>8, minMRU&0xff)
			default:
				c.peer.mru = int(mru)
			}
		case wirelcp.OptionACCM:
			if _, err := wirelcp.ParseACCM(o.Value); err != nil {
				a.Reject(o)
			}
		case wirelcp.OptionMagic:
			c.judgeMagic(a, o)
		case wirelcp.OptionPFC:
			c.peer.pfc = true
			if wirelcp.ParseFlag(o.Value) != nil {
				a.Reject(o)
			}
		case wirelcp.OptionACFC:
			c.peer.acfc = true
			if wirelcp.ParseFlag(o.Value) != nil {
				a.Reject(o)
			}
		case wirelcp.OptionEndpoint: // of no use without multilink, but harmless and sent by several clients
			if _, _, err := wirelcp.ParseEndpoint(o.Value); err != nil {
				a.Reject(o)
			}
		default:
			a.Reject(o)
		}
	}
}

// judgeMagic finds a looped-back line: only our own packets carry our magic number (RFC 1661 section 6.4).
func (c *lcpLayer) judgeMagic(a *automaton.Answer, o wire.Option) {
	magic, err := wirelcp.ParseMagic(o.Value)
	switch {
	case err != nil:
		a.Reject(o)
	case magic == 0, magic == c.magic && c.askMagic:
		var b [lcpMagicLen]byte
		if c.l.random(b[:]) {
			a.Nak(o, b[:]...)
		}
	}
}

// BeforeAck implements automaton.Layer.
func (c *lcpLayer) BeforeAck() {}

// Naked implements automaton.Layer.
func (c *lcpLayer) Naked(opts wire.Options) {
	for o := range opts.All() {
		switch o.Type {
		case wirelcp.OptionMRU:
			// A smaller MRU is the peer's loss alone. A larger one would not fit our links: then the option is left out,
			// which means 1500, and the peer is held to it by its own MTU.
			mru, err := wirelcp.ParseMRU(o.Value)
			if err == nil && mru >= minMRU && int(mru) < c.mru {
				c.mru = int(mru)
			} else if c.mruNaks++; c.mruNaks >= c.l.cfg.MaxFailure {
				c.askMRU = false
			}
		case wirelcp.OptionACCM:
			c.askACCM = false
		case wirelcp.OptionAuth:
			c.refused[c.method] = true
			a, err := wirelcp.ParseAuth(o.Value)
			c.chooseMethod(a, err == nil)
		case wirelcp.OptionMagic:
			c.newMagic()
		case wirelcp.OptionPFC:
			c.askPFC = false
		case wirelcp.OptionACFC:
			c.askACFC = false
		}
	}
}

// chooseMethod takes the method that the peer proposed if the profile has it, else the next of the profile that the peer
// has not refused yet.
func (c *lcpLayer) chooseMethod(proposed wirelcp.Auth, ok bool) {
	next := tenant.AuthMethod("")
	for _, m := range c.methods {
		if c.refused[m] {
			continue
		}
		if a, _ := wireAuth(m); ok && a == proposed {
			c.method = m
			return
		}
		if next == "" {
			next = m
		}
	}
	if next == "" {
		c.l.fail(tenant.ReasonNoCommonAuthMethod, "The peer refuses every authentication method of the profile.", "No common authentication method")
		return
	}
	c.method = next
}

// Rejected implements automaton.Layer.
func (c *lcpLayer) Rejected(opts wire.Options) {
	for o := range opts.All() {
		switch o.Type {
		case wirelcp.OptionMRU:
			c.askMRU = false
		case wirelcp.OptionACCM:
			c.askACCM = false
		case wirelcp.OptionAuth:
			c.l.fail(tenant.ReasonNoCommonAuthMethod, "The peer refuses to authenticate itself.", "Authentication required")
		case wirelcp.OptionMagic:
			c.askMagic = false
		case wirelcp.OptionPFC:
			c.askPFC = false
		case wirelcp.OptionACFC:
			c.askACFC = false
		}
	}
}

// Knows implements automaton.Layer.
func (c *lcpLayer) Knows(code byte) bool {
	return code >= wirelcp.CodeProtocolReject && code <= wirelcp.CodeTimeRemaining
}

// Extra implements automaton.Layer. An Echo-Reply has done its work by arriving.
func (c *lcpLayer) Extra(p wire.Packet) {
	switch p.Code {
	case wirelcp.CodeProtocolReject:
		if protocol, _, err := wirelcp.ParseProtocolReject(p.Data); err == nil {
			c.l.protocolRejected(protocol)
		}
	case wirelcp.CodeEchoRequest:
		c.answerEcho(p)
	case wirelcp.CodeIdentification:
		n, err := wirelcp.ParseNumbered(p.Data)
		if err != nil || c.idents >= maxIdents {
			return
		}
		c.idents++
		c.l.h.Ident(string(n.Rest[:min(len(n.Rest), maxIdentLen)]))
	}
}

// answerEcho sends the data back behind our own magic number (RFC 1661 section 5.8). A request with our magic number is
// our own, looped back.
func (c *lcpLayer) answerEcho(p wire.Packet) {
	n, err := wirelcp.ParseNumbered(p.Data)
	if err != nil || n.Magic == c.magic && c.askMagic {
		return
	}
	n.Magic = c.magicNumber()
	n.Rest = n.Rest[:min(len(n.Rest), c.peer.mru-wire.PacketHeaderLen-lcpMagicLen)]
	data, _ := n.AppendBinary(make([]byte, 0, lcpMagicLen+len(n.Rest))) // never fails
	c.l.send(wire.ProtocolLCP, wirelcp.CodeEchoReply, p.ID, data)
}

// requestEcho sends an Echo-Request.
func (c *lcpLayer) requestEcho() {
	data := binary.BigEndian.AppendUint32(nil, c.magicNumber())
	c.l.send(wire.ProtocolLCP, wirelcp.CodeEchoRequest, c.m.NextID(), data)
}

// magicNumber is what our packets carry: zero if the peer did not agree to one (RFC 1661 section 6.4).
func (c *lcpLayer) magicNumber() uint32 {
	if c.askMagic {
		return c.magic
	}
	return 0
}

// Up implements automaton.Layer; Link.step goes on.
func (c *lcpLayer) Up() {}

// Down implements automaton.Layer.
func (c *lcpLayer) Down() { c.l.lcpDown() }

// PeerTerminates implements automaton.Layer. While LCP is not open, RFC 1661 goes on negotiating.
func (c *lcpLayer) PeerTerminates(text []byte) {
	if c.m.Opened() {
		c.l.peerTerminates(text)
	}
}

// Finished implements automaton.Layer.
func (c *lcpLayer) Finished(e automaton.Event) {
	if e == automaton.TOMinus {
		c.l.fail(tenant.ReasonPeerTimeout, "The peer does not come to terms in LCP in time.", "")
	} else {
		c.l.fail(tenant.ReasonProtocolError, "LCP ended on "+e.String()+".", "")
	}
	c.l.dead = true
}

// Send implements automaton.Layer.
func (c *lcpLayer) Send(packet []byte) { c.l.h.SendFrame(wire.ProtocolLCP, packet) }
