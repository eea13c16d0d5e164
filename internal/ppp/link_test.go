package ppp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	"concentrator/internal/wire/eap"
	wireipcp "concentrator/internal/wire/ipcp"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// TestLogin lets every kind of client log in over a perfect line, with and without MPPE.
func TestLogin(t *testing.T) {
	for _, c := range []struct {
		kind kind
		ccp  bool
		mppe tenant.MPPEPolicy
		sent MPPEParams
	}{
		{pppd(), true, tenant.MPPERequired, MPPEParams{Bits: 128}},
		{windows10(), true, tenant.MPPERequired, MPPEParams{Bits: 128}},
		{windows2000(), true, tenant.MPPERequired, MPPEParams{Bits: 128}},
		{windows10(), true, tenant.MPPEOptional, MPPEParams{Bits: 128}},
		{windows10(), false, tenant.MPPERequired, MPPEParams{}}, // L2TP in ESP
		{macOS(), false, tenant.MPPERequired, MPPEParams{}},
		{macOS(), true, tenant.MPPEOptional, MPPEParams{}},
		{android(), false, tenant.MPPERequired, MPPEParams{}},
		{android(), true, tenant.MPPEOptional, MPPEParams{}},
		{android(), true, tenant.MPPEDisabled, MPPEParams{}},
	} {
		t.Run(c.kind.name+" "+string(c.mppe), func(t *testing.T) {
			cfg := config()
			cfg.CCP = c.ccp
			w := newWorld(t, c.kind, cfg, grant(c.mppe, 128, 56, 40))
			w.start(time.Second)
			w.wantOpen()
			if w.host.sending != c.sent || w.host.receive != c.sent {
				t.Errorf("MPPE %+v, receiver %+v, want %+v", w.host.sending, w.host.receive, c.sent)
			}
			if got := w.peer.address(wireipcp.OptionAddress); got != clientAddr {
				t.Errorf("the peer has address %v", got)
			}
			if got := w.peer.address(wireipcp.OptionPrimaryDNS); got != dns1 {
				t.Errorf("the peer has DNS %v", got)
			}
			if got := w.peer.address(wireipcp.OptionSecondaryDNS); got != dns2 {
				t.Errorf("the peer has second DNS %v", got)
			}
			if got := w.peer.address(wireipcp.OptionPrimaryNBNS); got.IsValid() {
				t.Errorf("the peer has WINS %v", got)
			}
			if c.kind.ipv6 != slices.Contains(w.peer.rejected, wire.ProtocolIPv6CP) {
				t.Errorf("rejected protocols %04x", w.peer.rejected)
			}
			if len(w.host.idents) != len(c.kind.idents) {
				t.Errorf("identifications %q", w.host.idents)
			}
			if n := w.host.network; n.Local != serverAddr || n.Address != clientAddr || !n.PFC || !n.ACFC {
				t.Errorf("network %+v", n)
			}
			if len(w.host.requests) != 1 || w.host.requests[0].Name != c.kind.user || w.host.requests[0].Attempt != 1 {
				t.Errorf("requests %+v", w.host.requests)
			}
			w.run(10 * time.Minute) // and it stays
			w.wantOpen()
		})
	}
}

func TestPeerMRU(t *testing.T) {
	for _, c := range []struct {
		name string
		mru  []byte
		want int
	}{
		{"not asked for", nil, 1500},
		{"1400", []byte{5, 0x78}, 1400},
		{"too small, raised", []byte{0, 128}, 576},
	} {
		k := pppd()
		if c.mru != nil {
			k.lcp = append(k.lcp, opt(wirelcp.OptionMRU, c.mru...))
		}
		w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
		w.start(time.Second)
		w.wantOpen()
		if w.host.network.PeerMRU != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.host.network.PeerMRU, c.want)
		}
	}
}

// TestAuthMethods logs in with each method, also by a Configure-Nak to another one of the profile.
func TestAuthMethods(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile []tenant.AuthMethod
		peer    []tenant.AuthMethod
		want    tenant.AuthMethod
	}{
		{"PAP", []tenant.AuthMethod{tenant.AuthPAP}, []tenant.AuthMethod{tenant.AuthPAP}, tenant.AuthPAP},
		{"CHAP", []tenant.AuthMethod{tenant.AuthCHAP}, []tenant.AuthMethod{tenant.AuthCHAP}, tenant.AuthCHAP},
		{"MS-CHAPv2", []tenant.AuthMethod{tenant.AuthMSCHAPv2}, []tenant.AuthMethod{tenant.AuthMSCHAPv2}, tenant.AuthMSCHAPv2},
		{"EAP", []tenant.AuthMethod{tenant.AuthEAP}, []tenant.AuthMethod{tenant.AuthEAP}, tenant.AuthEAP},
		{"Nak to EAP", []tenant.AuthMethod{tenant.AuthEAP, tenant.AuthCHAP}, []tenant.AuthMethod{tenant.AuthCHAP}, tenant.AuthCHAP},
		{"Nak for EAP", []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthPAP, tenant.AuthEAP}, []tenant.AuthMethod{tenant.AuthEAP, tenant.AuthPAP}, tenant.AuthEAP},
		{"Nak to the last of three", []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP}, []tenant.AuthMethod{tenant.AuthPAP}, tenant.AuthPAP},
		{"Nak to one that the profile has not", []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthPAP}, []tenant.AuthMethod{tenant.AuthCHAP, tenant.AuthPAP}, tenant.AuthPAP},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := macOS()
			k.methods, k.eapType = c.peer, eap.TypeMSCHAPv2
			cfg := config()
			cfg.CCP, cfg.AuthMethods = false, c.profile
			w := newWorld(t, k, cfg, grant(tenant.MPPEDisabled))
			w.start(time.Second)
			w.wantOpen()
			if got := w.host.requests[0].Method; got != c.want {
				t.Errorf("logged in by %s, want %s", got, c.want)
			}
			if (c.want == tenant.AuthPAP || c.want == tenant.AuthCHAP) && w.peer.success != "welcome" {
				t.Errorf("message %q", w.peer.success)
			}
		})
	}
}

