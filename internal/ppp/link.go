package ppp

import (
	"fmt"
	"io"
	"slices"
	"time"

	"concentrator/internal/tenant"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// Limits that no peer can move.
const (
	// maxRenegotiations is how often the peer may start LCP anew on a link that never carried IP. Each round costs a
	// login and holds a slot.
	maxRenegotiations = 10
	// maxRejected is how much of a packet is sent back in a Protocol-Reject, in octets. It keeps within every MRU.
	maxRejected = 512
	// maxRejects is how many Protocol-Rejects go out in one second.
	maxRejects = 20
	// maxPeerText is how much of a peer's text is quoted to an operator, in octets.
	maxPeerText = 100
	// maxHeld is the longest IPCP request that is kept until IPCP starts, in octets.
	maxHeld = 256
)

// maxWait is how long IPCP waits for CCP where MPPE is optional. It is less than a restart timer, which is what a request
// that comes too early for the peer costs, and enough for several round trips.
const maxWait = 2 * time.Second

// Link is one PPP link, our side the authenticator and network server. It belongs to one goroutine.
type Link struct {
	cfg Config
	h   Handler
	now time.Time // of the method that runs

	lcp  lcpLayer
	auth auth
	ccp  ccpLayer
	ipcp ipcpLayer
	echo echo

	authenticated bool      // the login is allowed and the peer was told so
	grant         Grant     // while authenticated
	network       bool      // CCP and IPCP have been prepared for the grant
	open          bool      // Handler.Opened was called, NetworkDown not yet
	held          []byte    // the peer's latest IPCP request while IPCP waits for CCP
	waitUntil     time.Time // end of that wait where MPPE is optional; zero: IPCP does not wait, or without end

	anew           bool // LCP must start again, so that the login can
	started        bool
	reached        int  // index in tenant.Stages of how far the link ever came
	everOpen       bool // the link carried IP at some time
	renegotiations int
	rejects        int       // Protocol-Rejects sent since rejectsSince
	rejectsSince   time.Time // start of the second that is counted

	reason   tenant.Reason // why the link ends; empty: it does not
	detail   string        // the same for an operator
	text     string        // the same for the peer
	closing  bool          // LCP is on its way down for good
	dead     bool          // LCP has finished
	finished bool          // and Handler.Finished was called
}

// NewLink makes a link that does nothing before Start.
func NewLink(cfg Config, h Handler) *Link {
	l := &Link{cfg: cfg.withDefaults(), h: h}
	l.lcp.init(l)
	l.auth.init(l)
	l.ccp.init(l)
	l.ipcp.init(l)
	l.echo.init(l)
	return l
}

// Start says that the layer below is up. The link sends its first Configure-Request.
func (l *Link) Start(now time.Time) {
	if l.started || l.finished {
		return
	}
	l.now, l.started = now, true
	if len(l.lcp.methods) == 0 {
		l.fail(tenant.ReasonNoCommonAuthMethod, "The profile lists no authentication method that PPP can offer.", "No authentication method")
		l.settle()
		return
	}
	l.lcp.newMagic()
	l.lcp.m.Open(now)
	l.lcp.m.Up(now)
	l.settle()
}

// Wipe clears what the link remembers of a login that was not decided. It is for who gives the link up.
func (l *Link) Wipe() { l.auth.forgetAsked() }

// Receive hands over one control packet of the peer: what follows the protocol number. The packet is borrowed.
func (l *Link) Receive(now time.Time, protocol uint16, packet []byte) {
	if !l.started || l.finished {
		return
	}
	l.now = now
	l.echo.life()
	l.dispatch(protocol, packet)
	l.settle()
}

func (l *Link) dispatch(protocol uint16, packet []byte) {
	if protocol == wire.ProtocolLCP {
		l.receiveLCP(packet)
		return
	}
	// Before LCP is open nothing else counts, and before the login only the login does (RFC 1661 sections 3.4 and 3.5).
	if !l.lcp.m.Opened() {
		return
	}
	switch protocol {
	case wire.ProtocolPAP, wire.ProtocolCHAP, wire.ProtocolEAP:
		l.auth.receive(protocol, packet)
		return
	case wire.ProtocolIPv4, wire.ProtocolCompressed:
		return // data; the shard lets them pass when their time has come
	}
	if !l.authenticated {
		return
	}
	if protocol >= 0x8000 && protocol < 0xc000 {
		l.auth.confirmed() // only a peer that has seen the Success goes on to the network
	}
	switch {
	case protocol == wire.ProtocolIPCP && l.ipcp.started:
		if p, err := wire.ParsePacket(packet); err == nil {
			l.ipcp.m.Receive(l.now, p)
		}
	case protocol == wire.ProtocolIPCP:
		l.hold(packet)
	case protocol == wire.ProtocolCCP && l.ccp.started:
		if p, err := wire.ParsePacket(packet); err == nil {
			l.ccp.m.Receive(l.now, p)
		}
	default:
		l.rejectProtocol(protocol, packet)
	}
}

func (l *Link) receiveLCP(packet []byte) {
	p, err := wire.ParsePacket(packet)
	if err != nil {
		return
	}
	open := l.lcp.m.Opened()
	l.lcp.m.Receive(l.now, p)
	if open && l.lcp.m.Opened() && p.Code == wire.CodeConfigureRequest {
		l.auth.peerWasNotOpen()
	}
}

// hold keeps the peer's IPCP request for the moment when IPCP starts: when CCP opens or, where MPPE is optional, right
// away (ipcpDue). Windows sends its IPCP request right behind that of CCP and would repeat it only seconds later.
func (l *Link) hold(packet []byte) {
	if p, err := wire.ParsePacket(packet); err == nil && p.Code == wire.CodeConfigureRequest && len(packet) <= maxHeld {
		l.held = append(l.held[:0], packet...)
	}
}

// rejectProtocol sends a Protocol-Reject (RFC 1661 section 5.7). Silence would cost the peer its retries: Windows waits
// for an answer to IPv6CP.
func (l *Link) rejectProtocol(protocol uint16, packet []byte) {
	if l.now.Sub(l.rejectsSince) >= time.Second {
		l.rejects, l.rejectsSince = 0, l.now
	}
	if l.rejects++; l.rejects > maxRejects {
		return
	}
	packet = packet[:min(len(packet), maxRejected)]
	data := wirelcp.AppendProtocolReject(make([]byte, 0, len(packet)+2), protocol, packet)
	l.send(wire.ProtocolLCP, wirelcp.CodeProtocolReject, l.lcp.m.NextID(), data)
}

// protocolRejected handles the peer's Protocol-Reject.
func (l *Link) protocolRejected(protocol uint16) {
	switch protocol {
	case wire.ProtocolCCP:
		if l.ccp.started {
			l.ccp.m.Fail(l.now)
		}
	case wire.ProtocolIPCP:
		if l.ipcp.started {
			l.ipcp.m.Fail(l.now)
		}
	case wire.ProtocolPAP, wire.ProtocolCHAP, wire.ProtocolEAP:
		if !l.authenticated {
			l.fail(tenant.ReasonNoCommonAuthMethod, "The peer agreed to an authentication protocol and then rejected it.", "No authentication")
		}
	case wire.ProtocolLCP:
		l.fail(tenant.ReasonProtocolError, "The peer rejects LCP.", "LCP rejected")
	}
}

// Tick handles the timeouts that are due. It is called at or after Deadline; an early call does no harm.
func (l *Link) Tick(now time.Time) {
	if !l.started || l.finished {
		return
	}
	l.now = now
	l.lcp.m.Tick(now)
	l.ccp.m.Tick(now)
	l.ipcp.m.Tick(now)
	l.auth.tick()
	l.echo.tick()
	l.settle()
}

// Deadline returns when Tick is wanted next, and false if it is not.
func (l *Link) Deadline() (time.Time, bool) {
	if !l.started || l.finished {
		return time.Time{}, false
	}
	var first time.Time
	earliest := func(t time.Time, ok bool) {
		if ok && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	earliest(l.lcp.m.Deadline())
	earliest(l.ccp.m.Deadline())
	earliest(l.ipcp.m.Deadline())
	earliest(l.auth.deadline, !l.auth.deadline.IsZero())
	earliest(l.echo.deadline, !l.echo.deadline.IsZero())
	earliest(l.waitUntil, !l.waitUntil.IsZero())
	return first, !first.IsZero()
}

// NoteActivity says that data packets came in: the peer lives.
func (l *Link) NoteActivity(now time.Time) {
	if !l.started || l.finished {
		return
	}
	l.now = now
	l.echo.life()
}

// Decide answers Handler.Authenticate. A Decision that comes too late, for a login that the link no longer waits for, is
// ignored.
func (l *Link) Decide(now time.Time, d Decision) {
	if !l.started || l.finished {
		return
	}
	l.now = now
	l.auth.decide(d)
	l.settle()
}

// Terminate ends the link: the peer gets a Terminate-Request with the message, and Handler.Finished follows with the
// reason, after MaxTerminate × RestartTimer at the latest. If the link ends already, the first reason stands.
func (l *Link) Terminate(now time.Time, reason tenant.Reason, message string) {
	if l.finished {
		return
	}
	l.now = now
	if reason == "" {
		reason = tenant.ReasonAdminDisconnect // an end without a reason must still be one
	}
	l.fail(reason, message, message)
	l.settle()
}

// ResetRequest asks the peer to start its key stream anew, because our receiver of stateful MPPE lost it (RFC 3078
// section 7.3).
func (l *Link) ResetRequest(now time.Time) {
	if !l.started || l.finished {
		return
	}
	l.now = now
	l.ccp.requestReset()
}

// Phase returns where the link stands now: LCP, AUTHENTICATION, CCP (only where MPPE is required), ADDRESS or OPEN.
func (l *Link) Phase() tenant.Stage {
	switch {
	case !l.lcp.m.Opened():
		return tenant.StageLCP
	case !l.authenticated:
		return tenant.StageAuthentication
	case l.ccp.required() && !l.ccp.open:
		return tenant.StageCCP
	case !l.ipcp.m.Opened():
		return tenant.StageAddress
	}
	return tenant.StageOpen
}

// fail says that the link must end. It only takes note, because it is called from inside the layers; settle does it.
func (l *Link) fail(reason tenant.Reason, detail, text string) {
	if l.reason != "" {
		return
	}
	l.reason, l.detail, l.text = reason, detail, text
}

// settle does what the layers' callbacks only took note of: a layer must not drive another one from inside its own
// event. Every exported method that can change something ends with it.
func (l *Link) settle() {
	for l.step() {
		l.noteStage()
	}
	l.noteStage()
	if l.dead && !l.finished {
		l.finish()
	}
}

func (l *Link) noteStage() {
	l.reached = max(l.reached, slices.Index(tenant.Stages, l.Phase()))
}

// step does one thing that is due and reports whether there was one. The cases stand in the order of a login, after the
// ways to end it.
func (l *Link) step() bool {
	switch {
	case l.dead:
		return false
	case l.reason != "" && !l.closing:
		l.terminate()
	case l.closing:
		return false
	case l.anew:
		l.anew = false
		l.lcp.m.Down(l.now)
		l.lcp.m.Up(l.now)
	case l.lcp.m.Opened() && !l.auth.started:
		l.echo.start()
		l.auth.start()
	case l.authenticated && !l.network:
		l.startNetwork()
	case l.network && !l.ipcp.started && l.ipcpDue():
		l.startIPCP()
	case !l.open && l.ipcp.started && l.Phase() == tenant.StageOpen:
		l.open, l.everOpen = true, true
		l.h.Opened(l.ipcp.net)
	default:
		return false
	}
	return true
}

// terminate sends LCP down for good. Without an answer LCP gives up by itself.
func (l *Link) terminate() {
	l.closing = true
	l.lcp.m.Close(l.now, l.text)
	if _, waiting := l.lcp.m.Deadline(); !waiting {
		l.dead = true // LCP never came to the point of sending anything
	}
}

func (l *Link) startNetwork() {
	l.network = true
	l.grant.Local, l.grant.Address = l.grant.Local.Unmap(), l.grant.Address.Unmap()
	if !l.grant.Local.Is4() || !l.grant.Address.Is4() {
		l.fail(tenant.ReasonProtocolError, "The login was granted without an IPv4 address.", "No address")
		return
	}
	if l.ccp.required() && l.ccp.strongest() == 0 {
		l.fail(tenant.ReasonMPPERequired, "The profile requires MPPE, but no key length is left that the login gave keys for.", "Encryption required")
		return
	}
	if !l.ccp.wanted() {
		return
	}
	l.ccp.start()
	if !l.ccp.required() {
		l.waitUntil = l.now.Add(maxWait)
	}
}

// ipcpDue says whether it is time for IPCP. A peer that wants MPPE may start IPCP only when CCP is open: pppd drops what
// comes before or answers with a Terminate-Ack, and our request would be repeated a whole restart timer later. So even
// where MPPE is optional CCP goes first, unless the peer itself is in IPCP already or CCP takes too long.
func (l *Link) ipcpDue() bool {
	if l.ccp.required() {
		return l.ccp.open
	}
	return l.ccp.settled() || len(l.held) > 0 || !l.now.Before(l.waitUntil)
}

func (l *Link) startIPCP() {
	l.waitUntil = time.Time{}
	l.ipcp.start()
	if p, err := wire.ParsePacket(l.held); err == nil {
		l.ipcp.m.Receive(l.now, p)
	}
	l.held = l.held[:0]
}

// lcpDown takes down everything above LCP: for a renegotiation, which starts with a new login, or for good.
func (l *Link) lcpDown() {
	l.networkDown()
	l.ipcp.stop()
	l.ccp.stop()
	l.auth.reset()
	l.echo.stop()
	l.authenticated, l.network = false, false
	l.grant = Grant{}
	l.held, l.waitUntil = l.held[:0], time.Time{}
	if l.renegotiations++; l.renegotiations > maxRenegotiations && !l.everOpen {
		l.fail(tenant.ReasonProtocolError, "The peer starts LCP over and over.", "Too many renegotiations")
	}
}

func (l *Link) networkDown() {
	if l.open {
		l.open = false
		l.h.NetworkDown()
	}
}

// peerTerminates notes that the peer ends the open link; LCP answers and finishes by itself.
func (l *Link) peerTerminates(text []byte) {
	l.closing = true
	reason, what := tenant.ReasonUserRequest, "The peer ended the link"
	if l.Phase() == tenant.StageAuthentication && l.auth.refused != "" {
		reason, what = l.auth.refused, "The login was refused and the peer gave up"
	}
	l.fail(reason, what+quote(text)+".", "")
}

// lostCarrier ends the link at once: nobody is there to wait for.
func (l *Link) lostCarrier() {
	reason := tenant.ReasonPeerTimeout
	if l.everOpen {
		reason = tenant.ReasonLostCarrier
	}
	l.fail(reason, fmt.Sprintf("No answer to %d LCP Echo-Requests.", l.echo.unanswered), "Peer not responding")
	if !l.closing {
		l.terminate()
	}
	l.dead = true
}

func (l *Link) finish() {
	l.finished = true
	l.lcpDown()
	l.h.Finished(tenant.Stages[l.reached], l.reason, l.detail)
}

// random fills b; without randomness the link can not go on.
func (l *Link) random(b []byte) bool {
	if _, err := io.ReadFull(l.cfg.Rand, b); err != nil {
		l.fail(tenant.ReasonProtocolError, "No random numbers: "+err.Error()+".", "Internal error")
		return false
	}
	return true
}

// send sends one control packet.
func (l *Link) send(protocol uint16, code, id byte, data []byte) {
	l.h.SendFrame(protocol, wire.AppendPacket(make([]byte, 0, wire.PacketHeaderLen+len(data)), code, id, data))
}

// quote makes a peer's text fit for an operator's eyes: bounded and printable.
func quote(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	out := slices.Clone(text[:min(len(text), maxPeerText)])
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return fmt.Sprintf(" (%q)", out)
}
