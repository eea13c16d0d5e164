package ppp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/dataplane/mppe"
	server "concentrator/internal/ppp"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

const password = "clientPass"

var (
	epoch      = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	serverAddr = netip.MustParseAddr("10.1.0.1")
	clientAddr = netip.MustParseAddr("10.1.0.7")
	dns1       = netip.MustParseAddr("192.0.2.53")
	dns2       = netip.MustParseAddr("192.0.2.54")
)

// world joins a Machine and the server's Link by a wire with a delay, under a clock that the test owns.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	now     time.Time
	client  *Machine
	link    *server.Link
	me      *me
	host    *host
	queue   []flight
	loss    int // in percent
	largest int // EAP packet, in octets
	drop    func(toServer bool, protocol uint16, packet []byte) bool
}

// flight is a frame or a verdict on its way.
type flight struct {
	at       time.Time
	toServer bool
	protocol uint16
	packet   []byte
	decision *server.Decision
}

// me writes down what the Machine says.
type me struct {
	w        *world
	log      []string
	send     mppe.Params
	recv     mppe.Params
	open     bool
	net      Network
	refusals []*AuthError
	message  string
	finished int
	err      error
}

// host owns the server's Link and lets alice in.
type host struct {
	w        *world
	grant    server.Grant
	wrong    bool // its Success proves nothing
	password string
	expired  bool // the password has
	noChange bool // and can't be changed
	requests int
	keys     tenant.KeyPair
	send     mppe.Params
	recv     mppe.Params
	open     bool
	idents   []string
	finished int
	eapType  byte // EAP: the method
	newEAP   func() eapServer
	eap      eapServer
	identity string
	reason   tenant.Reason
	detail   string
}

func newWorld(t testing.TB, cfg Config, policy tenant.MPPEPolicy, change func(*server.Config, *server.Grant)) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(1, 2)), now: epoch}
	w.me = &me{w: w}
	w.host = &host{w: w, password: password, grant: server.Grant{
		Local: serverAddr, Address: clientAddr, DNS: []netip.Addr{dns1, dns2},
		MPPE: tenant.MPPE{Policy: policy, KeyBits: []int{128}},
	}}
	sc := server.Config{Name: "vpn", AuthMethods: []tenant.AuthMethod{tenant.AuthMSCHAPv2}, CCP: true, Rand: randReader{w.rng}}
	if change != nil {
		change(&sc, &w.host.grant)
	}
	cfg.Rand = randReader{w.rng}
	w.client = NewMachine(cfg, w.me)
	w.link = server.NewLink(sc, w.host)
	return w
}

type randReader struct{ r *rand.Rand }

func (r randReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.r.Uint32())
	}
	return len(b), nil
}

// start starts both ends and lets the world turn for d.
func (w *world) start(d time.Duration) {
	w.t.Helper()
	w.link.Start(w.now)
	w.client.Start(w.now)
	w.run(d)
}

// run lets the world turn for d.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 100000 {
		at, what := w.next()
		if what == nil || at.After(end) {
			w.now = end
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		what()
	}
	w.t.Fatalf("the world does not come to rest: %q", w.me.log)
}

func (w *world) next() (at time.Time, what func()) {
	if t, ok := w.client.Deadline(); ok {
		at, what = t, func() { w.client.Tick(w.now) }
	}
	if t, ok := w.link.Deadline(); ok && (what == nil || t.Before(at)) {
		at, what = t, func() { w.link.Tick(w.now) }
	}
	if len(w.queue) > 0 && (what == nil || !w.queue[0].at.After(at)) {
		at, what = w.queue[0].at, w.land
	}
	return at, what
}

func (w *world) land() {
	f := w.queue[0]
	w.queue = w.queue[1:]
	switch {
	case f.decision != nil:
		w.link.Decide(w.now, *f.decision)
	case f.toServer:
		w.link.Receive(w.now, f.protocol, f.packet)
	default:
		w.client.Receive(w.now, f.protocol, f.packet)
	}
}

func (w *world) fly(toServer bool, protocol uint16, packet []byte) {
	if w.rng.IntN(100) < w.loss || w.drop != nil && w.drop(toServer, protocol, packet) {
		return
	}
	w.queue = append(w.queue, flight{
		at: w.now.Add(10 * time.Millisecond), toServer: toServer, protocol: protocol, packet: bytes.Clone(packet),
	})
}

func (m *me) note(format string, args ...any) {
	if m.finished > 0 {
		m.w.t.Errorf("after Finished: "+format, args...)
	}
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *me) SendFrame(protocol uint16, packet []byte) {
	if m.finished > 0 {
		m.w.t.Errorf("a frame after Finished: %04x %x", protocol, packet)
	}
	m.w.fly(true, protocol, packet)
}

func (m *me) Refused(e *AuthError) {
	m.note("refused")
	m.refusals = append(m.refusals, e)
}

func (m *me) Authenticated(message string) {
	m.note("in")
	m.message = message
}

