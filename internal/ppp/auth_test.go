package ppp

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// toAuth returns a world whose link is in the middle of the login; what the test sends then is its own. The peer is
// silent from here on.
func toAuth(t *testing.T, method tenant.AuthMethod) *world {
	t.Helper()
	k := pppd()
	k.methods = []tenant.AuthMethod{method}
	cfg := config()
	cfg.AuthMethods = k.methods
	w := newWorld(t, k, cfg, grant(tenant.MPPERequired, 128))
	w.start(50 * time.Millisecond)
	if w.link.Phase() != tenant.StageAuthentication {
		t.Fatalf("phase %s", w.link.Phase())
	}
	w.queue, w.cut = nil, true
	return w
}

// frames counts what the link has sent of a protocol and code.
func (w *world) frames(protocol string, code string) int {
	n := 0
	for _, line := range w.trace {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "link" && f[2] == protocol && strings.HasPrefix(f[3], code) {
			n++
		}
	}
	return n
}

func response(id byte, fill byte) []byte {
	data := append([]byte{49}, bytes.Repeat([]byte{fill}, 49)...)
	return wire.AppendPacket(nil, 2, id, append(data, "alice"...))
}

// TestCHAPRepetitions: a Response that comes again gets the same answer again and is no new attempt.
func TestCHAPRepetitions(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		w := toAuth(t, tenant.AuthMSCHAPv2)
		w.host.verdict = func(r AuthRequest) Decision {
			d := Decision{Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128), Success: "S=", Retry: true}
			if !allowed {
				d.Reason = tenant.ReasonWrongCredentials
			}
			return d
		}
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0xaa))
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0xaa)) // while we wait: nothing to say yet
		code := "04"
		if allowed {
			code = "03"
		}
		if n := w.frames("c223", code); n != 0 || len(w.host.requests) != 1 {
			t.Fatalf("allowed %v: %d answers and %d requests before the verdict", allowed, n, len(w.host.requests))
		}
		w.run(time.Millisecond)
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0xaa))
		if n := w.frames("c223", code); n != 2 || len(w.host.requests) != 1 {
			t.Errorf("allowed %v: %d answers, %d requests", allowed, n, len(w.host.requests))
		}
		w.link.Receive(w.now, wire.ProtocolCHAP, response(77, 0xaa))
		if want := map[bool]int{true: 1, false: 2}[allowed]; len(w.host.requests) != want {
			t.Errorf("allowed %v: %d requests after a new identifier, want %d", allowed, len(w.host.requests), want)
		}
	}
}

// TestCHAPSecondResponse: of two Responses to one Challenge the later counts, but not without end.
func TestCHAPSecondResponse(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.think = time.Second
	for i := range byte(6) {
		w.link.Receive(w.now, wire.ProtocolCHAP, response(1, i))
	}
	if n := len(w.host.requests); n != 1+maxReplaced {
		t.Fatalf("%d requests", n)
	}
	last := w.host.requests[maxReplaced]
	if last.Attempt != 1 || last.Response[0] != maxReplaced || last.Serial == w.host.requests[0].Serial {
		t.Errorf("last request %+v", last)
	}
	w.run(2 * time.Second)
	if n := w.frames("c223", "04"); n != 1 {
		t.Errorf("%d failures for one login", n)
	}
}

// TestSuccessIsRepeated until the peer goes on to the network: the peer of CHAP never asks again.
func TestSuccessIsRepeated(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = func(r AuthRequest) Decision {
		return Decision{Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128), Success: "S="}
	}
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(7 * time.Second)
	if n := w.frames("c223", "03"); n != 3 {
		t.Errorf("%d copies in seven seconds", n)
	}
	w.link.Receive(w.now, wire.ProtocolCCP, []byte{1, 1, 0, 4})
	w.run(9 * time.Second)
	if n := w.frames("c223", "03"); n != 3 {
		t.Errorf("%d copies after the peer went on", n)
	}
}

