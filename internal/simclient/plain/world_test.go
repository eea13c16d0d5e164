package plain

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	server "concentrator/internal/ppp"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	wiregre "concentrator/internal/wire/gre"
	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/mschap"
	wireppp "concentrator/internal/wire/ppp"
	wirepptp "concentrator/internal/wire/pptp"
)

const password = "clientPass"

var (
	serverAddr = netip.MustParseAddr("10.1.0.1")
	clientAddr = netip.MustParseAddr("10.1.0.7")
)

// world is one client and a server that the test plays, message by message, behind a wire with a delay. It runs in a bubble
// of synctest, on goroutines of its own.
type world struct {
	t      *testing.T
	c      *Client
	wire   chan func() // what is on its way
	ctx    context.Context
	got    chan []byte // inner packets that the client has got
	change change

	mu      sync.Mutex // guards what follows
	link    *server.Link
	timer   *time.Timer
	keys    tenant.KeyPair
	sender  *mppe.Sender
	recv    *mppe.Receiver
	scratch *mppe.Scratch
	gre     *gre.Session
	inner   [][]byte // inner packets that the server has got
	clear   int      // of them in the clear
	log     []string // control messages that the server has got
	ns      uint16   // of L2TP's data messages
	sent    uint16   // L2TP control messages that the server has sent
	nr      uint16   // that it has got
	drops   int      // data packets towards the client that are still to be lost
	open    bool
	sealed  pktbuf.Buf
	opened  pktbuf.Buf
}

// change is what differs in a test.
type change struct {
	cfg      func(c *simppp.Config)
	server   func(c *server.Config, g *server.Grant)
	early    bool  // the server's first frame overtakes what tells that the call stands
	drops    int   // so many data packets towards the client are lost
	start    uint8 // result of the PPTP connection; 0: well
	call     uint8 // result of the PPTP call; 0: well
	sequence bool  // the server numbers L2TP's data messages
	silent   bool  // the server answers nothing at all
}

const (
	delay      = 5 * time.Millisecond
	callID     = 7
	serverCall = 99
	tunnelID   = 3
)

func newWorld(t *testing.T, ch change) *world {
	w := &world{
		t: t, wire: make(chan func(), 1000), got: make(chan []byte, 100), change: ch, drops: ch.drops, scratch: mppe.NewScratch(),
	}
	var stop context.CancelFunc
	w.ctx, stop = context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case f := <-w.wire:
				time.Sleep(delay)
				f()
			case <-w.ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		w.c.Die()
		stop()
		<-done
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.timer != nil {
			w.timer.Stop()
		}
	})
	return w
}

func (w *world) config(ppp simppp.Config, send, octets func(b []byte)) Config {
	if w.change.cfg != nil {
		w.change.cfg(&ppp)
	}
	fly := func(f func(b []byte)) func([]byte) {
		return func(b []byte) {
			b = slices.Clone(b)
			if !w.change.silent {
				w.wire <- func() { f(b) }
			}
		}
	}
	return Config{
		PPP: ppp, Send: fly(send), SendOctets: fly(octets),
		Received: func(p []byte) { w.got <- slices.Clone(p) },
	}
}

func pptpWorld(t *testing.T, ch change) *world {
	w := newWorld(t, ch)
	w.c = NewPPTP(w.config(simppp.Pppd("alice", password), w.greIn, w.octetsIn),
		simpptp.Config{Start: simpptp.WindowsStart()}, simpptp.WindowsCall(callID, 1, [16]byte{}))
	return w
}

func l2tpWorld(t *testing.T, ch change) *world {
	w := newWorld(t, ch)
	ppp := simppp.Pppd("alice", password)
	ppp.CCPMode, ppp.CCP = simppp.CCPNone, nil
	w.c = NewL2TP(w.config(ppp, w.l2tpIn, nil), siml2tp.Xl2tpd("test", tunnelID))
	return w
}

// say sends octets of PPTP's TCP connection to the client.
func (w *world) say(m wirepptp.Message) {
	b, _ := m.AppendBinary(nil) // never fails
	w.wire <- func() { w.c.Octets(b) }
}

