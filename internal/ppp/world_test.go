package ppp

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

// world joins a Link and a peer by a network that loses, repeats and reorders, under a clock that the test owns.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	now  time.Time
	end  time.Time
	link *Link
	host *host
	peer *peer

	loss, dup, reorder int // in percent
	delay              time.Duration
	cut                bool // nothing gets through any more
	queue              []flight
	seq                int
	maxConfigure       int
	mutualFailures     int
	trace              []string
}

// flight is a frame on its way, or a verdict.
type flight struct {
	at       time.Time
	seq      int
	toPeer   bool
	protocol uint16
	packet   []byte
	decision *Decision
}

// host is the owner of the Link: it lets alice in and writes down what happens.
type host struct {
	w        *world
	verdict  func(r AuthRequest) Decision
	think    time.Duration // until the verdict comes
	log      []string
	heard    func(line string) // gets each line of the log too, unless nil
	requests []AuthRequest

	allowed    bool
	required   bool
	asked      wireccp.MPPE // what our latest CCP request names; 0: no MPPE
	askedID    byte         // its identifier
	receive    MPPEParams   // what the peer may send
	sending    MPPEParams
	open       bool
	ready      *Network
	network    Network
	finished   int
	stage      tenant.Stage
	reason     tenant.Reason
	detail     string
	idents     []string
	resets     int
	resetAfter int // frames on their way at the last reset
}

var (
	epoch      = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	serverAddr = netip.MustParseAddr("10.1.0.1")
	clientAddr = netip.MustParseAddr("10.1.0.7")
	dns1       = netip.MustParseAddr("192.0.2.53")
	dns2       = netip.MustParseAddr("192.0.2.54")
)

func grant(policy tenant.MPPEPolicy, bits ...int) Grant {
	return Grant{
		Local: serverAddr, Address: clientAddr, DNS: []netip.Addr{dns1, dns2},
		MPPE: tenant.MPPE{Policy: policy, KeyBits: bits},
	}
}

func config() Config {
	return Config{Name: "vpn", AuthMethods: []tenant.AuthMethod{tenant.AuthMSCHAPv2}, CCP: true}
}

func newWorld(t testing.TB, k kind, cfg Config, g Grant) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(1, 2)), now: epoch, delay: 20 * time.Millisecond, maxConfigure: cmp.Or(cfg.MaxConfigure, defaultMaxConfigure)}
	w.host = &host{w: w, required: cfg.CCP && g.MPPE.Policy == tenant.MPPERequired}
	w.host.verdict = func(r AuthRequest) Decision { return check(r, g) }
	cfg.Rand = randReader{w.rng}
	w.link = NewLink(cfg, w.host)
	w.peer = newPeer(k, w)
	return w
}

type randReader struct{ r *rand.Rand }

func (r randReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.r.Uint32())
	}
	return len(b), nil
}

// check is the authenticator: alice, clientPass.
func check(r AuthRequest, g Grant) Decision {
	const password = "clientPass"
	d := Decision{Serial: r.Serial, Grant: g, Message: "welcome"}
	ok := mschap.StripDomain(r.Name) == "alice"
	switch r.Method {
	case tenant.AuthEAP:
		return serveEAP(r, g, password)
	case tenant.AuthPAP:
		ok = ok && subtle.ConstantTimeCompare(r.Password, []byte(password)) == 1
	case tenant.AuthCHAP:
		want := chap.MD5Response(r.ID, []byte(password), r.Challenge)
		ok = ok && bytes.Equal(r.Response, want[:])
	case tenant.AuthMSCHAPv2:
		resp, err := mschap.ParseResponse(r.Response)
		auth := [16]byte(r.Challenge)
		want := mschap.NTResponse(mschap.ChallengeHash(resp.PeerChallenge, auth, r.Name), mschap.NTPasswordHash(password))
		ok = ok && err == nil && resp.NTResponse == want
		d.Success = mschap.AuthenticatorResponse(mschap.HashNTPasswordHash(mschap.NTPasswordHash(password)), want, resp.PeerChallenge, auth, r.Name)
	}
	if !ok {
		return Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials, Message: "wrong user name or password", Retry: true}
	}
	return d
}

// run lets the world turn for d.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	w.end = w.now.Add(d)
	for range 200000 {
		at, what := w.next()
		if what == nil || at.After(w.end) {
			w.now = w.end
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		what()
	}
	w.t.Fatalf("the world does not come to rest: %s", strings.Join(w.trace[max(0, len(w.trace)-30):], "\n"))
}

