package ppp

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// lac is a Link that plays the LAC: it brings LCP up with the world's peer and takes its login, but answers nothing.
type lac struct {
	*host
	sent  []byte // options of its latest request
	peer  []byte // options that it acknowledged
	login *AuthRequest
}

func (l *lac) SendFrame(protocol uint16, packet []byte) {
	if p, err := wire.ParsePacket(packet); err == nil && protocol == wire.ProtocolLCP {
		switch p.Code {
		case wire.CodeConfigureRequest:
			l.sent = bytes.Clone(p.Data)
		case wire.CodeConfigureAck:
			l.peer = append([]byte{}, p.Data...)
		}
	}
	l.w.fly(flight{toPeer: true, protocol: protocol, packet: bytes.Clone(packet)})
}

func (l *lac) Authenticate(r AuthRequest) { l.login = &r }

// handOver lets a LAC with the method speak with a peer of this kind and returns a world in which the peer is ours now,
// with what the LAC hands over.
func handOver(t *testing.T, k kind, method tenant.AuthMethod, cfg Config) (*world, Proxy) {
	t.Helper()
	w := newWorld(t, k, cfg, grant(tenant.MPPEDisabled))
	ours, front := w.link, &lac{host: w.host}
	w.link = NewLink(Config{Name: "lac", AuthMethods: []tenant.AuthMethod{method}, Rand: randReader{w.rng}}, front)
	w.start(200 * time.Millisecond)
	if front.login == nil {
		t.Fatalf("the LAC got no login\n%s", w.dump())
	}
	w.link, w.queue, w.trace = ours, nil, nil
	r := front.login
	return w, Proxy{
		LastSent: front.sent, LastReceived: front.peer,
		Auth: &ProxyAuth{
			PAP: method == tenant.AuthPAP, Name: r.Name, ID: r.ID,
			Challenge: r.Challenge, Response: r.Response, Password: r.Password,
		},
	}
}

func proxyConfig(methods ...tenant.AuthMethod) Config {
	cfg := config()
	cfg.CCP, cfg.AuthMethods = false, methods
	return cfg
}

// sentLCP counts the LCP requests that our Link has sent.
func (w *world) sentLCP() int {
	n := 0
	for _, line := range w.trace {
		if strings.Contains(line, " link c021 01") {
			n++
		}
	}
	return n
}

var everyMethod = []tenant.AuthMethod{tenant.AuthPAP, tenant.AuthCHAP, tenant.AuthMSCHAPv2}

// TestProxied: the peer notices nothing of the change of hands, and nobody asks it again.
func TestProxied(t *testing.T) {
	for _, method := range everyMethod {
		t.Run(string(method), func(t *testing.T) {
			k := pppd()
			k.ccp, k.ccpFirst, k.methods = nil, false, []tenant.AuthMethod{method}
			w, p := handOver(t, k, method, proxyConfig(everyMethod...))
			w.link.StartProxied(w.now, p)
			w.run(time.Second)
			w.wantOpen()
			if w.sentLCP() != 0 || len(w.host.requests) != 1 || w.host.requests[0].Method != method || w.host.requests[0].Attempt != 1 {
				t.Errorf("%d LCP requests, logins %+v", w.sentLCP(), w.host.requests)
			}
			if n := w.host.network; !n.PFC || !n.ACFC || n.PeerMRU != 1500 {
				t.Errorf("network %+v", n)
			}
			w.run(10 * time.Minute)
			w.wantOpen()
		})
	}
}

// TestProxiedLogin: what becomes of a login that is refused, missing or makes no sense.
func TestProxiedLogin(t *testing.T) {
	for _, c := range []struct {
		name   string
		method tenant.AuthMethod
		spoil  func(p *Proxy)
		logins int
	}{
		{"none", tenant.AuthMSCHAPv2, func(p *Proxy) { p.Auth = nil }, 1},
		{"PAP where the peer agreed to CHAP", tenant.AuthCHAP, func(p *Proxy) { p.Auth.PAP = true }, 1},
		{"a challenge that is too short", tenant.AuthMSCHAPv2, func(p *Proxy) { p.Auth.Challenge = p.Auth.Challenge[:8] }, 1},
		{"no challenge", tenant.AuthCHAP, func(p *Proxy) { p.Auth.Challenge = nil }, 1},
		{"a response that is too short", tenant.AuthCHAP, func(p *Proxy) { p.Auth.Response = p.Auth.Response[:15] }, 1},
		{"a name that is too long", tenant.AuthCHAP, func(p *Proxy) { p.Auth.Name = strings.Repeat("x", 70_000) }, 2},
		{"a wrong response, and another try", tenant.AuthMSCHAPv2, func(p *Proxy) { p.Auth.Response[48]++; p.Auth.Response[30]++ }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := pppd()
			k.ccp, k.ccpFirst, k.methods = nil, false, []tenant.AuthMethod{c.method}
			k.passwords = []string{"clientPass", "clientPass"}
			w, p := handOver(t, k, c.method, proxyConfig(everyMethod...))
			c.spoil(&p)
			w.link.StartProxied(w.now, p)
			w.run(30 * time.Second)
			w.wantOpen()
			if w.sentLCP() != 0 || len(w.host.requests) > c.logins {
				t.Errorf("%d LCP requests, %d logins", w.sentLCP(), len(w.host.requests))
			}
		})
	}
}