func (m *me) MPPEReceive(p mppe.Params) {
	m.note("receive %d", p.Bits)
	m.recv = p
}

func (m *me) MPPEOpen(p mppe.Params) {
	m.note("encrypt %d", p.Bits)
	m.send = p
}

func (m *me) MPPEDown() {
	m.note("clear")
	m.send, m.recv = mppe.Params{}, mppe.Params{}
}

func (m *me) Opened(n Network) {
	m.note("open")
	if m.open {
		m.w.t.Error("Opened twice")
	}
	m.open, m.net = true, n
}

func (m *me) NetworkDown() {
	m.note("down")
	if !m.open {
		m.w.t.Error("NetworkDown without Opened")
	}
	m.open = false
}

func (m *me) Finished(err error) {
	m.note("finished")
	if m.open {
		m.w.t.Error("Finished while open")
	}
	m.finished++
	m.err = err
}

func (h *host) SendFrame(protocol uint16, packet []byte) { h.w.fly(false, protocol, packet) }

func (h *host) Authenticate(r server.AuthRequest) {
	h.requests++
	d := h.decide(r)
	h.w.queue = append(h.w.queue, flight{at: h.w.now.Add(10 * time.Millisecond), decision: &d})
}

func (h *host) decide(r server.AuthRequest) server.Decision {
	switch {
	case r.Method == tenant.AuthEAP:
		return h.eapCheck(r)
	case r.NewPassword != nil:
		return h.change(r)
	default:
		return h.check(r)
	}
}

// check is the authenticator; the arithmetic of MS-CHAPv2 is that of wire/mschap, which the RFC's vectors hold.
func (h *host) check(r server.AuthRequest) server.Decision {
	ok := mschap.StripDomain(r.Name) == "alice"
	d := server.Decision{Serial: r.Serial, Grant: h.grant, Message: "welcome"}
	switch r.Method {
	case tenant.AuthPAP:
		ok = ok && string(r.Password) == h.password
	case tenant.AuthCHAP:
		want := chap.MD5Response(r.ID, []byte(h.password), r.Challenge)
		ok = ok && bytes.Equal(r.Response, want[:])
	case tenant.AuthMSCHAPv2:
		resp, err := mschap.ParseResponse(r.Response)
		if err != nil {
			h.w.t.Errorf("response of %d octets", len(r.Response))
		}
		auth := [16]byte(r.Challenge)
		hash := mschap.NTPasswordHash(h.password)
		want := mschap.NTResponse(mschap.ChallengeHash(resp.PeerChallenge, auth, r.Name), hash)
		ok = ok && resp.NTResponse == want
		hashHash := mschap.HashNTPasswordHash(hash)
		send, recv := mschap.StartKeys(hashHash, want)
		h.keys = tenant.KeyPair{Send: send[:], Recv: recv[:]}
		if h.wrong {
			hashHash[0] ^= 1
		}
		d.Success = mschap.AuthenticatorResponse(hashHash, want, resp.PeerChallenge, auth, r.Name)
	}
	if !ok {
		return server.Decision{
			Serial: r.Serial, Reason: tenant.ReasonWrongCredentials, Message: "wrong user name or password", Retry: true,
		}
	}
	if h.expired {
		return server.Decision{
			Serial: r.Serial, Reason: tenant.ReasonUserExpired, Message: "password expired", ChangePassword: true,
		}
	}
	return d
}

func withKey(p server.MPPEParams, key tenant.Secret) mppe.Params {
	out := mppe.Params{Bits: p.Bits, Stateful: p.Stateful}
	copy(out.StartKey[:], key)
	return out
}

func (h *host) MPPEReceive(p server.MPPEParams) { h.recv = withKey(p, h.keys.Recv) }
func (h *host) MPPEOpen(p server.MPPEParams)    { h.send = withKey(p, h.keys.Send) }
func (h *host) MPPEDown()                       { h.send, h.recv = mppe.Params{}, mppe.Params{} }
func (h *host) MPPEReset()                      {}
func (h *host) NetworkReady(server.Network)     {}
func (h *host) Opened(server.Network)           { h.open = true }
func (h *host) NetworkDown()                    { h.open = false }
func (h *host) Ident(text string)               { h.idents = append(h.idents, text) }

func (h *host) Finished(_ tenant.Stage, reason tenant.Reason, detail string) {
	h.finished++
	h.reason, h.detail = reason, detail
}

// wantOpen fails the test unless both ends carry IP.
func (w *world) wantOpen() {
	w.t.Helper()
	if !w.me.open || !w.host.open || !w.client.Open() {
		w.t.Fatalf("client open %v, server open %v (%s %s): %q", w.me.open, w.host.open, w.host.reason, w.host.detail, w.me.log)
	}
}

// wantLog fails the test unless the events were just these.
func (w *world) wantLog(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.me.log, want) {
		w.t.Errorf("events %q, want %q", w.me.log, want)
	}
}