// TestSuccessIsNotRepeatedForEver, even if the rest of the link does not care.
func TestSuccessIsNotRepeatedForEver(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = func(r AuthRequest) Decision {
		return Decision{Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128), Success: "S="}
	}
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(time.Hour)
	if n := w.frames("c223", "03"); n > 1+defaultMaxConfigure {
		t.Errorf("%d copies", n)
	}
	w.wantFinished(tenant.StageCCP, tenant.ReasonMPPERequired)
}

// TestRetryRunsOut: after a Failure with R=1 the user has a minute, then the link ends with the reason of the refusal.
func TestRetryRunsOut(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(time.Millisecond)
	began := w.now
	if n := w.frames("c223", "01"); n != 1 {
		t.Fatalf("%d challenges", n)
	}
	w.run(58 * time.Second)
	if w.host.finished != 0 {
		t.Fatalf("finished after %v", w.now.Sub(began))
	}
	if n := w.frames("c223", "04"); n != 1+maxFailures {
		t.Errorf("%d copies of the Failure", n)
	}
	if n := w.frames("c223", "01"); n != 1 {
		t.Errorf("%d challenges: RFC 2759 has the next one in the Failure", n)
	}
	w.run(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonWrongCredentials)
}

// TestPAPRepetitions: each copy has a new identifier, and the answer takes the latest.
func TestPAPRepetitions(t *testing.T) {
	w := toAuth(t, tenant.AuthPAP)
	w.host.think = time.Second
	request := func(id byte, password string) []byte {
		return wire.AppendPacket(nil, 1, id, append([]byte{5, 'a', 'l', 'i', 'c', 'e', byte(len(password))}, password...))
	}
	w.link.Receive(w.now, wire.ProtocolPAP, request(1, "clientPass"))
	w.link.Receive(w.now, wire.ProtocolPAP, request(2, "clientPass"))
	w.link.Receive(w.now, wire.ProtocolPAP, request(3, "other"))
	if len(w.host.requests) != 1 || string(w.host.requests[0].Password) != "clientPass" {
		t.Fatalf("requests %+v", w.host.requests)
	}
	w.run(2 * time.Second)
	if n := w.frames("c023", "0202"); n != 1 {
		t.Errorf("%d acks to the second copy\n%s", n, w.dump())
	}
	w.link.Receive(w.now, wire.ProtocolPAP, request(9, "clientPass"))
	if n := w.frames("c023", "0209"); n != 1 || len(w.host.requests) != 1 {
		t.Errorf("%d acks to a late copy, %d requests", n, len(w.host.requests))
	}

	w = toAuth(t, tenant.AuthPAP)
	w.link.Receive(w.now, wire.ProtocolPAP, request(1, "wrong"))
	w.run(time.Millisecond)
	w.link.Receive(w.now, wire.ProtocolPAP, request(1, "wrong")) // the network's copy of the refused one
	if n := w.frames("c023", "0301"); n != 2 || len(w.host.requests) != 1 {
		t.Errorf("%d naks, %d requests", n, len(w.host.requests))
	}
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonWrongCredentials)
}

// TestBrokenLogins: what is malformed or not for us is dropped without a trace.
func TestBrokenLogins(t *testing.T) {
	for _, method := range []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP} {
		w := toAuth(t, method)
		sent := len(w.trace)
		for _, c := range []struct {
			protocol uint16
			packet   []byte
		}{
			{wire.ProtocolCHAP, nil},
			{wire.ProtocolCHAP, []byte{2, 1, 0, 4}},
			{wire.ProtocolCHAP, []byte{2, 1, 0, 6, 9, 9}},
			{wire.ProtocolCHAP, []byte{2, 1, 0, 7, 1, 9, 'a'}},
			{wire.ProtocolCHAP, response(99, 0)},                      // no Challenge of ours
			{wire.ProtocolCHAP, []byte{1, 1, 0, 7, 1, 9, 'a'}},        // a Challenge: nobody logs in to the client
			{wire.ProtocolCHAP, []byte{7, 1, 0, 7, 1, 9, 'a'}},        // Change-Password
			{wire.ProtocolPAP, []byte{1, 1, 0, 4}},                    // no fields
			{wire.ProtocolPAP, []byte{1, 1, 0, 6, 9, 9}},              // name over the end
			{wire.ProtocolPAP, []byte{2, 1, 0, 5, 0}},                 // an Ack
			{wire.ProtocolEAP, []byte{2, 1, 0, 5, 1}},                 // not agreed on
			{wire.ProtocolIPCP, []byte{1, 1, 0, 4}},                   // too early
			{wire.ProtocolCCP, []byte{1, 1, 0, 4}},                    // too early
			{wire.ProtocolIPv6CP, []byte{1, 1, 0, 4}},                 // too early
			{wire.ProtocolIPv4, make([]byte, 20)},                     // far too early
			{wire.ProtocolCompressed, []byte{0x90, 0, 1, 2, 3, 4, 5}}, // far too early
		} {
			w.link.Receive(w.now, c.protocol, c.packet)
		}
		if len(w.trace) != sent || len(w.host.requests) != 0 {
			t.Errorf("%s: %q", method, w.trace[sent:])
		}
	}
}

