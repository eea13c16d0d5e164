package ppp

import (
	"io"
	"net/netip"
	"time"

	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/tenant"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// Events is what a Machine tells its owner. All methods are called from within the Machine's own and must not call back
// into it. Slices are borrowed until the method returns.
type Events interface {
	// SendFrame sends one control packet, from its code octet to its end.
	SendFrame(protocol uint16, packet []byte)
	// Refused says that a login was refused. If another password is left and the server allows it, that is tried next; a
	// password that has expired is changed if there is a new one.
	Refused(e *AuthError)
	// Authenticated says that the server let us in; with MS-CHAPv2 and EAP, but for MD5, it has proved itself. message is
	// its text for the user.
	Authenticated(message string)
	// MPPEReceive names what the server may send from now on. It comes before the packet that permits it, and again if
	// that changes.
	MPPEReceive(p mppe.Params)
	// MPPEOpen says that CCP is open: everything is sent encrypted so from now on.
	MPPEOpen(send mppe.Params)
	// MPPEDown makes both void.
	MPPEDown()
	// Opened says that the link carries IP, NetworkDown that it no longer does.
	Opened(n Network)
	NetworkDown()
	// Finished says that the link is dead, once and last. err is nil if it ended by our own wish.
	Finished(err error)
}

// Network is what LCP and IPCP agreed on.
type Network struct {
	Address   netip.Addr   // ours; invalid if none was negotiated
	Server    netip.Addr   // the server's; invalid if it named none
	DNS, WINS []netip.Addr // those we were given, primary first
	MRU       int          // the largest information field that the server takes, in octets
	PFC, ACFC bool         // what we may compress
}

// Machine is the client's half of one PPP link. It belongs to one goroutine.
type Machine struct {
	cfg Config
	ev  Events
	now time.Time // of the method that runs

	lcp, ccp, ipcp *layer

	magic uint32
	// peer is what the server's latest LCP request asked for.
	peer struct {
		method    tenant.AuthMethod // empty: none
		mru       int
		pfc, acfc bool
	}

	auth        auth
	network     bool // CCP was started for this login
	ipcpStarted bool
	mppe        encryption
	server      netip.Addr // the server's inner address
	open        bool       // Opened was called, NetworkDown not yet

	started  bool
	ending   bool   // the link is to end, with
	err      error  // for Finished
	text     string // and for the server
	closing  bool   // LCP is on its way down for good
	finished bool
}

// NewMachine returns a Machine that does nothing before Start.
func NewMachine(cfg Config, ev Events) *Machine {
	c := &Machine{cfg: cfg.withDefaults(), ev: ev}
	c.lcp = newLayer(c, wire.ProtocolLCP, c.cfg.LCP, c.judgeLCP)
	c.ccp = newLayer(c, wire.ProtocolCCP, c.cfg.CCP, c.judgeCCP)
	c.ipcp = newLayer(c, wire.ProtocolIPCP, c.cfg.IPCP, c.judgeIPCP)
	c.peer.mru = wirelcp.DefaultMRU
	return c
}

// Start says that the layer below is up.
func (c *Machine) Start(now time.Time) {
	if c.started {
		return
	}
	c.started, c.now = true, now
	c.newMagic()
	c.lcp.start()
	c.settle()
}

// Renegotiate starts LCP anew, as a client does that lost its state but not its line.
func (c *Machine) Renegotiate(now time.Time) {
	if !c.started || c.finished || c.closing {
		return
	}
	c.now = now
	c.lcp.m.Down(now)
	c.lcp.reset()
	c.newMagic()
	c.lcp.m.Up(now)
	c.settle()
}

// Terminate ends the link by a Terminate-Request with the text. Finished(nil) follows, or what had ended it before.
func (c *Machine) Terminate(now time.Time, text string) {
	if !c.started || c.finished {
		return
	}
	c.now = now
	c.fail(nil, text)
	c.settle()
}

// Receive hands over one control packet of the server: what follows the protocol number. It keeps nothing of it.
func (c *Machine) Receive(now time.Time, protocol uint16, packet []byte) {
	p, err := wire.ParsePacket(packet)
	if !c.started || c.finished || err != nil {
		return
	}
	c.now = now
	if protocol == wire.ProtocolLCP {
		c.lcp.m.Receive(now, p)
		c.settle()
		return
	}
	if c.closing || !c.lcp.m.Opened() {
		return
	}
	switch protocol {
	case wire.ProtocolPAP:
		c.receivePAP(p)
	case wire.ProtocolCHAP:
		c.receiveCHAP(p)
	case wire.ProtocolEAP:
		c.receiveEAP(packet)
	case wire.ProtocolCCP:
		c.receiveCCP(p, packet)
	case wire.ProtocolIPCP:
		if c.auth.passed {
			c.ipcp.m.Receive(now, p)
		}
	default:
		c.rejectProtocol(protocol, packet)
	}
	c.settle()
}

// Tick handles the timeouts that are due.
func (c *Machine) Tick(now time.Time) {
	if !c.started || c.finished {
		return
	}
	c.now = now
	for _, l := range []*layer{c.lcp, c.ccp, c.ipcp} {
		l.m.Tick(now)
	}
	c.tickPAP()
	c.settle()
}

// Deadline returns when Tick is wanted next, and false if it is not.
func (c *Machine) Deadline() (time.Time, bool) {
	if !c.started || c.finished {
		return time.Time{}, false
	}
	first := c.auth.repeatAt
	for _, l := range []*layer{c.lcp, c.ccp, c.ipcp} {
		if t, ok := l.m.Deadline(); ok && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first, !first.IsZero()
}

// Open says whether the link carries IP.
func (c *Machine) Open() bool { return c.open }

// Method is how the server wanted us to log in; empty before LCP is open.
func (c *Machine) Method() tenant.AuthMethod { return c.peer.method }

// fail says that the link must end; settle does it. What was named first stands. err is nil for our own wish, text is for
// the server.
func (c *Machine) fail(err error, text string) {
	if !c.ending {
		c.ending, c.err, c.text = true, err, text
	}
}

// settle does what the layers' callbacks only took note of: a layer must not drive another one from inside its own event.
func (c *Machine) settle() {
	for c.step() {
	}
	if c.lcp.failed && !c.finished {
		switch {
		case c.ending:
		case c.lcp.timedOut:
			c.err = ErrTimeout
		default:
			c.err = ErrProtocol
		}
		c.finished = true
		c.lcpDown()
		c.ev.Finished(c.err)
	}
}

// step does one thing that is due and reports whether there was one. The cases stand in the order of a login, after the
// ways to end it.
func (c *Machine) step() bool {
	switch {
	case c.lcp.failed:
		return false
	case c.ending && !c.closing:
		c.closing = true
		c.lcp.m.Close(c.now, c.text)
	case c.closing:
		return false
	case c.lcp.m.Opened() && !c.auth.started:
		c.sendIdents()
		c.startAuth()
	case c.auth.passed && !c.network:
		c.startNetwork()
	case c.network && !c.ipcp.m.Opened() && c.ipcp.failed:
		c.fail(ErrNoNetwork, "No network protocols running")
	case c.network && c.cfg.CCPMode == CCPRequire && c.ccp.failed:
		c.fail(ErrNoMPPE, "MPPE required but peer negotiation failed")
	case c.network && !c.ipcpStarted && (c.cfg.CCPMode != CCPRequire || c.mppe.open):
		c.ipcpStarted = true
		c.ipcp.start()
	case !c.open && c.network && c.ipcp.m.Opened() && (c.cfg.CCPMode != CCPRequire || c.mppe.open):
		c.open = true
		c.ev.Opened(c.agreed())
	default:
		return false
	}
	return true
}

// startNetwork begins the network phase: IPv6 first, then CCP, then IPCP, as Windows does.
func (c *Machine) startNetwork() {
	c.network = true
	if c.cfg.IPv6CP {
		// One Interface-Identifier, RFC 5072 section 4.1.
		id := wire.AppendOption(nil, 1, 2, 0, 0, 0xff, 0xfe, 0, 0, 1)
		c.send(wire.ProtocolIPv6CP, wire.CodeConfigureRequest, 1, id)
	}
	switch c.cfg.CCPMode {
	case CCPAsk, CCPRequire, CCPReject:
		c.ccp.start()
	case CCPNone, CCPMute:
	}
}

// lcpDown takes down everything above LCP.
func (c *Machine) lcpDown() {
	c.networkDown()
	c.ipcp.m.Down(c.now)
	c.ccp.m.Down(c.now)
	c.ccpDown()
	c.ipcp.reset()
	c.ccp.reset()
	c.network, c.ipcpStarted, c.server, c.mppe = false, false, netip.Addr{}, encryption{}
	c.Close()
	c.auth = auth{attempt: c.auth.attempt, changed: c.auth.changed}
}

func (c *Machine) networkDown() {
	if c.open {
		c.open = false
		c.ev.NetworkDown()
	}
}

// send sends one packet.
func (c *Machine) send(protocol uint16, code, id byte, data []byte) {
	c.ev.SendFrame(protocol, wire.AppendPacket(nil, code, id, data))
}

// random fills b. Without randomness the link can not go on.
func (c *Machine) random(b []byte) {
	if _, err := io.ReadFull(c.cfg.Rand, b); err != nil {
		c.fail(err, "Internal error")
	}
}
