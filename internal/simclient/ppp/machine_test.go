package ppp

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/mppe"
	server "concentrator/internal/ppp"
	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// TestLogin lets every kind of client log in to the server's Link.
func TestLogin(t *testing.T) {
	with := func(c Config, methods ...tenant.AuthMethod) Config {
		c.Methods = methods
		return c
	}
	for _, c := range []struct {
		name   string
		cfg    Config
		method tenant.AuthMethod
		policy tenant.MPPEPolicy
		mppe   bool
	}{
		{"pppd", Pppd("alice", password), tenant.AuthMSCHAPv2, tenant.MPPERequired, true},
		{"Windows", Windows(`DESKTOP\alice`, password), tenant.AuthMSCHAPv2, tenant.MPPERequired, true},
		{"Windows, optional", Windows("alice", password), tenant.AuthMSCHAPv2, tenant.MPPEOptional, true},
		{"Windows, disabled", Windows("alice", password), tenant.AuthMSCHAPv2, tenant.MPPEDisabled, false},
		{"macOS", MacOS("alice", password), tenant.AuthMSCHAPv2, tenant.MPPEOptional, false},
		{"Android", Android("alice", password), tenant.AuthMSCHAPv2, tenant.MPPEOptional, false},
		{"CHAP", MacOS("alice", password), tenant.AuthCHAP, tenant.MPPEDisabled, false},
		{"PAP", MacOS("alice", password), tenant.AuthPAP, tenant.MPPEDisabled, false},
		{"PAP by a Configure-Nak", with(MacOS("alice", password), tenant.AuthPAP), "", tenant.MPPEDisabled, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.cfg, c.policy, func(sc *server.Config, _ *server.Grant) {
				sc.AuthMethods = []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP}
				if c.method != "" {
					sc.AuthMethods = []tenant.AuthMethod{c.method}
				}
			})
			w.start(time.Second)
			w.wantOpen()
			want := Network{
				Address: clientAddr, Server: serverAddr, DNS: []netip.Addr{dns1, dns2}, MRU: 1400, PFC: true, ACFC: true,
			}
			if got := w.me.net; got.Address != want.Address || got.Server != want.Server || !slices.Equal(got.DNS, want.DNS) ||
				len(got.WINS) != 0 || got.MRU != want.MRU || !got.PFC || !got.ACFC {
				t.Errorf("network %+v, want %+v", got, want)
			}
			if w.me.message != "welcome" || w.host.requests != 1 {
				t.Errorf("message %q, %d requests", w.me.message, w.host.requests)
			}
			if c.mppe != (w.me.send.Bits == 128) {
				t.Errorf("MPPE %+v", w.me.send)
			}
			// What one end sends with is what the other receives with; the directions have different keys.
			if w.me.send != w.host.recv || w.me.recv != w.host.send || c.mppe && w.me.send == w.me.recv {
				t.Errorf("client %+v %+v, server %+v %+v", w.me.send, w.me.recv, w.host.send, w.host.recv)
			}
			if !slices.Equal(w.host.idents, c.cfg.Idents) {
				t.Errorf("identifications %q", w.host.idents)
			}
			w.run(10 * time.Minute)
			w.wantOpen()
		})
	}
}

// TestOrder reads the events of a login: the receive key comes before the Ack that permits its use.
func TestOrder(t *testing.T) {
	w := newWorld(t, Pppd("alice", password), tenant.MPPERequired, nil)
	acked := false
	w.drop = func(toServer bool, protocol uint16, packet []byte) bool {
		if toServer && protocol == wire.ProtocolCCP && packet[0] == wire.CodeConfigureAck && !acked {
			acked = true
			w.me.note("ccp ack")
		}
		return false
	}
	w.start(time.Second)
	w.wantLog("in", "receive 128", "ccp ack", "encrypt 128", "open")
	w.client.Terminate(w.now, "User request")
	w.run(10 * time.Second)
	w.wantLog("in", "receive 128", "ccp ack", "encrypt 128", "open", "down", "clear", "finished")
	if w.me.err != nil || w.host.reason != tenant.ReasonUserRequest || !strings.Contains(w.host.detail, "User request") {
		t.Errorf("client %v, server %s: %s", w.me.err, w.host.reason, w.host.detail)
	}
	if _, ok := w.client.Deadline(); ok {
		t.Error("a finished link wants a Tick")
	}
}

