package ppp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// eapResponse builds a Response of the peer.
func eapResponse(id, typ byte, data ...byte) []byte {
	b, err := eap.Packet{Code: eap.CodeResponse, ID: id, Type: typ, Data: data}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// eapStep is a decision that goes on with a Request.
func eapStep(r AuthRequest, id, typ byte, data ...byte) Decision {
	b, err := eap.Packet{Code: eap.CodeRequest, ID: id, Type: typ, Data: data}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return Decision{Serial: r.Serial, Next: &EAPStep{Packet: b, State: id}}
}

// answer hands a Response to the link and lets the verdict come.
func (w *world) answer(packet []byte) {
	w.t.Helper()
	w.link.Receive(w.now, wire.ProtocolEAP, packet)
	w.run(time.Millisecond)
}

// last returns the latest frame of a protocol that the link has sent, in hexadecimal digits.
func (w *world) last(protocol string) string {
	for _, line := range slices.Backward(w.trace) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "link" && f[2] == protocol {
			return f[3]
		}
	}
	return ""
}

// TestEAPLogin goes through a whole login: the peer refuses the first method, and the state of each step comes back.
func TestEAPLogin(t *testing.T) {
	w := newWorld(t, pppdEAP(), Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}, CCP: true}, grant(tenant.MPPERequired, 128))
	w.start(time.Second)
	w.wantOpen()
	if n := len(w.host.requests); n != 4 {
		t.Fatalf("%d requests", n)
	}
	ops := []any{nil, byte(0), eap.OpResponse, eap.OpSuccess}
	for i, r := range w.host.requests {
		p, err := eap.ParsePacket(r.EAP)
		if err != nil || p.ID != r.ID || r.Method != tenant.AuthEAP || r.Name != "alice" || r.Attempt != 1 || r.PeerMRU != 1500 ||
			r.Password != nil || r.Response != nil || r.Challenge != nil {
			t.Errorf("request %d: %+v %v", i, r, err)
		}
		if c, ok := r.State.(conversation); ok && c.op != ops[i] || !ok && (i > 0 || r.State != nil) {
			t.Errorf("request %d has the state %+v", i, r.State)
		}
		if i > 0 && r.Serial == w.host.requests[i-1].Serial {
			t.Errorf("request %d has the serial of the one before it", i)
		}
	}
	if n := w.frames("c227", "03"); n != 1 {
		t.Errorf("%d copies of Success", n)
	}
}

// TestEAPRefused: the peer sees the server's own Failure in the method, and then that of EAP.
func TestEAPRefused(t *testing.T) {
	k := pppdEAP()
	k.passwords = []string{"wrong"}
	w := newWorld(t, k, Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}, CCP: true}, grant(tenant.MPPERequired, 128))
	w.start(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonWrongCredentials)
	if !strings.HasPrefix(w.peer.failure, "E=691") || !w.peer.ended {
		t.Errorf("the peer was told %q", w.peer.failure)
	}
	last := w.host.requests[len(w.host.requests)-1]
	if got, want := w.last("c227"), fmt.Sprintf("04%02x0004", last.ID); got != want {
		t.Errorf("the last packet is %s, want %s", got, want)
	}
}