// TestProxiedInVain: what we can't live with is negotiated anew, and works.
func TestProxiedInVain(t *testing.T) {
	add := func(o ...byte) func(p *Proxy) {
		return func(p *Proxy) { p.LastSent = slices.Concat(p.LastSent, o) }
	}
	for _, c := range []struct {
		name    string
		profile []tenant.AuthMethod
		spoil   func(p *Proxy)
	}{
		{"nothing was settled", everyMethod, func(p *Proxy) { *p = Proxy{} }},
		{"no word of the LAC's request", everyMethod, func(p *Proxy) { p.LastSent = nil }},
		{"no word of the peer's request", everyMethod, func(p *Proxy) { p.LastReceived = nil }},
		{"a method that the profile has not", []tenant.AuthMethod{tenant.AuthMSCHAPv2}, func(*Proxy) {}},
		{"no authentication", everyMethod, func(p *Proxy) { p.LastSent = wirelcp.AppendMRU(nil, 1400) }},
		{"an option that we don't have", everyMethod, add(wirelcp.OptionMRRU, 4, 5, 220)},
		{"a large MRU", everyMethod, add(wirelcp.OptionMRU, 4, 9, 0)},
		{"an MRU of one octet", everyMethod, add(wirelcp.OptionMRU, 3, 9)},
		{"garbage of the LAC", everyMethod, add(1)},
		{"garbage of the peer", everyMethod, func(p *Proxy) { p.LastReceived = []byte{1, 1} }},
		{"a peer with multilink", everyMethod, func(p *Proxy) { p.LastReceived = append(p.LastReceived, wirelcp.OptionMRRU, 4, 5, 220) }},
		{"a looped-back line", everyMethod, func(p *Proxy) {
			p.LastReceived = []byte{5, 6, 1, 2, 3, 4}
			p.LastSent = append(p.LastSent, 5, 6, 1, 2, 3, 4)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := pppd()
			k.ccp, k.ccpFirst = nil, false
			w, p := handOver(t, k, tenant.AuthCHAP, proxyConfig(c.profile...))
			c.spoil(&p)
			w.link.StartProxied(w.now, p)
			w.run(10 * time.Second)
			w.wantOpen()
			if w.sentLCP() == 0 {
				t.Error("LCP was not started anew")
			}
			if r := w.host.requests; len(r) != 1 || !slices.Contains(c.profile, r[0].Method) {
				t.Errorf("logins %+v", r)
			}
		})
	}
}

// TestProxiedRenegotiation: a peer that starts LCP anew logs in anew; what the LAC handed over is used up.
func TestProxiedRenegotiation(t *testing.T) {
	k := pppd()
	k.ccp, k.ccpFirst = nil, false
	w, p := handOver(t, k, tenant.AuthMSCHAPv2, proxyConfig(everyMethod...))
	w.link.StartProxied(w.now, p)
	w.run(time.Minute)
	w.wantOpen()
	w.link.StartProxied(w.now, p) // too late: nothing happens
	request := wire.AppendPacket(nil, wire.CodeConfigureRequest, 77, p.LastReceived)
	w.link.Receive(w.now, wire.ProtocolLCP, request)
	w.run(100 * time.Millisecond)
	if w.sentLCP() == 0 || w.host.open || w.link.auth.proxied != nil {
		t.Errorf("%d LCP requests, open %v", w.sentLCP(), w.host.open)
	}
}

// TestProxiedSecondResponse: a peer that was asked twice by the LAC answers twice, both times to the LAC's challenge.
func TestProxiedSecondResponse(t *testing.T) {
	k := pppd()
	k.ccp, k.ccpFirst = nil, false
	w, p := handOver(t, k, tenant.AuthMSCHAPv2, proxyConfig(everyMethod...))
	w.host.think = time.Second
	w.link.StartProxied(w.now, p)
	second := bytes.Clone(p.Auth.Response)
	second[0]++
	data, err := chap.Value{Value: second, Name: []byte(p.Auth.Name)}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.link.Receive(w.now, wire.ProtocolCHAP, wire.AppendPacket(nil, chap.CodeResponse, p.Auth.ID, data))
	r := w.host.requests
	if len(r) != 2 || !bytes.Equal(r[1].Challenge, p.Auth.Challenge) || !bytes.Equal(r[1].Response, second) {
		t.Errorf("logins %+v", r)
	}
}

// FuzzStartProxied: whatever a LAC hands over, the link stands.
func FuzzStartProxied(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{3, 4, 0xc0, 0x23}, []byte{}, "alice", []byte("clientPass"), []byte{}, true)
	f.Add([]byte{1, 4, 5, 0x78, 3, 5, 0xc2, 0x23, 5, 5, 6, 1, 2, 3, 4, 7, 2, 8, 2}, []byte{5, 6, 9, 9, 9, 9}, "alice", make([]byte, 16), []byte("c"), false)
	f.Add([]byte{3, 5, 0xc2, 0x23, 0x81}, []byte{1, 4, 5, 0x78}, "alice", make([]byte, 49), make([]byte, 16), false)
	f.Fuzz(func(t *testing.T, sent, received []byte, name string, response, challenge []byte, pap bool) {
		w := newWorld(t, pppd(), proxyConfig(everyMethod...), grant(tenant.MPPEDisabled))
		w.host.verdict = func(r AuthRequest) Decision {
			if r.Method == tenant.AuthMSCHAPv2 && (len(r.Challenge) != 16 || len(r.Response) != 49) ||
				r.Method == tenant.AuthCHAP && (len(r.Challenge) == 0 || len(r.Response) != 16) {
				t.Errorf("%s with challenge %x, response %x", r.Method, r.Challenge, r.Response)
			}
			return Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials}
		}
		auth := &ProxyAuth{PAP: pap, Name: name, ID: 3, Challenge: challenge, Response: response, Password: response}
		w.link.StartProxied(w.now, Proxy{LastSent: sent, LastReceived: received, Auth: auth})
		w.run(10 * time.Minute)
		if w.host.finished != 1 {
			t.Errorf("finished %d times\n%s", w.host.finished, w.dump())
		}
	})
}