func TestRefusedLogins(t *testing.T) {
	for _, c := range []struct {
		method    tenant.AuthMethod
		passwords []string
		refusals  int
		open      bool
		code      int
	}{
		{tenant.AuthMSCHAPv2, []string{"a"}, 1, false, 691},
		{tenant.AuthMSCHAPv2, []string{"a", password}, 1, true, 691},
		{tenant.AuthMSCHAPv2, []string{"a", "b", "c", "d"}, 3, false, 691}, // the server has had enough
		{tenant.AuthCHAP, []string{"a"}, 1, false, 0},
		{tenant.AuthCHAP, []string{"a", "b", password}, 2, true, 0},
		{tenant.AuthPAP, []string{"a"}, 1, false, 0},
		{tenant.AuthPAP, []string{"a", "b", password}, 2, true, 0},
	} {
		t.Run(string(c.method)+" "+strings.Join(c.passwords, " "), func(t *testing.T) {
			cfg := MacOS("alice", "")
			cfg.Passwords = c.passwords
			w := newWorld(t, cfg, tenant.MPPEDisabled, func(sc *server.Config, _ *server.Grant) {
				sc.AuthMethods = []tenant.AuthMethod{c.method}
			})
			w.start(10 * time.Second)
			if len(w.me.refusals) != c.refusals {
				t.Fatalf("%d refusals, want %d: %q", len(w.me.refusals), c.refusals, w.me.log)
			}
			if e := w.me.refusals[0]; e.Message != "wrong user name or password" || e.Code != c.code || e.Method != c.method {
				t.Errorf("refusal %+v", e)
			}
			if c.open {
				w.wantOpen()
				return
			}
			var e *AuthError
			if w.me.finished != 1 || !errors.As(w.me.err, &e) || w.host.reason != tenant.ReasonWrongCredentials {
				t.Errorf("finished %d times with %v, the server with %s", w.me.finished, w.me.err, w.host.reason)
			}
		})
	}
}

// TestImpostor: a server that lets us in without knowing the password is left at once.
func TestImpostor(t *testing.T) {
	w := newWorld(t, Windows("alice", password), tenant.MPPERequired, nil)
	w.host.wrong = true
	w.start(10 * time.Second)
	w.wantLog("finished")
	if !errors.Is(w.me.err, ErrImpostor) {
		t.Errorf("error %v", w.me.err)
	}
}

func TestEnds(t *testing.T) {
	mute := func(c Config) Config { c.CCPMode = CCPMute; return c }
	for _, c := range []struct {
		name   string
		cfg    Config
		policy tenant.MPPEPolicy
		change func(*server.Config, *server.Grant)
		err    error
		text   string // of a TerminatedError
		reason tenant.Reason
	}{
		{
			"no method of ours", Windows("alice", password), tenant.MPPEDisabled,
			func(sc *server.Config, _ *server.Grant) { sc.AuthMethods = []tenant.AuthMethod{tenant.AuthPAP} },
			ErrTimeout, "", tenant.ReasonNoCommonAuthMethod,
		},
		{"MPPE required here, off there", Pppd("alice", password), tenant.MPPEDisabled, nil, ErrNoMPPE, "", tenant.ReasonUserRequest},
		{"MPPE required there, unknown here", MacOS("alice", password), tenant.MPPERequired, nil, nil, "MPPE required", tenant.ReasonMPPERequired},
		{"MPPE required there, rejected here", Android("alice", password), tenant.MPPERequired, nil, nil, "MPPE required", tenant.ReasonMPPERequired},
		{"MPPE required there, no word here", mute(Windows("alice", password)), tenant.MPPERequired, nil, nil, "MPPE required", tenant.ReasonMPPERequired},
		{
			"no strength in common", Pppd("alice", password), tenant.MPPERequired,
			func(_ *server.Config, g *server.Grant) { g.MPPE.KeyBits = []int{40} }, nil, "MPPE required", tenant.ReasonMPPERequired,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.cfg, c.policy, c.change)
			w.start(3 * time.Minute)
			if w.me.finished != 1 || w.host.finished != 1 || w.host.reason != c.reason {
				t.Fatalf("client finished %d times with %v; the server %d times with %s (%s): %q",
					w.me.finished, w.me.err, w.host.finished, w.host.reason, w.host.detail, w.me.log)
			}
			var e *TerminatedError
			switch {
			case c.err != nil && !errors.Is(w.me.err, c.err):
				t.Errorf("error %v, want %v", w.me.err, c.err)
			case c.err == nil && (!errors.As(w.me.err, &e) || !strings.HasPrefix(e.Text, c.text)):
				t.Errorf("error %v, want to be terminated with %q", w.me.err, c.text)
			}
		})
	}
}