func TestNoCommonAuthMethod(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile []tenant.AuthMethod
		peer    []tenant.AuthMethod
	}{
		{"other methods", []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP}, []tenant.AuthMethod{tenant.AuthPAP}},
		{"the peer rejects the option", []tenant.AuthMethod{tenant.AuthMSCHAPv2}, nil},
		{"EAP or nothing", []tenant.AuthMethod{tenant.AuthEAP}, []tenant.AuthMethod{tenant.AuthPAP}},
		{"nothing that can be offered", nil, []tenant.AuthMethod{tenant.AuthPAP}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := pppd()
			k.methods = c.peer
			cfg := config()
			cfg.AuthMethods = c.profile
			w := newWorld(t, k, cfg, grant(tenant.MPPERequired, 128))
			w.start(10 * time.Second)
			w.wantFinished(tenant.StageLCP, tenant.ReasonNoCommonAuthMethod)
		})
	}
}

// TestWrongPassword checks what the peer sees and how often it may try.
func TestWrongPassword(t *testing.T) {
	for _, c := range []struct {
		name      string
		method    tenant.AuthMethod
		passwords []string
		max       int
		opened    bool
		attempts  int
		failure   string // prefix of what the peer saw last
	}{
		{"MS-CHAPv2, second try right", tenant.AuthMSCHAPv2, []string{"wrong", "clientPass"}, 3, true, 2, "E=691 R=1 C="},
		{"MS-CHAPv2, all wrong", tenant.AuthMSCHAPv2, []string{"a", "b", "c", "d"}, 3, false, 3, "E=691 R=0 C="},
		{"MS-CHAPv2, no retry", tenant.AuthMSCHAPv2, []string{"a", "clientPass"}, 1, false, 1, "E=691 R=0 C="},
		{"MS-CHAPv2, the client does not try again", tenant.AuthMSCHAPv2, []string{"a"}, 3, false, 1, "E=691 R=1 C="},
		{"CHAP, second try right", tenant.AuthCHAP, []string{"wrong", "clientPass"}, 3, true, 2, "wrong user"},
		{"CHAP, all wrong", tenant.AuthCHAP, []string{"a", "b", "c"}, 2, false, 2, "wrong user"},
		{"PAP, second try right", tenant.AuthPAP, []string{"wrong", "clientPass"}, 3, true, 2, "wrong user"},
		{"PAP, all wrong", tenant.AuthPAP, []string{"a", "b", "c", "d"}, 3, false, 3, "wrong user"},
		{"PAP, the client does not try again", tenant.AuthPAP, []string{"a"}, 3, false, 1, "wrong user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := macOS()
			k.methods, k.passwords = []tenant.AuthMethod{c.method}, c.passwords
			cfg := config()
			cfg.CCP, cfg.AuthMethods, cfg.MaxAuthFailures = false, []tenant.AuthMethod{c.method}, c.max
			w := newWorld(t, k, cfg, grant(tenant.MPPEDisabled))
			w.start(10 * time.Second)
			if c.opened {
				w.wantOpen()
			} else {
				w.wantFinished(tenant.StageAuthentication, tenant.ReasonWrongCredentials)
			}
			if got := len(w.host.requests); got != c.attempts || w.host.requests[got-1].Attempt != c.attempts {
				t.Errorf("%d attempts, want %d", got, c.attempts)
			}
			if !strings.HasPrefix(w.peer.failure, c.failure) {
				t.Errorf("the peer saw %q, want %q", w.peer.failure, c.failure)
			}
			ids := map[string]bool{}
			for _, r := range w.host.requests {
				if c.method != tenant.AuthPAP && ids[string(r.Challenge)] {
					t.Error("a challenge was used twice")
				}
				ids[string(r.Challenge)] = true
			}
		})
	}
}

// TestFailureCodes checks which error a Windows client shows.
func TestFailureCodes(t *testing.T) {
	for reason, want := range map[tenant.Reason]string{
		tenant.ReasonWrongCredentials: "E=691 R=0",
		tenant.ReasonRadiusReject:     "E=691 R=0",
		tenant.ReasonUserDisabled:     "E=647 R=0",
		tenant.ReasonUserExpired:      "E=648 R=0",
		tenant.ReasonTenantSuspended:  "E=649 R=0",
		tenant.ReasonUserLimit:        "E=691 R=0",
		tenant.ReasonPoolExhausted:    "E=691 R=0",
	} {
		w := newWorld(t, windows10(), config(), Grant{})
		w.host.verdict = func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, Reason: reason, Message: "no entry"}
		}
		w.start(10 * time.Second)
		w.wantFinished(tenant.StageAuthentication, reason)
		if !strings.HasPrefix(w.peer.failure, want) || !strings.HasSuffix(w.peer.failure, "V=3 M=no entry") {
			t.Errorf("%s: the peer saw %q, want %q", reason, w.peer.failure, want)
		}
		if !strings.Contains(w.host.detail, "no entry") {
			t.Errorf("%s: detail %q", reason, w.host.detail)
		}
	}
}