// octetsIn plays PPTP's server.
func (w *world) octetsIn(b []byte) {
	for len(b) > 0 {
		n, err := wirepptp.Split(b)
		if err != nil || n == 0 {
			w.t.Errorf("the client sent %x", b)
			return
		}
		m, err := wirepptp.Parse(b[:n])
		if err != nil {
			w.t.Error(err)
		}
		b = b[n:]
		w.mu.Lock()
		w.log = append(w.log, m.Type().String())
		w.mu.Unlock()
		switch m := m.(type) {
		case wirepptp.StartControlConnectionRequest:
			result := max(w.change.start, wirepptp.ResultOK)
			w.say(wirepptp.StartControlConnectionReply{Version: wirepptp.Version, Result: result})
		case wirepptp.OutgoingCallRequest:
			result := max(w.change.call, wirepptp.ResultConnected)
			reply := func() {
				w.say(wirepptp.OutgoingCallReply{CallID: serverCall, PeerCallID: m.CallID, Result: result})
			}
			if !w.change.early {
				reply()
			}
			if result == wirepptp.ResultConnected {
				w.mu.Lock()
				w.gre = gre.NewSession(m.CallID, pktbuf.NewPool(gre.Window))
				w.mu.Unlock()
				w.begin(true)
			}
			if w.change.early {
				reply()
			}
		case wirepptp.CallClearRequest:
			w.say(wirepptp.CallDisconnectNotify{CallID: serverCall, Result: 4})
		case wirepptp.StopControlConnectionRequest:
			w.say(wirepptp.StopControlConnectionReply{Result: wirepptp.ResultOK})
			w.wire <- func() { w.c.Broken(context.Canceled) } // and closes
		}
	}
}

// begin starts the server's PPP.
func (w *world) begin(ccp bool) {
	cfg := server.Config{Name: "vpn", AuthMethods: []tenant.AuthMethod{tenant.AuthMSCHAPv2}, CCP: ccp}
	grant := server.Grant{
		Local: serverAddr, Address: clientAddr, MPPE: tenant.MPPE{Policy: tenant.MPPERequired, KeyBits: []int{128}},
	}
	if !ccp {
		grant.MPPE.Policy = tenant.MPPEDisabled
	}
	if w.change.server != nil {
		w.change.server(&cfg, &grant)
	}
	w.onLink(func(now time.Time) {
		w.link = server.NewLink(cfg, &host{w, grant})
		w.link.Start(now)
	})
}