// TestStrengths: the terms of both directions are found by Configure-Nak.
func TestStrengths(t *testing.T) {
	for _, c := range []struct {
		name     string
		ask      wireccp.MPPE
		take     wireccp.MPPE
		bits     []int
		stateful bool
		want     mppe.Params // but for the key
	}{
		{"40", wireccp.Stateless | wireccp.Bits40, wireccp.Stateless | wireccp.Bits40, []int{128, 40}, false, mppe.Params{Bits: 40}},
		{"56", wireccp.Stateless, wireccp.Stateless | wireccp.Bits56 | wireccp.Bits40, []int{56}, false, mppe.Params{Bits: 56}},
		{"stateful", wireccp.Bits128, wireccp.Bits128, []int{128}, true, mppe.Params{Bits: 128, Stateful: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Pppd("alice", password)
			cfg.CCP, cfg.MPPE = []wire.Option{mppeOption(c.ask)}, c.take
			w := newWorld(t, cfg, tenant.MPPERequired, func(_ *server.Config, g *server.Grant) {
				g.MPPE.KeyBits, g.MPPE.AllowStateful = c.bits, c.stateful
			})
			w.start(time.Second)
			w.wantOpen()
			if w.me.send != w.host.recv || w.me.recv != w.host.send {
				t.Errorf("client %+v %+v, server %+v %+v", w.me.send, w.me.recv, w.host.send, w.host.recv)
			}
			got := w.me.recv
			if got.StartKey = [16]byte{}; got != c.want {
				t.Errorf("agreed on %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestEcho(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		cfg := Windows("alice", password)
		cfg.Deaf = deaf
		w := newWorld(t, cfg, tenant.MPPERequired, func(sc *server.Config, _ *server.Grant) {
			sc.Echo = tenant.Echo{Interval: 10 * time.Second, Failures: 2}
		})
		w.start(5 * time.Minute)
		if w.host.open == deaf {
			t.Errorf("deaf %v: the server's end is open: %v, %s", deaf, w.host.open, w.host.reason)
		}
	}
}

func TestServerTerminates(t *testing.T) {
	w := newWorld(t, Windows("alice", password), tenant.MPPERequired, nil)
	w.start(time.Second)
	w.wantOpen()
	w.link.Terminate(w.now, tenant.ReasonShutdown, "the server shuts down")
	w.run(10 * time.Second)
	var e *TerminatedError
	if !errors.As(w.me.err, &e) || e.Text != "the server shuts down" || w.me.finished != 1 || w.me.open {
		t.Errorf("finished %d times with %v", w.me.finished, w.me.err)
	}
}

// TestRenegotiate: LCP anew means a new login, with new keys.
func TestRenegotiate(t *testing.T) {
	w := newWorld(t, Pppd("alice", password), tenant.MPPERequired, nil)
	w.start(time.Second)
	w.wantOpen()
	before := w.me.send
	w.me.log = nil
	w.client.Renegotiate(w.now)
	w.wantLog("down", "clear")
	w.run(10 * time.Second)
	w.wantOpen()
	w.wantLog("down", "clear", "in", "receive 128", "encrypt 128", "open")
	if w.host.requests != 2 || w.me.send.StartKey == before.StartKey || w.me.send != w.host.recv {
		t.Errorf("%d logins, keys %x then %x", w.host.requests, before.StartKey, w.me.send.StartKey)
	}
}

// TestNobodyThere: without a server the client gives up, whatever it waits for.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t, Windows("alice", password), tenant.MPPERequired, nil)
	w.drop = func(bool, uint16, []byte) bool { return true }
	w.start(5 * time.Minute)
	if !errors.Is(w.me.err, ErrTimeout) {
		t.Errorf("LCP: %v", w.me.err)
	}
	w = newWorld(t, MacOS("alice", password), tenant.MPPEDisabled, func(sc *server.Config, _ *server.Grant) {
		sc.AuthMethods = []tenant.AuthMethod{tenant.AuthPAP}
	})
	w.drop = func(_ bool, protocol uint16, _ []byte) bool { return protocol == wire.ProtocolPAP }
	w.client.cfg.MaxConfigure = 3
	w.start(5 * time.Minute)
	if !errors.Is(w.me.err, ErrTimeout) {
		t.Errorf("PAP: %v", w.me.err)
	}
}

// TestLoss: one packet in ten is lost, and everyone gets in all the same.
func TestLoss(t *testing.T) {
	for seed := range 20 {
		for _, cfg := range []Config{Pppd("alice", password), Windows("alice", password)} {
			cfg.MaxConfigure = 20
			w := newWorld(t, cfg, tenant.MPPERequired, func(sc *server.Config, _ *server.Grant) { sc.MaxConfigure = 20 })
			for range seed {
				w.rng.Uint64()
			}
			w.loss = 10
			w.start(0)
			for range 600 {
				if w.me.open && w.host.open && w.me.send.Bits != 0 || w.me.finished > 0 {
					break
				}
				w.run(time.Second)
			}
			w.wantOpen()
			if w.me.send != w.host.recv || w.me.recv != w.host.send {
				t.Errorf("seed %d: client %+v %+v, server %+v %+v: %q", seed, w.me.send, w.me.recv, w.host.send, w.host.recv, w.me.log)
			}
		}
	}
}

// FuzzReceive feeds a Machine in each phase with any packet: it must not panic, nor open without a login.
func FuzzReceive(f *testing.F) {
	corpus.Add(f)
	f.Add(wire.ProtocolLCP, []byte{wire.CodeConfigureRequest, 1, 0, 8, wirelcp.OptionMRU, 4, 5, 0xdc})
	f.Add(wire.ProtocolCHAP, []byte{1, 1, 0, 22, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 'v'})
	f.Add(wire.ProtocolCHAP, []byte{4, 1, 0, 15, 'E', '=', '6', '9', '1', ' ', 'R', '=', '1', ' ', 'M'})
	f.Add(wire.ProtocolCCP, []byte{wire.CodeConfigureNak, 1, 0, 10, 18, 6, 1, 0, 0, 0x40})
	f.Add(wire.ProtocolIPCP, []byte{wire.CodeConfigureAck, 1, 0, 4})
	f.Fuzz(func(t *testing.T, protocol uint16, packet []byte) {
		for _, d := range []time.Duration{0, 25 * time.Millisecond, 45 * time.Millisecond, 65 * time.Millisecond, time.Second} {
			w := newWorld(t, Pppd("alice", password), tenant.MPPERequired, nil)
			w.start(d)
			w.client.Receive(w.now, protocol, packet)
			if w.me.open && !slices.Contains(w.me.log, "in") {
				t.Fatalf("a packet after %v opened the link without a login", d)
			}
			w.client.Tick(w.now.Add(time.Hour))
		}
	})
}