// start brings the line up at both ends and lets the login happen.
func (w *world) start(d time.Duration) {
	w.t.Helper()
	w.link.Start(w.now)
	w.peer.start(w.now)
	w.run(d)
}

func (w *world) next() (time.Time, func()) {
	var at time.Time
	var what func()
	earliest := func(t time.Time, ok bool, f func()) {
		if ok && (what == nil || t.Before(at)) {
			at, what = t, f
		}
	}
	if len(w.queue) > 0 {
		i := 0
		for j, f := range w.queue {
			if f.at.Before(w.queue[i].at) || f.at.Equal(w.queue[i].at) && f.seq < w.queue[i].seq {
				i = j
			}
		}
		earliest(w.queue[i].at, true, func() { w.arrive(i) })
	}
	d, ok := w.link.Deadline()
	earliest(d, ok, func() { w.link.Tick(w.now) })
	d, ok = w.peer.deadline()
	earliest(d, ok, func() { w.peer.tick(w.now) })
	return at, what
}

func (w *world) arrive(i int) {
	f := w.queue[i]
	w.queue = slices.Delete(w.queue, i, i+1)
	switch {
	case f.decision != nil:
		w.link.Decide(w.now, *f.decision)
	case f.toPeer:
		w.peer.receive(w.now, f.protocol, f.packet)
	default:
		w.link.Receive(w.now, f.protocol, f.packet)
	}
}

func (w *world) fly(f flight) {
	who := "peer"
	if f.toPeer {
		who = "link"
	}
	w.trace = append(w.trace, fmt.Sprintf("%7.3f %s %04x %x", w.now.Sub(epoch).Seconds(), who, f.protocol, f.packet))
	copies := 1
	if w.rng.IntN(100) < w.dup {
		copies = 2
	}
	for range copies {
		if w.cut || w.rng.IntN(100) < w.loss {
			continue
		}
		f.at = w.now.Add(w.delay)
		if w.rng.IntN(100) < w.reorder {
			f.at = f.at.Add(time.Duration(w.rng.IntN(int(200 * time.Millisecond))))
		}
		w.seq++
		f.seq = w.seq
		w.queue = append(w.queue, f)
	}
}

func (w *world) toLink(protocol uint16, packet []byte) {
	w.fly(flight{protocol: protocol, packet: packet})
}

// peerMayEncrypt is called when the peer's CCP opens: on a perfect line, what it may send now must be installed already.
func (w *world) peerMayEncrypt() {
	if w.loss+w.dup+w.reorder == 0 && !w.link.closing && w.host.receive != w.peer.mppeSend {
		w.t.Errorf("the peer may encrypt with %+v, installed is %+v", w.peer.mppeSend, w.host.receive)
	}
}

func (h *host) note(format string, args ...any) {
	if h.finished > 0 {
		h.w.t.Errorf("after Finished: "+format, args...)
	}
	line := fmt.Sprintf(format, args...)
	h.log = append(h.log, line)
	if h.heard != nil {
		h.heard(line)
	}
	h.w.trace = append(h.w.trace, fmt.Sprintf("%7.3f host %s", h.w.now.Sub(epoch).Seconds(), line))
}

func (h *host) SendFrame(protocol uint16, packet []byte) {
	h.leaves(protocol, packet)
	h.w.fly(flight{toPeer: true, protocol: protocol, packet: bytes.Clone(packet)})
}

// leaves checks what holds for every frame that we send, and for CCP that the peer may send nothing that we were not told
// to expect: with our Ack of its request and its own of ours, it encrypts.
func (h *host) leaves(protocol uint16, packet []byte) {
	p, err := wire.ParsePacket(packet)
	if err != nil || len(p.Data)+wire.PacketHeaderLen != len(packet) {
		h.w.t.Errorf("a broken packet: %04x %x", protocol, packet)
	}
	if h.finished > 0 {
		h.w.t.Errorf("a frame after Finished: %04x %x", protocol, packet)
	}
	if protocol != wire.ProtocolCCP || p.Code > wire.CodeConfigureAck {
		return
	}
	named := wireccp.MPPE(0)
	if o, err := wire.ParseOptions(p.Data); err == nil {
		value, _ := o.Find(wireccp.OptionMPPE)
		named, _ = wireccp.ParseMPPE(value)
	}
	if p.Code == wire.CodeConfigureRequest {
		h.asked, h.askedID = named, p.ID
	} else if named != 0 && h.asked != 0 && h.receive != strongest(h.asked) {
		h.w.t.Errorf("a CCP Configure-Ack with receiver %+v, our request names %08x", h.receive, h.asked)
	}
}