// onLink lets f use the server's PPP.
func (w *world) onLink(f func(now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(time.Now())
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.link == nil {
		return
	}
	if d, ok := w.link.Deadline(); ok && w.ctx.Err() == nil {
		w.timer = time.AfterFunc(time.Until(d), func() { w.onLink(w.link.Tick) })
	}
}

// toClient sends what is in sealed, unless it is to be lost.
func (w *world) toClient() {
	b := slices.Clone(w.sealed.Bytes())
	if w.drops > 0 {
		w.drops--
		return
	}
	w.wire <- func() { w.c.Receive(b) }
}

// frameOut sends a frame of the server; mu is held.
func (w *world) frameOut(protocol uint16, info []byte) {
	b := &w.sealed
	b.SetBytes(info)
	if protocol == wireppp.ProtocolIPv4 && w.sender != nil {
		copy(b.Prepend(2), []byte{0, 0x21})
		w.sender.Seal(b, w.scratch)
		protocol = wireppp.ProtocolCompressed
	}
	h := wireppp.AppendHeader(nil, protocol, false, false)
	copy(b.Prepend(len(h)), h)
	if w.gre != nil {
		w.gre.Wrap(b)
	} else {
		head := wirel2tp.Header{TunnelID: tunnelID, SessionID: sessionID}
		if w.change.sequence {
			head.HasSequence, head.Ns = true, w.ns
			w.ns++
		}
		raw := binary.BigEndian.AppendUint16(nil, 0x0002)
		if head.HasSequence {
			raw = binary.BigEndian.AppendUint16(nil, 0x0802)
		}
		raw = binary.BigEndian.AppendUint16(raw, head.TunnelID)
		raw = binary.BigEndian.AppendUint16(raw, head.SessionID)
		if head.HasSequence {
			raw = binary.BigEndian.AppendUint16(raw, head.Ns)
			raw = binary.BigEndian.AppendUint16(raw, 0)
		}
		copy(b.Prepend(len(raw)), raw)
	}
	w.toClient()
}

// frameIn takes a frame of the client; mu is held.
func (w *world) frameIn(now time.Time, b []byte, encrypted bool) {
	protocol, info, err := wireppp.ParseFrame(b)
	switch {
	case err != nil:
		w.t.Error(err)
	case protocol == wireppp.ProtocolIPv4:
		w.inner = append(w.inner, slices.Clone(info))
		if !encrypted {
			w.clear++
		}
	case w.link != nil:
		w.link.Receive(now, protocol, info)
	}
}

// greIn plays PPTP's server for GRE.
func (w *world) greIn(b []byte) {
	w.onLink(func(now time.Time) {
		h, payload, err := wiregre.ParseHeader(b)
		if err != nil || h.CallID != serverCall && w.gre != nil && h.HasSeq {
			// The server's own session does not know its ID: the client must have put it there.
			w.t.Errorf("GRE %+v: %v", h, err)
			return
		}
		if !h.HasSeq || w.gre == nil {
			return
		}
		protocol, info, err := wireppp.ParseFrame(payload)
		if err != nil || protocol != wireppp.ProtocolCompressed {
			w.frameIn(now, payload, false)
			return
		}
		w.opened.SetBytes(info)
		if w.recv == nil || !w.recv.Open(&w.opened, h.Seq, credible, nanos(now), w.scratch).Passed() {
			w.t.Error("the client's packet can't be opened")
			return
		}
		w.frameIn(now, w.opened.Bytes(), true)
	})
}

// l2tpIn plays L2TP's server.
func (w *world) l2tpIn(b []byte) {
	h, body, err := wirel2tp.ParseHeader(b)
	if err != nil {
		w.t.Errorf("%x: %v", b, err)
		return
	}
	if !h.Control {
		w.onLink(func(now time.Time) { w.frameIn(now, body, false) })
		return
	}
	if len(body) == 0 {
		return
	}
	m, err := wirel2tp.Parse(body, nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.mu.Lock()
	w.log = append(w.log, m.Type().String())
	w.nr = h.Ns + 1
	w.mu.Unlock()
	switch m := m.(type) {
	case *wirel2tp.SCCRQ:
		w.control(0, &wirel2tp.SCCRP{ProtocolVersion: wirel2tp.Version, FramingCapabilities: wirel2tp.FramingEither, HostName: "vpn", AssignedTunnelID: 40})
	case *wirel2tp.ICRQ:
		w.control(m.AssignedSessionID, &wirel2tp.ICRP{AssignedSessionID: serverCall})
		if w.change.early {
			w.begin(false)
		}
	case *wirel2tp.ICCN:
		w.control(0, nil)
		if !w.change.early {
			w.begin(false)
		}
	default:
		w.control(0, nil)
	}
}

// control sends an L2TP control message to the client; nil is an acknowledgement.
func (w *world) control(session uint16, m wirel2tp.Message) {
	w.mu.Lock()
	h := wirel2tp.Header{TunnelID: tunnelID, SessionID: session, Ns: w.sent, Nr: w.nr}
	var b []byte
	if m == nil {
		b = wirel2tp.AppendZLB(nil, h)
	} else {
		b = wirel2tp.Append(nil, h, m, nil)
		wirel2tp.SetSequence(b, h.Ns, h.Nr)
		w.sent++
	}
	w.mu.Unlock()
	w.wire <- func() { w.c.Receive(b) }
}

// host lets alice in.
type host struct {
	w     *world
	grant server.Grant
}

func (h *host) SendFrame(protocol uint16, packet []byte) { h.w.frameOut(protocol, packet) }

func (h *host) Authenticate(r server.AuthRequest) {
	resp, err := mschap.ParseResponse(r.Response)
	if err != nil {
		h.w.t.Error(err)
	}
	auth, hash := [16]byte(r.Challenge), mschap.NTPasswordHash(password)
	want := mschap.NTResponse(mschap.ChallengeHash(resp.PeerChallenge, auth, r.Name), hash)
	d := server.Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials, Message: "Wrong user name or password", Retry: true}
	if r.Name == "alice" && resp.NTResponse == want {
		hashHash := mschap.HashNTPasswordHash(hash)
		send, recv := mschap.StartKeys(hashHash, want)
		h.w.keys = tenant.KeyPair{Send: send[:], Recv: recv[:]}
		d = server.Decision{Serial: r.Serial, Grant: h.grant, Success: mschap.AuthenticatorResponse(hashHash, want, resp.PeerChallenge, auth, r.Name)}
	}
	h.w.wire <- func() { h.w.onLink(func(now time.Time) { h.w.link.Decide(now, d) }) }
}

func params(p server.MPPEParams, key tenant.Secret) mppe.Params {
	out := mppe.Params{Bits: p.Bits, Stateful: p.Stateful}
	copy(out.StartKey[:], key)
	return out
}

func (h *host) MPPEReceive(p server.MPPEParams) {
	h.w.recv = mppe.NewReceiver(params(p, h.w.keys.Recv))
}

func (h *host) MPPEOpen(p server.MPPEParams) { h.w.sender = mppe.NewSender(params(p, h.w.keys.Send)) }

func (h *host) MPPEDown()                                          { h.w.recv, h.w.sender = nil, nil }
func (h *host) MPPEReset()                                         {}
func (h *host) NetworkReady(server.Network)                        {}
func (h *host) Opened(server.Network)                              { h.w.open = true }
func (h *host) NetworkDown()                                       { h.w.open = false }
func (h *host) Ident(string)                                       {}
func (h *host) Finished(_ tenant.Stage, _ tenant.Reason, _ string) {}