// TestOtherAuthProtocol: a login by another protocol than agreed on is no login.
func TestOtherAuthProtocol(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.link.Receive(w.now, wire.ProtocolPAP, []byte{1, 1, 0, 8, 1, 'a', 1, 'b'})
	if len(w.host.requests) != 0 {
		t.Error("PAP was taken where MS-CHAPv2 was agreed on")
	}
}

// TestLostLCPAck: a peer that repeats its LCP request has not seen our Challenge either, and gets it at once.
func TestLostLCPAck(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	again := func() {
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, 1, 1, w.peer.lcp.AppendRequest(nil)))
	}
	again()
	if n := w.frames("c223", "01"); n != 1 {
		t.Errorf("%d challenges right after the first", n)
	}
	w.run(2500 * time.Millisecond)
	again()
	if n := w.frames("c223", "01"); n != 2 {
		t.Errorf("%d challenges", n)
	}
}

// TestNoRandomness: a challenge that is not random must not go out.
func TestNoRandomness(t *testing.T) {
	for _, octets := range []int{0, 4} { // not even the magic number; no challenge
		h := &host{w: &world{t: t, now: epoch}}
		cfg := config()
		cfg.Rand = bytes.NewReader(make([]byte, octets))
		l := NewLink(cfg, &silent{h})
		l.Start(epoch)
		l.Receive(epoch, wire.ProtocolLCP, wire.AppendPacket(nil, 1, 1, nil))
		l.Receive(epoch, wire.ProtocolLCP, wire.AppendPacket(nil, 2, 1, l.lcp.AppendRequest(nil)))
		for range 100 {
			if at, ok := l.Deadline(); ok {
				l.Tick(at)
			}
		}
		if h.finished != 1 || h.reason != tenant.ReasonProtocolError || !strings.Contains(h.detail, "random") {
			t.Errorf("%d octets: finished %d times, %s (%s)", octets, h.finished, h.reason, h.detail)
		}
	}
}

// silent is a host without a network.
type silent struct{ *host }

func (silent) SendFrame(uint16, []byte) {}

// TestMagicIsNeverZero (RFC 1661 section 6.4).
func TestMagicIsNeverZero(t *testing.T) {
	cfg := config()
	cfg.Rand = bytes.NewReader(make([]byte, 4))
	l := NewLink(cfg, &silent{&host{w: &world{t: t}}})
	l.Start(epoch)
	o, err := wire.ParseOptions(l.lcp.AppendRequest(nil))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := o.Find(wirelcp.OptionMagic); !ok || bytes.Equal(v, zero4) {
		t.Errorf("magic number %x", v)
	}
}

// TestAuthRequestOwnsItsMemory: the owner keeps the request while the packet's buffer is used again.
func TestAuthRequestOwnsItsMemory(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	packet := response(1, 0xaa)
	w.link.Receive(w.now, wire.ProtocolCHAP, packet)
	r := w.host.requests[0]
	challenge := slices.Clone(r.Challenge)
	clear(packet)
	w.run(time.Millisecond) // a refusal, and with it a new challenge
	if r.Name != "alice" || !bytes.Equal(r.Response, bytes.Repeat([]byte{0xaa}, 49)) || !bytes.Equal(r.Challenge, challenge) {
		t.Errorf("request changed: %+v", r)
	}
}