// TestEAPLockStep: only a Response with the identifier of our latest Request counts, and only once.
func TestEAPLockStep(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	if got := w.last("c227"); got != "0101000501" {
		t.Fatalf("we began with %s", got)
	}
	noise := func(what string) {
		t.Helper()
		sent, asked := len(w.trace), len(w.host.requests)
		for _, p := range [][]byte{
			nil,
			{2, 1, 0, 4},                           // no type
			{2, 1, 0, 9, 1, 'a'},                   // shorter than it says
			{5, 1, 0, 5, 1},                        // no code
			{1, 1, 0, 5, 1},                        // a Request: nobody logs in to the client
			{3, 1, 0, 4},                           // Success
			{4, 1, 0, 4},                           // Failure
			eapResponse(200, eap.TypeIdentity),     // no Request of ours
			eapResponse(0, eap.TypeIdentity, 'x'),  // the one before
			eapResponse(77, eap.TypeMSCHAPv2, 'x'), // the one after
		} {
			w.link.Receive(w.now, wire.ProtocolEAP, p)
		}
		w.link.Receive(w.now, wire.ProtocolPAP, []byte{1, 1, 0, 8, 1, 'a', 1, 'b'})
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
		if len(w.trace) != sent || len(w.host.requests) != asked {
			t.Errorf("%s: %q, %d requests", what, w.trace[sent:], len(w.host.requests)-asked)
		}
	}
	noise("before the identity")
	w.link.Receive(w.now, wire.ProtocolEAP, eapResponse(1, eap.TypeNak, eap.TypeTLS)) // no answer to this question
	if len(w.host.requests) != 0 {
		t.Error("a Nak was taken for an identity")
	}

	w.host.verdict = func(r AuthRequest) Decision { return eapStep(r, 40+byte(len(w.host.requests)), eap.TypeTLS, 0x20) }
	w.link.Receive(w.now, wire.ProtocolEAP, append(eapResponse(1, eap.TypeIdentity, 'a'), 0, 0)) // with padding
	noise("while we wait for the verdict")
	w.link.Receive(w.now, wire.ProtocolEAP, eapResponse(1, eap.TypeIdentity, 'a'))
	w.link.Receive(w.now, wire.ProtocolEAP, eapResponse(1, eap.TypeIdentity, 'b'))
	w.run(time.Millisecond)
	w.link.Receive(w.now, wire.ProtocolEAP, eapResponse(1, eap.TypeIdentity, 'a'))
	if len(w.host.requests) != 1 {
		t.Fatalf("copies were asked about: %+v", w.host.requests)
	}
	if r := w.host.requests[0]; r.Name != "a" || !bytes.Equal(r.EAP, eapResponse(1, eap.TypeIdentity, 'a')) || r.State != nil {
		t.Errorf("request %+v", r)
	}
	if got := w.last("c227"); got != "012900060d20" {
		t.Errorf("the server's Request became %s", got)
	}
	noise("before the answer to the method")

	w.answer(eapResponse(41, eap.TypeNak, eap.TypePEAP))
	if r := w.host.requests[1]; len(w.host.requests) != 2 || r.State != byte(41) || r.ID != 41 || r.Name != "a" {
		t.Errorf("request %+v", r)
	}
}

// TestEAPIdentity: everything up to the length of a User-Name is passed on, the rest is refused with a reason.
func TestEAPIdentity(t *testing.T) {
	for n, ok := range map[int]bool{0: true, 1: true, eap.MaxIdentityLen: true, eap.MaxIdentityLen + 1: false, 1400: false} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.think = time.Hour
		w.answer(eapResponse(1, eap.TypeIdentity, bytes.Repeat([]byte{'x'}, n)...))
		if got := len(w.host.requests); got != map[bool]int{true: 1, false: 0}[ok] {
			t.Errorf("%d octets: %d requests", n, got)
		}
		if ok {
			continue
		}
		if got := w.last("c227"); got != "04010004" {
			t.Errorf("%d octets: %s", n, got)
		}
		w.run(time.Minute)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
		if !strings.Contains(w.host.detail, fmt.Sprint(n)) {
			t.Errorf("detail %q", w.host.detail)
		}
	}
}

// TestEAPRepetition: a Request is repeated with the same octets, for as long as its step allows, and then the link ends.
func TestEAPRepetition(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		copies  int
		ends    time.Duration
	}{
		{"the link decides", 0, 10, 30 * time.Second},
		{"less than a restart timer", time.Second, 1, 3 * time.Second},
		{"seven seconds", 7 * time.Second, 2, 7 * time.Second},
		{"a user types", 45 * time.Second, 10, 45 * time.Second},
		{"an hour is too long", time.Hour, 10, time.Minute},
	} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.verdict = func(r AuthRequest) Decision {
			d := eapStep(r, 5, eap.TypeGTC, 'x')
			d.Next.Timeout = c.timeout
			return d
		}
		w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
		w.run(c.ends - 10*time.Millisecond)
		if w.host.finished != 0 || w.link.Phase() != tenant.StageAuthentication {
			t.Errorf("%s: ended early", c.name)
		}
		if n := w.frames("c227", "010500060678"); n != c.copies {
			t.Errorf("%s: %d copies, want %d", c.name, n, c.copies)
		}
		w.run(20 * time.Second)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonPeerTimeout)
	}
	// A peer that says nothing at all.
	w := toAuth(t, tenant.AuthEAP)
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonPeerTimeout)
	if n := w.frames("c227", "0101000501"); n != defaultMaxConfigure {
		t.Errorf("%d questions for the identity", n)
	}
}

// TestEAPServerFaults: what the peer must not get ends the login with a Failure and a reason for the operator.
func TestEAPServerFaults(t *testing.T) {
	long := make([]byte, 1500)
	packet := func(b []byte) func(AuthRequest) Decision {
		return func(r AuthRequest) Decision { return Decision{Serial: r.Serial, Next: &EAPStep{Packet: b}} }
	}
	for _, c := range []struct {
		name    string
		verdict func(r AuthRequest) Decision
		detail  string
	}{
		{"an empty step", packet(nil), "something else"},
		{"a Response", packet(eapResponse(2, eap.TypeTLS)), "something else"},
		{"a Success as a step", packet([]byte{3, 1, 0, 4}), "something else"},
		{"a cut packet", packet([]byte{1, 2, 0, 9, 13, 0}), "something else"},
		{"the identifier again", func(r AuthRequest) Decision { return eapStep(r, r.ID, eap.TypeTLS, 0x20) }, "same identifier"},
		{"over the MRU", func(r AuthRequest) Decision { return eapStep(r, 2, eap.TypeTLS, long...) }, "1505 octets, but the peer's MRU is 1500"},
		{"Failure for one who may", func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, EAP: []byte{4, r.ID, 0, 4}, Grant: grant(tenant.MPPEDisabled)}
		}, "says otherwise"},
		{"a Request for one who may", func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, EAP: eapStep(r, 9, eap.TypeTLS).Next.Packet, Grant: grant(tenant.MPPEDisabled)}
		}, "says otherwise"},
		{"half a packet for one who may", func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, EAP: []byte{3, r.ID}, Grant: grant(tenant.MPPEDisabled)}
		}, "says otherwise"},
	} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.verdict = c.verdict
		w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
		if got := w.last("c227"); got != "04010004" || w.link.authenticated {
			t.Errorf("%s: the peer got %s, authenticated %v", c.name, got, w.link.authenticated)
		}
		w.run(time.Minute)
		if w.host.finished != 1 || w.host.reason != tenant.ReasonProtocolError || w.host.stage != tenant.StageAuthentication ||
			!strings.Contains(w.host.detail, c.detail) {
			t.Errorf("%s: %s %s %q", c.name, w.host.stage, w.host.reason, w.host.detail)
		}
	}
}

// TestEAPLargest: a packet of exactly the MRU passes, both ways.
func TestEAPLargest(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	w.host.verdict = func(r AuthRequest) Decision { return eapStep(r, r.ID+1, eap.TypeTLS, make([]byte, 1495)...) }
	w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
	w.answer(eapResponse(2, eap.TypeTLS, make([]byte, 1495)...))
	if n := len(w.host.requests); n != 2 || len(w.host.requests[1].EAP) != 1500 || w.frames("c227", "03") != 0 || w.link.closing {
		t.Fatalf("%d requests\n%s", n, w.dump())
	}
	w.answer(eapResponse(3, eap.TypeTLS, make([]byte, 1496)...))
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
	if len(w.host.requests) != 2 || !strings.Contains(w.host.detail, "1501") {
		t.Errorf("detail %q", w.host.detail)
	}
}

// TestEAPRounds: a conversation without end ends.
func TestEAPRounds(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	w.host.verdict = func(r AuthRequest) Decision { return eapStep(r, r.ID+1, eap.TypeTLS, 0) }
	w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
	for id := byte(2); w.host.finished == 0 && id < 100; id++ {
		w.answer(eapResponse(id, eap.TypeTLS, 0))
	}
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
	if n := len(w.host.requests); n != 1+maxEAPRounds {
		t.Errorf("%d requests", n)
	}
}

// TestEAPDenied: a refusal has no second try, and nobody refused is told Success.
func TestEAPDenied(t *testing.T) {
	for _, packet := range [][]byte{nil, {4, 1, 0, 4}, {4, 2, 0, 4}, {3, 1, 0, 4}, {9}} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.verdict = func(r AuthRequest) Decision {
			return Decision{
				Serial: r.Serial, Reason: tenant.ReasonUserExpired, Message: "no more", Retry: true, ChangePassword: true, EAP: packet,
			}
		}
		w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
		if got := w.last("c227"); got != "04010004" || w.frames("c227", "03") != 0 {
			t.Errorf("%x became %s", packet, got)
		}
		w.run(time.Minute)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonUserExpired)
		if !strings.Contains(w.host.detail, "no more") {
			t.Errorf("detail %q", w.host.detail)
		}
	}
}

// TestEAPSuccess has the identifier of the peer's last Response, whatever the server thinks, and is repeated only as long
// as nothing is heard of the network.
func TestEAPSuccess(t *testing.T) {
	for _, packet := range [][]byte{nil, {3, 1, 0, 4}, {3, 2, 0, 4}} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.verdict = func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, EAP: packet, Grant: grant(tenant.MPPERequired, 128)}
		}
		w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
		w.answer(eapResponse(1, eap.TypeIdentity, 'a')) // a late copy
		if n := w.frames("c227", "03"); n != 1 || w.last("c227") != "03010004" || len(w.host.requests) != 1 {
			t.Errorf("%x: %d copies, the last is %s", packet, n, w.last("c227"))
		}
		w.run(7 * time.Second)
		if n := w.frames("c227", "03010004"); n != 3 {
			t.Errorf("%d copies in seven seconds", n)
		}
		w.link.Receive(w.now, wire.ProtocolCCP, []byte{1, 1, 0, 4})
		w.run(9 * time.Second)
		if n := w.frames("c227", "03010004"); n != 3 {
			t.Errorf("%d copies after the peer went on", n)
		}
	}
}

// TestEAPRestart: before the peer is in a method it is asked for its identity again; in the middle of one LCP starts anew,
// because RFC 3748 section 2.1 lets no other method in.
func TestEAPRestart(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	restart := true
	w.host.verdict = func(r AuthRequest) Decision {
		if restart {
			return Decision{Serial: r.Serial, Restart: true, Reason: tenant.ReasonRadiusTimeout}
		}
		return eapStep(r, r.ID+1, eap.TypeTLS, 0x20)
	}
	w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
	if got := w.last("c227"); got != "0102000501" || w.link.Phase() != tenant.StageAuthentication {
		t.Fatalf("after the first Restart: %s\n%s", got, w.dump())
	}
	restart = false
	w.answer(eapResponse(2, eap.TypeIdentity, 'a'))
	w.answer(eapResponse(3, eap.TypeNak, eap.TypePEAP))
	restart = true
	w.answer(eapResponse(4, eap.TypeNak, eap.TypePEAP)) // still no method that both take
	if got := w.last("c227"); got != "0105000501" {
		t.Fatalf("after the second Restart: %s\n%s", got, w.dump())
	}
	for i, r := range w.host.requests {
		if r.Attempt != 1 {
			t.Errorf("request %d is attempt %d", i, r.Attempt)
		}
	}
	restart = false
	w.answer(eapResponse(5, eap.TypeIdentity, 'a'))
	restart = true
	w.answer(eapResponse(6, eap.TypeTLS, 0)) // in the middle
	if w.link.Phase() != tenant.StageLCP || w.frames("c021", "01") != 2 || w.host.finished != 0 {
		t.Fatalf("after the third Restart: %s\n%s", w.link.Phase(), w.dump())
	}
	w.cut = false
	w.link.Receive(w.now, wire.ProtocolEAP, eapResponse(6, eap.TypeTLS, 0)) // a late copy, for nobody
	w.peer.eapType = eap.TypeMSCHAPv2
	w.run(time.Second) // LCP again, and the peer's identity; the server is gone a fourth time
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonRadiusTimeout)
	if !w.peer.ended || w.frames("c227", "04") != 1 {
		t.Errorf("the peer was not told\n%s", w.dump())
	}
	if n := len(w.host.requests); n != 7 {
		t.Errorf("%d requests", n)
	}
}

// TestEAPRestartInTheMiddle ends well with a real peer: it logs in with the second server.
func TestEAPRestartInTheMiddle(t *testing.T) {
	for _, k := range []kind{pppdEAP(), windowsEAP()} {
		w := newWorld(t, k, Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}, CCP: true}, grant(tenant.MPPERequired, 128))
		served := w.host.verdict
		restarts := 0
		w.host.verdict = func(r AuthRequest) Decision {
			if c, ok := r.State.(conversation); ok && c.op == eap.OpResponse && restarts == 0 {
				restarts++
				return Decision{Serial: r.Serial, Restart: true, Reason: tenant.ReasonRadiusTimeout}
			}
			return served(r)
		}
		w.start(2 * time.Second)
		w.wantOpen()
		if restarts != 1 {
			t.Errorf("%s: %d restarts", k.name, restarts)
		}
	}
}

// TestEAPNotification passes through like any other Request, and the method goes on behind it.
func TestEAPNotification(t *testing.T) {
	k := pppdEAP()
	w := newWorld(t, k, Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}, CCP: true}, grant(tenant.MPPERequired, 128))
	served := w.host.verdict
	var kept Decision
	w.host.verdict = func(r AuthRequest) Decision {
		if r.State == "notified" {
			kept.Serial = r.Serial
			kept.Next.Packet[1] = r.ID + 1
			return kept
		}
		d := served(r)
		if c, ok := r.State.(conversation); ok && c.op == 0 { // the Nak: say something before the challenge
			kept = d
			d = eapStep(r, r.ID+1, eap.TypeNotification, []byte("hello")...)
			d.Next.State = "notified"
		}
		return d
	}
	w.start(time.Second)
	w.wantOpen()
	if w.peer.success != "hello" {
		t.Errorf("the peer was told %q", w.peer.success)
	}
}

// TestStepWithoutEAP: a decision that belongs to EAP lets nobody in elsewhere.
func TestStepWithoutEAP(t *testing.T) {
	for _, d := range []Decision{{Restart: true}, {Next: &EAPStep{Packet: []byte{1, 2, 0, 5, 1}}}} {
		w := toAuth(t, tenant.AuthMSCHAPv2)
		w.host.verdict = func(r AuthRequest) Decision {
			d.Serial, d.Success, d.Grant = r.Serial, "S=", grant(tenant.MPPERequired, 128)
			return d
		}
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
		w.run(time.Minute)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
		if w.frames("c223", "03") != 0 {
			t.Error("let in")
		}
	}
}

// TestEAPLateVerdict: the peer starts LCP anew while the server thinks; what comes for the old conversation is void.
func TestEAPLateVerdict(t *testing.T) {
	w := newWorld(t, pppdEAP(), Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}, CCP: true}, grant(tenant.MPPERequired, 128))
	w.host.think = 10 * time.Second
	w.start(time.Second)
	if len(w.host.requests) != 1 {
		t.Fatalf("%d requests", len(w.host.requests))
	}
	w.host.think = 0
	w.peer.renegotiate(w.now)
	w.run(time.Second)
	w.wantOpen()
	w.run(20 * time.Second) // the late verdict comes
	w.wantOpen()
	if n := w.frames("c227", "03"); n != 1 {
		t.Errorf("%d copies of Success", n)
	}
}

// TestEAPOwnsItsMemory, and borrows the owner's only while Decide runs.
func TestEAPOwnsItsMemory(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	step := eapStep(AuthRequest{}, 7, eap.TypeTLS, 0x20)
	w.host.verdict = func(r AuthRequest) Decision { step.Serial = r.Serial; return step }
	packet := eapResponse(1, eap.TypeIdentity, 'a')
	w.link.Receive(w.now, wire.ProtocolEAP, packet)
	clear(packet)
	w.run(time.Millisecond)
	clear(step.Next.Packet)
	w.run(4 * time.Second)
	if n := w.frames("c227", "010700060d20"); n != 2 {
		t.Errorf("%d good copies\n%s", n, w.dump())
	}
	if r := w.host.requests[0]; r.Name != "a" || !bytes.Equal(r.EAP, eapResponse(1, eap.TypeIdentity, 'a')) {
		t.Errorf("request changed: %+v", r)
	}
}

// TestEAPLostLCPAck: a peer that repeats its LCP request has not seen our Request either, and gets it at once.
func TestEAPLostLCPAck(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	w.run(2500 * time.Millisecond)
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, 1, 1, w.peer.lcp.AppendRequest(nil)))
	if n := w.frames("c227", "0101000501"); n != 2 {
		t.Errorf("%d questions", n)
	}
}

// TestEAPProtocolReject of a peer that agreed to it.
func TestEAPProtocolReject(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeProtocolReject, 1, []byte{0xc2, 0x27, 1, 1, 0, 5, 1}))
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonNoCommonAuthMethod)
}

// TestEAPBehindALAC: what a LAC has settled in LCP is taken over, but EAP begins with us.
func TestEAPBehindALAC(t *testing.T) {
	for _, p := range []*ProxyAuth{nil, {Name: "alice", ID: 1, Challenge: make([]byte, 16), Response: make([]byte, 16)}} {
		w := newWorld(t, pppdEAP(), Config{AuthMethods: []tenant.AuthMethod{tenant.AuthEAP}}, grant(tenant.MPPEDisabled))
		sent := wirelcp.AppendAuth(nil, wirelcp.Auth{Protocol: wire.ProtocolEAP})
		w.link.StartProxied(w.now, Proxy{LastSent: sent, LastReceived: []byte{}, Auth: p})
		if w.link.Phase() != tenant.StageAuthentication || w.last("c227") != "0101000501" || len(w.host.requests) != 0 {
			t.Errorf("%+v: phase %s, %d requests\n%s", p, w.link.Phase(), len(w.host.requests), w.dump())
		}
	}
}