// TestFailureCodeOfHours: what is wrong with the time has a code of its own, whatever the reason.
func TestFailureCodeOfHours(t *testing.T) {
	w := newWorld(t, windows10(), config(), Grant{})
	w.host.verdict = func(r AuthRequest) Decision {
		return Decision{Serial: r.Serial, Reason: tenant.ReasonUserDisabled, OutOfHours: true, Message: "not now"}
	}
	w.start(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonUserDisabled)
	if !strings.HasPrefix(w.peer.failure, "E=646 R=0") || !strings.HasSuffix(w.peer.failure, "V=3 M=not now") {
		t.Errorf("the peer saw %q", w.peer.failure)
	}
}

// TestSuccessWithoutProof checks that an MS-CHAPv2 login that we can not answer with S= is refused, not granted.
func TestSuccessWithoutProof(t *testing.T) {
	w := newWorld(t, windows10(), config(), Grant{})
	w.host.verdict = func(r AuthRequest) Decision {
		return Decision{Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128)}
	}
	w.start(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
}

func TestGrantWithoutAddress(t *testing.T) {
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("2001:db8::1")} {
		g := grant(tenant.MPPERequired, 128)
		g.Address = addr
		w := newWorld(t, windows10(), config(), g)
		w.start(10 * time.Second)
		w.wantFinished(tenant.StageCCP, tenant.ReasonProtocolError)
	}
}

// TestSlowVerdict checks that no timer of the link ends a login that RADIUS takes its time for, and that neither the
// repeated Challenge nor a second Response disturbs it.
func TestSlowVerdict(t *testing.T) {
	for _, method := range []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthPAP} {
		k := windows10()
		k.methods = []tenant.AuthMethod{method}
		cfg := config()
		cfg.CCP, cfg.AuthMethods = false, k.methods
		w := newWorld(t, k, cfg, grant(tenant.MPPEDisabled))
		w.host.think = 15 * time.Second
		w.start(20 * time.Second)
		w.wantOpen()
		if len(w.host.requests) != 1 {
			t.Errorf("%s: %d requests", method, len(w.host.requests))
		}
	}
}

// TestStaleDecision checks that a verdict on an earlier login lets nobody in.
func TestStaleDecision(t *testing.T) {
	w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
	w.host.think = time.Hour
	w.start(time.Second)
	if len(w.host.requests) != 1 {
		t.Fatalf("%d requests", len(w.host.requests))
	}
	good := check(w.host.requests[0], grant(tenant.MPPERequired, 128))
	w.peer.renegotiate(w.now)
	w.run(20 * time.Millisecond)
	w.link.Decide(w.now, good)
	if w.link.authenticated {
		t.Error("a verdict was taken while LCP is down")
	}
	w.run(time.Second) // the new login is asked about and not decided
	if len(w.host.requests) != 2 {
		t.Fatalf("%d requests", len(w.host.requests))
	}
	w.link.Decide(w.now, good)
	if w.link.authenticated {
		t.Error("a verdict on the login before the renegotiation was taken")
	}
	good.Serial = 12345
	w.link.Decide(w.now, good)
	if w.link.authenticated {
		t.Error("a verdict on no login at all was taken")
	}
}

// TestMPPE goes through what profile and peer may want of each other.
func TestMPPE(t *testing.T) {
	with := func(k kind, change func(*kind)) kind { change(&k); return k }
	pppd40 := with(pppd(), func(k *kind) {
		k.mppe = wireccp.Stateless | wireccp.Bits128 | wireccp.Bits40
		k.ccp = []wire.Option{mppeOption(k.mppe)}
	})
	only40 := with(pppd(), func(k *kind) {
		k.mppe = wireccp.Stateless | wireccp.Bits40
		k.ccp = []wire.Option{mppeOption(k.mppe)}
	})
	stateful := with(pppd(), func(k *kind) {
		k.mppe = wireccp.Bits128
		k.ccp = []wire.Option{mppeOption(k.mppe)}
	})
	acksAll := func(k *kind) { k.ccpAcksAll, k.mppe = true, k.mppe|wireccp.Strengths }
	for _, c := range []struct {
		name     string
		kind     kind
		policy   tenant.MPPEPolicy
		bits     []int
		stateful bool
		want     MPPEParams // no Bits: no MPPE
		ends     bool
	}{
		{"pppd with both strengths", pppd40, tenant.MPPERequired, []int{40, 128}, false, MPPEParams{Bits: 128}, false},
		{"only 40 bits allowed here", pppd40, tenant.MPPERequired, []int{40}, false, MPPEParams{Bits: 40}, false},
		{"only 40 bits allowed there", only40, tenant.MPPERequired, []int{128, 56, 40}, false, MPPEParams{Bits: 40}, false},
		{"Windows with 56 bits", with(windows10(), func(k *kind) { k.mppe |= wireccp.Bits56 }), tenant.MPPERequired, []int{56}, false, MPPEParams{Bits: 56}, false},
		{"nothing in common", only40, tenant.MPPERequired, []int{128}, false, MPPEParams{}, true},
		{"nothing in common, optional", only40, tenant.MPPEOptional, []int{128}, false, MPPEParams{}, false},
		{"stateful allowed", stateful, tenant.MPPERequired, []int{128}, true, MPPEParams{Bits: 128, Stateful: true}, false},
		{"stateful not allowed", with(stateful, func(k *kind) { k.mppe |= wireccp.Stateless }), tenant.MPPERequired, []int{128}, false, MPPEParams{Bits: 128}, false},
		{"stateless preferred where stateful is allowed", pppd(), tenant.MPPERequired, []int{128}, true, MPPEParams{Bits: 128}, false},
		{"every strength acknowledged at once", with(pppd(), acksAll), tenant.MPPERequired, []int{128, 40}, false, MPPEParams{Bits: 128}, false},
		{"every strength acknowledged at once, the strongest is 56", with(windows10(), acksAll), tenant.MPPEOptional, []int{40, 56}, false, MPPEParams{Bits: 56}, false},
		{"Protocol-Reject", macOS(), tenant.MPPERequired, []int{128}, false, MPPEParams{}, true},
		{"Protocol-Reject, optional", macOS(), tenant.MPPEOptional, []int{128}, false, MPPEParams{}, false},
		{"Configure-Reject", android(), tenant.MPPERequired, []int{128}, false, MPPEParams{}, true},
		{"never answers", with(windows10(), func(k *kind) { k.ccpMute = true }), tenant.MPPERequired, []int{128}, false, MPPEParams{}, true},
		{"never answers, optional", with(windows10(), func(k *kind) { k.ccpMute = true }), tenant.MPPEOptional, []int{128}, false, MPPEParams{}, false},
		{"no key length left", pppd(), tenant.MPPERequired, nil, false, MPPEParams{}, true},
		{"disabled", windows10(), tenant.MPPEDisabled, []int{128}, false, MPPEParams{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := grant(c.policy, c.bits...)
			g.MPPE.AllowStateful = c.stateful
			if !c.ends && c.want.Bits == 0 {
				c.kind.ccpFirst = false // a client that can do without
			}
			w := newWorld(t, c.kind, config(), g)
			w.start(50 * time.Second)
			if c.ends {
				w.wantFinished(tenant.StageCCP, tenant.ReasonMPPERequired)
				if w.host.ready != nil {
					t.Error("the network was made ready")
				}
				return
			}
			w.wantOpen()
			if w.host.sending != c.want || c.want.Bits != 0 && (w.host.receive != c.want || w.peer.mppeRecv != c.want) {
				t.Errorf("encrypt %+v, receive %+v, the peer receives %+v, want %+v", w.host.sending, w.host.receive, w.peer.mppeRecv, c.want)
			}
		})
	}
}

// TestReceiverBeforeSender: whichever side answers first, and whether the peer chooses a key length or acknowledges all of
// them, the receiver is in place before anything leaves that lets the peer encrypt (host.leaves).
func TestReceiverBeforeSender(t *testing.T) {
	const all = wireccp.Stateless | wireccp.Bits128 | wireccp.Bits40
	request := func(w *world) {
		w.link.Receive(w.now, wire.ProtocolCCP, wire.AppendPacket(nil, wire.CodeConfigureRequest, 9, wireccp.AppendMPPE(nil, wireccp.Stateless|wireccp.Bits40)))
	}
	answer := func(code byte, m wireccp.MPPE) func(w *world) {
		return func(w *world) {
			w.link.Receive(w.now, wire.ProtocolCCP, wire.AppendPacket(nil, code, w.host.askedID, wireccp.AppendMPPE(nil, m)))
		}
	}
	ackAll := answer(wire.CodeConfigureAck, all)
	nak40 := answer(wire.CodeConfigureNak, wireccp.Stateless|wireccp.Bits40)
	ack40 := answer(wire.CodeConfigureAck, wireccp.Stateless|wireccp.Bits40)
	rejectAll := answer(wire.CodeConfigureReject, all)
	ack128 := answer(wire.CodeConfigureAck, wireccp.Stateless|wireccp.Bits128)
	const receive128, receive40, encrypt40 = "receive 128 stateful false", "receive 40 stateful false", "encrypt 40 stateful false"
	for _, c := range []struct {
		name  string
		peer  []func(w *world)
		order []string
	}{
		{"request, Ack of all", []func(w *world){request, ackAll}, []string{receive128, encrypt40}},
		{"Ack of all, request", []func(w *world){ackAll, request}, []string{receive128, encrypt40}},
		{"request, Nak, Ack", []func(w *world){request, nak40, ack40}, []string{receive128, receive40, encrypt40}},
		{"Nak, request, Ack", []func(w *world){nak40, request, ack40}, []string{receive40, encrypt40}},
		{"Nak, Ack, request", []func(w *world){nak40, ack40, request}, []string{receive40, encrypt40}},
		{"request, Reject, Ack", []func(w *world){request, rejectAll, ack128}, []string{receive128, encrypt40}},
		{"Reject, Ack, request", []func(w *world){rejectAll, ack128, request}, []string{receive128, encrypt40}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := windows10()
			k.ccpMute = true // the test speaks CCP in its place
			w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128, 40))
			w.start(time.Second)
			w.host.log = nil
			for _, f := range c.peer {
				f(w)
			}
			if !slices.Equal(w.host.log, c.order) {
				t.Errorf("log %q, want %q", w.host.log, c.order)
			}
		})
	}
}

// TestMPPERequiredSaysWhy checks the text of the Terminate-Request.
func TestMPPERequiredSaysWhy(t *testing.T) {
	w := newWorld(t, macOS(), config(), grant(tenant.MPPERequired, 128))
	w.start(10 * time.Second)
	w.wantFinished(tenant.StageCCP, tenant.ReasonMPPERequired)
	if w.peer.endText != "MPPE required but not agreed on" {
		t.Errorf("the peer reads %q", w.peer.endText)
	}
}

// TestCCPAckWithoutOwnRequest: a peer that acknowledges ours but never asks for MPPE itself keeps the automaton busy for
// ever (Ack-Rcvd, TO+, Req-Sent, RCA and round again); the limit must end it.
func TestCCPAckWithoutOwnRequest(t *testing.T) {
	k := windows10()
	k.ccpQuiet = true
	w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.peer.ccp.m.Open(w.now) // now it answers
	for range 200 {
		w.run(time.Second)
	}
	if w.host.finished != 1 || w.host.reason != tenant.ReasonMPPERequired {
		t.Errorf("finished %d times with %s", w.host.finished, w.host.reason)
	}
}

// TestMPPEReset checks both directions of a Reset-Request.
func TestMPPEReset(t *testing.T) {
	k := pppd()
	k.mppe = wireccp.Bits128
	k.ccp = []wire.Option{mppeOption(k.mppe)}
	g := grant(tenant.MPPERequired, 128)
	g.MPPE.AllowStateful = true
	w := newWorld(t, k, config(), g)
	w.start(time.Second)
	w.wantOpen()
	sent := len(w.queue)
	w.link.Receive(w.now, wire.ProtocolCCP, []byte{wireccp.CodeResetRequest, 9, 0, 4})
	if w.host.resets != 1 {
		t.Errorf("%d resets", w.host.resets)
	}
	wantResetAck(t, w, sent)
	if w.host.resetAfter != sent+1 {
		t.Error("the flagged packet would leave before the Reset-Ack")
	}
	sent = len(w.queue)
	for range 5 {
		w.link.ResetRequest(w.now)
	}
	if n := len(w.queue) - sent; n != 1 || w.queue[sent].packet[0] != wireccp.CodeResetRequest {
		t.Errorf("%d Reset-Requests", n)
	}
	w.now = w.now.Add(resetInterval)
	w.link.ResetRequest(w.now)
	if n := len(w.queue) - sent; n != 2 {
		t.Errorf("%d Reset-Requests after a while", n)
	}
}

// wantResetAck checks that all that was sent since is one Reset-Ack with the identifier of the Reset-Request.
func wantResetAck(t *testing.T, w *world, since int) {
	t.Helper()
	if n := len(w.queue) - since; n != 1 || !bytes.Equal(w.queue[since].packet, []byte{wireccp.CodeResetAck, 9, 0, 4}) {
		t.Errorf("%d frames for a Reset-Request, want one Reset-Ack", n)
	}
}

// TestStatelessMPPEIsNeverReset: there is nothing to reset, but Linux asks for it after a late packet, and takes nothing
// before it has its answer.
func TestStatelessMPPEIsNeverReset(t *testing.T) {
	w := newWorld(t, pppd(), config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	sent := len(w.queue)
	w.link.ResetRequest(w.now)
	if len(w.queue) != sent {
		t.Errorf("%d Reset-Requests", len(w.queue)-sent)
	}
	w.link.Receive(w.now, wire.ProtocolCCP, []byte{wireccp.CodeResetRequest, 9, 0, 4})
	if w.host.resets != 0 {
		t.Errorf("%d resets", w.host.resets)
	}
	wantResetAck(t, w, sent)
}

// TestCCPRequestWhileOpen: what is open already stays, whatever identifier the copy has; a real change renegotiates; a
// peer that insists gets a new negotiation.
func TestCCPRequestWhileOpen(t *testing.T) {
	request := func(id byte, m wireccp.MPPE) []byte {
		return wire.AppendPacket(nil, wire.CodeConfigureRequest, id, wireccp.AppendMPPE(nil, m))
	}
	open := func(t *testing.T) *world {
		w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128, 40))
		w.start(time.Second)
		w.wantOpen()
		w.host.log = nil
		return w
	}
	t.Run("repeated", func(t *testing.T) {
		w := open(t)
		for _, id := range []byte{3, 77} {
			sent := len(w.queue)
			w.link.Receive(w.now, wire.ProtocolCCP, request(id, wireccp.Stateless|wireccp.Bits128))
			if len(w.queue) != sent+1 || w.queue[sent].packet[0] != wire.CodeConfigureAck || w.queue[sent].packet[1] != id {
				t.Fatalf("id %d: answered by %+v", id, w.queue[sent:])
			}
		}
		if len(w.host.log) != 0 || !w.host.open {
			t.Errorf("log %q", w.host.log)
		}
	})
	t.Run("insisting", func(t *testing.T) {
		w := open(t)
		for id := range byte(3) {
			w.link.Receive(w.now, wire.ProtocolCCP, request(100+id, wireccp.Stateless|wireccp.Bits128))
		}
		if want := []string{"network down", "mppe down", "receive 128 stateful false"}; !slices.Equal(w.host.log, want) {
			t.Errorf("log %q, want %q", w.host.log, want)
		}
	})
	t.Run("changed", func(t *testing.T) {
		w := open(t)
		w.link.Receive(w.now, wire.ProtocolCCP, request(100, wireccp.Stateless|wireccp.Bits40))
		if want := []string{"network down", "mppe down", "receive 128 stateful false"}; !slices.Equal(w.host.log, want) {
			t.Errorf("log %q, want %q", w.host.log, want)
		}
		w.run(time.Second) // our new request makes the peer ask once more, for what it really wants
		if !w.host.open || w.host.sending != (MPPEParams{Bits: 128}) || w.host.receive != (MPPEParams{Bits: 128}) {
			t.Errorf("open %v, sending %+v\n%s", w.host.open, w.host.sending, w.dump())
		}
	})
	t.Run("closed by the peer", func(t *testing.T) {
		w := open(t)
		w.link.Receive(w.now, wire.ProtocolCCP, wire.AppendPacket(nil, wire.CodeTerminateRequest, 100, nil))
		if w.host.open {
			t.Error("the network stays open without MPPE")
		}
		w.run(10 * time.Second)
		w.wantFinished(tenant.StageOpen, tenant.ReasonMPPERequired)
	})
}

// TestEarlyIPCP: Windows sends its IPCP request before CCP is open; it must neither open the network without MPPE nor
// wait for its repetition.
func TestEarlyIPCP(t *testing.T) {
	w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
	w.start(400 * time.Millisecond) // twenty times the way of a packet, far less than a restart timer
	w.wantOpen()
	order := []string{"receive 128 stateful false", "encrypt 128 stateful false", "ready 10.1.0.7", "opened 10.1.0.7"}
	var got []string
	for _, line := range w.host.log {
		if slices.Contains(order, line) {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, order) {
		t.Errorf("order %q", got)
	}
}

// TestOptionalMPPE: IPCP lets CCP go first, so that no peer gets our request before it can use it, but waits for no peer
// that has no use for MPPE, is in IPCP itself already, or takes too long.
func TestOptionalMPPE(t *testing.T) {
	const (
		soon = 500 * time.Millisecond // the way of 25 packets, far less than maxWait and a restart timer
		late = maxWait + soon
	)
	with := func(k kind, change func(*kind)) kind { change(&k); return k }
	for _, c := range []struct {
		name        string
		kind        kind
		mppe        MPPEParams
		after, upTo time.Duration // the link opens in between
	}{
		{"pppd drops early IPCP", pppd(), MPPEParams{Bits: 128}, 0, soon},
		{"pppd terminates early IPCP", with(pppd(), func(k *kind) { k.ipcpClosed = true }), MPPEParams{Bits: 128}, 0, soon},
		{"pppd with 40 bits", with(pppd(), func(k *kind) {
			k.mppe = wireccp.Stateless | wireccp.Bits40
			k.ccp = []wire.Option{mppeOption(k.mppe)}
		}), MPPEParams{Bits: 40}, 0, soon},
		{"IPCP with the server, MPPE", with(windows10(), func(k *kind) { k.ipcpWaits = true }), MPPEParams{Bits: 128}, 0, soon},
		{"no CCP", with(macOS(), func(k *kind) { k.ipcpWaits = true }), MPPEParams{}, 0, soon},
		{"MPPE rejected", with(android(), func(k *kind) { k.ipcpWaits = true }), MPPEParams{}, 0, soon},
		{"CCP terminated", with(windows10(), func(k *kind) { k.ipcpWaits, k.ccpMute, k.ccpCloses = true, true, true }), MPPEParams{}, 0, soon},
		{"CCP ignored", with(windows10(), func(k *kind) { k.ipcpWaits, k.ccpMute = true, true }), MPPEParams{}, maxWait, late},
		{"CCP ignored, IPCP first", with(windows10(), func(k *kind) { k.ccpMute = true }), MPPEParams{}, 0, soon},
		{"IPCP first", windows10(), MPPEParams{Bits: 128}, 0, soon},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.kind, config(), grant(tenant.MPPEOptional, 128, 40))
			w.start(c.after)
			if w.host.open {
				t.Errorf("open within %v", c.after)
			}
			w.run(c.upTo - c.after)
			w.wantOpen()
			w.run(time.Minute) // MPPE may come behind IPCP
			w.wantOpen()
			if w.host.sending != c.mppe || w.host.receive != c.mppe {
				t.Errorf("MPPE %+v, receiver %+v, want %+v", w.host.sending, w.host.receive, c.mppe)
			}
			if n := w.frames("8021", "01"); n != 1 {
				t.Errorf("%d IPCP Configure-Requests", n)
			}
		})
	}
}

// TestOptionalMPPEAnew: a renegotiation ends the wait for CCP, and the next login waits anew, whatever became of the first.
func TestOptionalMPPEAnew(t *testing.T) {
	for _, rejected := range []bool{false, true} {
		k := windows10()
		k.ipcpWaits, k.ccpMute = true, true
		w := newWorld(t, k, config(), grant(tenant.MPPEOptional, 128))
		w.start(maxWait / 2)
		if rejected {
			data := wirelcp.AppendProtocolReject(nil, wire.ProtocolCCP, nil)
			w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeProtocolReject, 1, data))
			w.run(200 * time.Millisecond)
			w.wantOpen()
		}
		w.host.think = 2 * maxWait // the first wait would end in the middle of the login
		w.peer.renegotiate(w.now)
		before := w.frames("8021", "01")
		w.run(3 * maxWait)
		if n := w.frames("8021", "01"); n != before || !w.peer.authenticated {
			t.Errorf("rejected %v: %d IPCP Configure-Requests before the second wait is over\n%s", rejected, n-before, w.dump())
		}
		w.run(500 * time.Millisecond)
		w.wantOpen()
	}
}

// TestWINS: name servers that the profile has are given, the others rejected.
func TestWINS(t *testing.T) {
	g := grant(tenant.MPPERequired, 128)
	g.DNS = g.DNS[:1]
	g.WINS = []netip.Addr{netip.MustParseAddr("192.0.2.60"), netip.MustParseAddr("::ffff:192.0.2.61")}
	w := newWorld(t, windows10(), config(), g)
	w.start(time.Second)
	w.wantOpen()
	for typ, want := range map[byte]string{
		wireipcp.OptionPrimaryDNS: "192.0.2.53", wireipcp.OptionSecondaryDNS: "invalid IP",
		wireipcp.OptionPrimaryNBNS: "192.0.2.60", wireipcp.OptionSecondaryNBNS: "192.0.2.61",
	} {
		if got := w.peer.address(typ).String(); got != want {
			t.Errorf("option %d: %s, want %s", typ, got, want)
		}
	}
}

// TestPeerWithoutAddressOption: it is asked to take one (RFC 1332 section 3.3), and believed if it will not.
func TestPeerWithoutAddressOption(t *testing.T) {
	k := pppd()
	w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
	w.peer.ipcp.ask = w.peer.ipcp.ask[2:]
	w.start(time.Second)
	w.wantOpen()
	if got := w.peer.address(wireipcp.OptionAddress); got != clientAddr {
		t.Errorf("after the Configure-Nak the peer has %v", got)
	}
	k.noAddress = true
	w = newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
	w.peer.ipcp.ask = nil
	w.start(time.Second)
	w.wantOpen()
	if n := w.frames("8021", "03"); n != maxPrompts {
		t.Errorf("asked %d times", n)
	}
}

// TestRejectedOptions: a peer that knows none of our LCP options but authentication still gets in.
func TestRejectedOptions(t *testing.T) {
	k := pppd()
	k.lcpRejects = []byte{wirelcp.OptionMRU, wirelcp.OptionACCM, wirelcp.OptionMagic, wirelcp.OptionPFC, wirelcp.OptionACFC}
	cfg := config()
	cfg.Echo = tenant.Echo{Interval: time.Second, Failures: 2}
	w := newWorld(t, k, cfg, grant(tenant.MPPERequired, 128))
	w.start(time.Minute)
	w.wantOpen()
	if w.peer.echoes < 20 {
		t.Errorf("%d echoes", w.peer.echoes)
	}
}

// TestRenegotiation: LCP anew means everything anew, the login first.
func TestRenegotiation(t *testing.T) {
	w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	w.host.log = nil
	w.peer.renegotiate(w.now)
	w.run(30 * time.Millisecond)
	if w.host.open || w.host.receive.Bits != 0 || w.link.authenticated {
		t.Errorf("after the new Configure-Request: %q", w.host.log)
	}
	w.run(time.Second)
	w.wantOpen()
	if len(w.host.requests) != 2 || w.host.requests[1].Attempt != 2 {
		t.Errorf("%d logins", len(w.host.requests))
	}
	if want := []string{"network down", "mppe down"}; !slices.Equal(w.host.log[:2], want) {
		t.Errorf("order %q", w.host.log)
	}
}

// TestGuessesSurviveRenegotiation: a peer must not get fresh guesses by starting LCP anew.
func TestGuessesSurviveRenegotiation(t *testing.T) {
	k := pppd()
	k.passwords = []string{"a", "b", "c", "d", "e", "f"}
	w := newWorld(t, k, config(), grant(tenant.MPPERequired, 128))
	w.host.think = 100 * time.Millisecond
	w.start(300 * time.Millisecond)
	for range 5 {
		w.peer.renegotiate(w.now)
		w.run(300 * time.Millisecond)
	}
	w.run(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonWrongCredentials)
	refused := 0
	for _, line := range w.host.log {
		if strings.HasPrefix(line, "authenticate") {
			refused++
		}
	}
	if refused > 2*defaultMaxAuthFailures {
		t.Errorf("%d guesses", refused)
	}
}

// TestEndlessRenegotiation: a peer that never logs in can not hold its slot by starting LCP over and over.
func TestEndlessRenegotiation(t *testing.T) {
	k := pppd()
	w := newWorld(t, k, config(), Grant{})
	w.host.think = time.Hour
	w.start(time.Second)
	for range maxRenegotiations + 1 {
		w.peer.renegotiate(w.now)
		w.run(time.Second)
	}
	w.run(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
}

// TestEchoTimeout: a silent peer is gone within (Failures + 1) intervals, one that sends anything is not.
func TestEchoTimeout(t *testing.T) {
	for _, c := range []tenant.Echo{
		{Interval: 20 * time.Second, Failures: 3},
		{Interval: 2 * time.Second, Failures: 2},
		{Interval: 5 * time.Second, Failures: 0},
	} {
		cfg := config()
		cfg.Echo = c
		w := newWorld(t, windows10(), cfg, grant(tenant.MPPERequired, 128))
		w.start(time.Hour)
		w.wantOpen()
		if w.peer.echoes < int(time.Hour/c.Interval)*9/10 {
			t.Errorf("%d echoes in an hour at %v", w.peer.echoes, c.Interval)
		}
		w.cut = true
		cut := w.now
		for w.host.finished == 0 && w.now.Sub(cut) < time.Hour {
			w.run(100 * time.Millisecond)
		}
		w.wantFinished(tenant.StageOpen, tenant.ReasonLostCarrier)
		failures := time.Duration(max(c.Failures, 1))
		if got := w.now.Sub(cut); got > failures*c.Interval+c.Interval/2+200*time.Millisecond || got < failures*c.Interval/2 {
			t.Errorf("echo %v: gone after %v", c, got)
		}
	}
}

func TestActivityCountsAsLife(t *testing.T) {
	k := windows10()
	k.deaf = true
	cfg := config()
	cfg.Echo = tenant.Echo{Interval: 10 * time.Second, Failures: 2}
	w := newWorld(t, k, cfg, grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	for range 60 {
		w.run(9 * time.Second)
		w.link.NoteActivity(w.now)
	}
	w.wantOpen()
	w.run(30 * time.Second)
	w.wantFinished(tenant.StageOpen, tenant.ReasonLostCarrier)
}

// TestEchoBeforeOpen: a peer that dies in the middle of its login is a refused login, not a lost session.
func TestEchoBeforeOpen(t *testing.T) {
	cfg := config()
	cfg.Echo = tenant.Echo{Interval: 10 * time.Second, Failures: 2}
	w := newWorld(t, windows10(), cfg, grant(tenant.MPPERequired, 128))
	w.host.think = time.Hour
	w.start(time.Second)
	w.cut = true
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonPeerTimeout)
}

func TestPeerHangsUp(t *testing.T) {
	w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	w.peer.hangUp(w.now)
	w.run(30 * time.Millisecond)
	if w.host.open {
		t.Error("the network is open after the peer's Terminate-Request")
	}
	w.run(2 * time.Second)
	w.wantFinished(tenant.StageOpen, tenant.ReasonUserRequest)
	if w.host.detail != `The peer ended the link ("User request").` {
		t.Errorf("detail %q", w.host.detail)
	}
	if !w.peer.ended {
		t.Error("the peer did not get its Terminate-Ack")
	}
}

func TestWeHangUp(t *testing.T) {
	for _, cut := range []bool{false, true} {
		w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
		w.start(time.Second)
		w.wantOpen()
		w.cut = cut
		began := w.now
		w.link.Terminate(w.now, tenant.ReasonAdminDisconnect, "Disconnected by the operator")
		if w.host.open {
			t.Error("the network is open after Terminate")
		}
		w.link.Terminate(w.now, tenant.ReasonShutdown, "too late") // the first reason stands
		for w.host.finished == 0 && w.now.Sub(began) < time.Minute {
			w.run(10 * time.Millisecond)
		}
		w.wantFinished(tenant.StageOpen, tenant.ReasonAdminDisconnect)
		want := 50 * time.Millisecond // there and back
		if cut {
			want = defaultMaxTerminate * defaultRestartTimer
		}
		if took := w.now.Sub(began); took > want {
			t.Errorf("cut %v: took %v", cut, took)
		}
		if !cut && w.peer.endText != "Disconnected by the operator" {
			t.Errorf("the peer reads %q", w.peer.endText)
		}
	}
}

func TestTerminateInEveryPhase(t *testing.T) {
	for ms := range 300 {
		w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
		w.start(time.Duration(ms) * time.Millisecond)
		w.link.Terminate(w.now, tenant.ReasonShutdown, "bye")
		w.run(10 * time.Second)
		if w.host.finished != 1 || w.host.reason != tenant.ReasonShutdown {
			t.Fatalf("after %d ms: finished %d times with %s", ms, w.host.finished, w.host.reason)
		}
	}
	w := newWorld(t, windows10(), config(), Grant{})
	w.link.Terminate(w.now, "", "bye") // before Start, and without a reason
	w.wantFinished(tenant.StageLCP, tenant.ReasonAdminDisconnect)
}

// TestHangUpInEveryPhase lets the peer give up at each moment of its login.
func TestHangUpInEveryPhase(t *testing.T) {
	for ms := 0; ms < 300; ms += 3 {
		w := newWorld(t, windows10(), config(), grant(tenant.MPPERequired, 128))
		w.start(time.Duration(ms) * time.Millisecond)
		w.peer.hangUp(w.now)
		w.run(2 * time.Minute)
		if w.host.finished != 1 {
			t.Fatalf("after %d ms: finished %d times\n%s", ms, w.host.finished, w.dump())
		}
	}
}

// TestNobodyThere reads the schedule of our first Configure-Requests.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t, windows10(), config(), Grant{})
	w.cut = true
	w.link.Start(w.now)
	w.run(2 * time.Minute)
	w.wantFinished(tenant.StageLCP, tenant.ReasonPeerTimeout)
	var at []string
	for _, line := range w.trace {
		if f := strings.Fields(line); f[1] == "link" {
			at = append(at, f[0])
		}
	}
	want := []string{"0.000", "1.000", "4.000", "7.000", "10.000", "13.000", "16.000", "19.000", "22.000", "25.000"}
	if !slices.Equal(at, want) {
		t.Errorf("sent at %q, want %q", at, want)
	}
}

// TestSilentAuthentication: a peer that opens LCP and then says nothing is given up.
func TestSilentAuthentication(t *testing.T) {
	for _, method := range []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthPAP} {
		cfg := config()
		cfg.AuthMethods = []tenant.AuthMethod{method}
		k := pppd()
		k.methods = cfg.AuthMethods
		w := newWorld(t, k, cfg, Grant{})
		w.start(30 * time.Millisecond)
		w.cut = true
		w.run(2 * time.Minute)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonPeerTimeout)
	}
}

// TestLoopback: a line that sends everything back never gets past LCP.
func TestLoopback(t *testing.T) {
	w := newWorld(t, pppd(), config(), Grant{})
	w.link.Start(w.now)
	for range 100000 {
		for i := range w.queue {
			w.queue[i].toPeer = false
		}
		at, what := w.next()
		if what == nil || w.link.finished {
			break
		}
		w.now = at
		if len(w.queue) > 0 || !at.IsZero() {
			what()
		}
	}
	if w.host.finished != 1 || w.host.stage != tenant.StageLCP {
		t.Errorf("finished %d times at %s", w.host.finished, w.host.stage)
	}
}