// strongest is what a peer has to choose of what a request names (RFC 3078 section 2.1).
func strongest(m wireccp.MPPE) MPPEParams {
	p := MPPEParams{Stateful: m&wireccp.Stateless == 0}
	for _, bits := range []int{40, 56, 128} {
		if m&wireccp.Strength(bits) != 0 {
			p.Bits = bits
		}
	}
	return p
}

func (h *host) Authenticate(r AuthRequest) {
	h.note("authenticate %s %q attempt %d", r.Method, r.Name, r.Attempt)
	h.requests = append(h.requests, r)
	d := h.verdict(r)
	h.w.seq++
	h.w.queue = append(h.w.queue, flight{at: h.w.now.Add(h.think), seq: h.w.seq, decision: &d})
	h.allowed = d.Reason == "" && d.Next == nil && !d.Restart
}

func (h *host) MPPEReceive(p MPPEParams) {
	h.note("receive %d stateful %v", p.Bits, p.Stateful)
	if p.Bits == 0 || p == h.receive {
		h.w.t.Errorf("MPPEReceive with %+v, have %+v", p, h.receive)
	}
	h.receive = p
}

func (h *host) MPPEOpen(p MPPEParams) {
	h.note("encrypt %d stateful %v", p.Bits, p.Stateful)
	if h.receive.Bits == 0 || p.Bits == 0 || h.receive != strongest(h.asked) {
		h.w.t.Errorf("MPPEOpen with %+v, receiver %+v, our request names %08x", p, h.receive, h.asked)
	}
	h.sending = p
}

func (h *host) MPPEDown() {
	h.note("mppe down")
	if h.required && h.open {
		h.w.t.Error("MPPEDown while the network is open")
	}
	h.receive, h.sending = MPPEParams{}, MPPEParams{}
}

func (h *host) MPPEReset() { h.note("mppe reset"); h.resets++; h.resetAfter = len(h.w.queue) }

func (h *host) NetworkReady(n Network) {
	h.note("ready %s", n.Address)
	h.ready = &n
}

func (h *host) Opened(n Network) {
	h.note("opened %s", n.Address)
	switch {
	case h.open:
		h.w.t.Error("Opened twice")
	case !h.allowed:
		h.w.t.Error("Opened without a login")
	case h.required && (h.sending.Bits == 0 || h.receive.Bits == 0):
		h.w.t.Error("Opened without MPPE")
	case h.ready == nil || *h.ready != n:
		h.w.t.Errorf("Opened with %+v, ready was %+v", n, h.ready)
	}
	h.open, h.network = true, n
}

func (h *host) NetworkDown() {
	h.note("network down")
	if !h.open {
		h.w.t.Error("NetworkDown without Opened")
	}
	h.open = false
}

func (h *host) Ident(text string) { h.note("ident %q", text); h.idents = append(h.idents, text) }

func (h *host) Finished(stage tenant.Stage, reason tenant.Reason, detail string) {
	h.note("finished %s %s: %s", stage, reason, detail)
	h.finished++
	h.stage, h.reason, h.detail = stage, reason, detail
	switch {
	case h.finished > 1:
		h.w.t.Error("Finished twice")
	case h.open:
		h.w.t.Error("Finished without NetworkDown")
	case h.receive.Bits != 0 || h.sending.Bits != 0:
		h.w.t.Error("Finished without MPPEDown")
	case reason == "" || detail == "":
		h.w.t.Errorf("Finished with reason %q, detail %q", reason, detail)
	}
}

func (w *world) dump() string {
	return strings.Join(w.trace, "\n")
}

// wantOpen fails the test unless both ends carry IP.
func (w *world) wantOpen() {
	w.t.Helper()
	if !w.host.open || !w.peer.ipcp.m.Opened() || w.link.Phase() != tenant.StageOpen {
		w.t.Fatalf("not open: phase %s, peer IPCP %s\n%s", w.link.Phase(), w.peer.ipcp.m.State(), w.dump())
	}
}

// wantFinished fails the test unless the link ended so.
func (w *world) wantFinished(stage tenant.Stage, reason tenant.Reason) {
	w.t.Helper()
	if w.host.finished != 1 || w.host.stage != stage || w.host.reason != reason {
		w.t.Fatalf("finished %d times, at %s with %s (%s), want %s %s\n%s",
			w.host.finished, w.host.stage, w.host.reason, w.host.detail, stage, reason, w.dump())
	}
	if _, ok := w.link.Deadline(); ok {
		w.t.Error("a finished link wants a Tick")
	}
}

// hexOf is how a text looks in the trace.
func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }
