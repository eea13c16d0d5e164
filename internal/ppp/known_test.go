package ppp

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// malformed are control packets whose lengths contradict themselves, as captures of faults in other programs hold them.
var malformed = []struct {
	name     string
	protocol uint16
	packet   []byte
}{
	{"nothing", wire.ProtocolLCP, nil},
	{"a code alone", wire.ProtocolLCP, []byte{1}},
	{"length 0", wire.ProtocolLCP, []byte{1, 1, 0, 0}},
	{"length 3", wire.ProtocolLCP, []byte{1, 1, 0, 3}},
	{"length 65535", wire.ProtocolLCP, []byte{1, 1, 0xff, 0xff, 1, 4, 5, 0xdc}},
	{"an option of length 0", wire.ProtocolLCP, []byte{1, 1, 0, 8, 1, 0, 5, 0xdc}},
	{"an option of length 1", wire.ProtocolLCP, []byte{1, 1, 0, 8, 1, 1, 5, 0xdc}},
	{"an option over the end", wire.ProtocolLCP, []byte{1, 1, 0, 8, 5, 6, 1, 2}},
	{"a Nak with an option over the end", wire.ProtocolLCP, []byte{3, 1, 0, 6, 5, 6}},
	{"a Reject with an option of length 0", wire.ProtocolLCP, []byte{4, 1, 0, 6, 5, 0}},
	{"a Protocol-Reject of one octet", wire.ProtocolLCP, []byte{8, 1, 0, 5, 0xc0}},
	{"an Echo-Request without a magic number", wire.ProtocolLCP, []byte{9, 1, 0, 4}},
	{"an Echo-Reply of two octets", wire.ProtocolLCP, []byte{10, 1, 0, 6, 1, 2}},
	{"an Identification of nothing", wire.ProtocolLCP, []byte{12, 1, 0, 4}},
	{"CCP: Deflate of two octets", wire.ProtocolCCP, []byte{1, 1, 0, 6, 26, 2}},
	{"CCP: Deflate over the end", wire.ProtocolCCP, []byte{1, 1, 0, 6, 26, 4}},
	{"CCP: BSD compress of length 1", wire.ProtocolCCP, []byte{1, 1, 0, 6, 21, 1}},
	{"CCP: MPPE of three octets", wire.ProtocolCCP, []byte{1, 1, 0, 7, 18, 3, 1}},
	{"CCP: Reset-Ack of 1000 octets", wire.ProtocolCCP, append([]byte{15, 1, 3, 0xec}, make([]byte, 1000)...)},
	{"IPCP: an address of three octets", wire.ProtocolIPCP, []byte{1, 1, 0, 9, 3, 5, 10, 0, 0}},
	{"IPCP: addresses of length 0", wire.ProtocolIPCP, []byte{1, 1, 0, 6, 1, 0}},
	{"Multilink: a fragment of one octet", wire.ProtocolMultilink, []byte{0xc0}},
	{"Multilink: nothing", wire.ProtocolMultilink, nil},
	{"LQR of nothing", wire.ProtocolLQR, nil},
	{"ECP of length 0", wire.ProtocolECP, []byte{1, 1, 0, 0}},
	{"IPv6CP of one octet", wire.ProtocolIPv6CP, []byte{1}},
	{"EAP of nothing", wire.ProtocolEAP, nil},
	{"EAP of length 0", wire.ProtocolEAP, []byte{2, 1, 0, 0, 1}},
	{"EAP of length 65535", wire.ProtocolEAP, []byte{2, 1, 0xff, 0xff, 13}},
	{"PAP whose name runs over the end", wire.ProtocolPAP, []byte{1, 1, 0, 6, 255, 1}},
	{"CHAP whose value runs over the end", wire.ProtocolCHAP, []byte{2, 1, 0, 6, 255, 1}},
}

// Malformed packets on a link that carries IP leave it as it is; before the login they lead no further. Whatever answer
// there is, is no longer than the MRU. The packets are exactly as long as their slice, so that a read behind one is a
// panic.
func TestKnownMalformedPackets(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			w := open(t)
			w.link.Receive(w.now, c.protocol, bytes.Clone(c.packet))
			for _, f := range w.queue {
				if len(f.packet) > 1500 {
					t.Errorf("answered by %d octets", len(f.packet))
				}
			}
			w.run(time.Second)
			w.wantOpen()
			for _, method := range []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthEAP, tenant.AuthPAP} {
				w := toAuth(t, method)
				w.link.Receive(w.now, c.protocol, bytes.Clone(c.packet))
				if len(w.host.requests) != 0 || w.link.authenticated {
					t.Errorf("%s: asked about %+v", method, w.host.requests)
				}
			}
		})
	}
}

// A Configure-Request as long as a frame can be, of the shortest options: one answer, no longer than the question, and then
// the link goes on.
func TestKnownManyOptions(t *testing.T) {
	for _, protocol := range []uint16{wire.ProtocolLCP, wire.ProtocolIPCP, wire.ProtocolCCP} {
		for _, octets := range []int{254, 1496, 4000} {
			w := open(t)
			packet := wire.AppendPacket(nil, wire.CodeConfigureRequest, 99, bytes.Repeat([]byte{0xee, 2}, octets/2))
			sent := len(w.queue)
			w.link.Receive(w.now, protocol, packet)
			answers := 0
			for _, f := range w.queue[sent:] {
				if f.packet[1] == 99 && f.protocol == protocol {
					answers++
				}
				if len(f.packet) > len(packet) {
					t.Errorf("%04x: %d octets for %d", protocol, len(f.packet), len(packet))
				}
			}
			if answers != 1 {
				t.Errorf("%04x with %d octets: %d answers", protocol, octets, answers)
			}
		}
	}
}

// EAP-TLS packets that say that 4 GiB are to come, before anybody has logged in (CVE-2026-39312): they are passed on as
// they are, one at a time, nothing is put together here, and there is an end to them.
func TestKnownHugeEAPTLS(t *testing.T) {
	w := toAuth(t, tenant.AuthEAP)
	w.host.verdict = func(r AuthRequest) Decision { return eapStep(r, r.ID+1, eap.TypeTLS, 0) }
	w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
	fragment := append([]byte{0xc0, 0xff, 0xff, 0xff, 0xff}, make([]byte, 1400)...) // length included, more fragments
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	id := byte(2)
	for ; w.host.finished == 0 && id < 200; id++ {
		packet := eapResponse(id, eap.TypeTLS, fragment...)
		w.answer(packet)
		if r := w.host.requests[len(w.host.requests)-1]; r.ID == id && !bytes.Equal(r.EAP, packet) {
			t.Fatalf("%d octets were passed on as %d", len(packet), len(r.EAP))
		}
	}
	runtime.ReadMemStats(&after)
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonProtocolError)
	if n := len(w.host.requests); n != 1+maxEAPRounds {
		t.Errorf("%d packets were passed on, want %d", n, 1+maxEAPRounds)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d octets were allocated", got)
	}
}

// Methods of EAP with lengths of their own are the server's business: an MD5 answer with a name that ran over the stack of
// other daemons (CVE-2020-8597), TTLS with AVPs that say anything (CVE-2026-25075), MS-CHAPv2 that says it is longer than
// its packet. They reach the server as they came, and nothing of them is read here.
func TestKnownMethodsPassThrough(t *testing.T) {
	for name, data := range map[string][]byte{
		"MD5 with a name of 1400 octets":  append(append([]byte{4, 16}, make([]byte, 16)...), bytes.Repeat([]byte{'n'}, 1400)...),
		"MD5 with a value of 255 octets":  {4, 255, 1},
		"TTLS with an AVP of length 0":    {21, 0x80, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0},
		"TTLS with an AVP of 16 MiB":      {21, 0x80, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff},
		"MS-CHAPv2 of length 0":           {26, 2, 1, 0, 0, 49},
		"MS-CHAPv2 of length 65535":       {26, 2, 1, 0xff, 0xff, 49},
		"MS-CHAPv2 Failure of one octet":  {26, 4},
		"a type that there is not":        {250},
		"an expanded type of four octets": {254, 0, 0, 1},
	} {
		w := toAuth(t, tenant.AuthEAP)
		w.host.verdict = func(r AuthRequest) Decision { return eapStep(r, r.ID+1, data[0], 0) }
		w.answer(eapResponse(1, eap.TypeIdentity, 'a'))
		packet := eapResponse(2, data[0], data[1:]...)
		w.answer(packet)
		if n := len(w.host.requests); n != 2 || !bytes.Equal(w.host.requests[n-1].EAP, packet) || w.link.authenticated {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// What a LAC says that it has negotiated is read by the same bounds as what the peer says itself.
func TestKnownProxiedOptions(t *testing.T) {
	for name, p := range map[string]Proxy{
		"an option of length 0":   {LastSent: []byte{3, 4, 0xc0, 0x23, 5, 0}, LastReceived: []byte{}},
		"an option over the end":  {LastSent: []byte{3, 5, 0xc2, 0x23}, LastReceived: []byte{}},
		"half an option":          {LastSent: []byte{3, 4, 0xc0, 0x23}, LastReceived: []byte{1}},
		"one octet of a protocol": {LastSent: []byte{3, 3, 0xc0}, LastReceived: []byte{}},
		"an MRU of one octet":     {LastSent: []byte{3, 4, 0xc0, 0x23, 1, 3, 5}, LastReceived: []byte{1, 3, 5}},
		"600 options": {
			LastSent: bytes.Repeat([]byte{0xee, 2}, 600), LastReceived: bytes.Repeat([]byte{0xee, 2}, 600),
		},
	} {
		p.Auth = &ProxyAuth{PAP: true, Name: "alice", ID: 1, Password: tenant.Secret("clientPass")}
		w := newWorld(t, pppd(), proxyConfig(tenant.AuthPAP), grant(tenant.MPPEDisabled))
		w.link.StartProxied(w.now, p)
		if len(w.host.requests) != 0 || w.link.lcp.m.Opened() || w.frames("c021", "01") != 1 {
			t.Errorf("%s: %d requests, LCP open: %t", name, len(w.host.requests), w.link.lcp.m.Opened())
		}
	}
}

// An Echo-Request longer than the peer's MRU is answered with no more than that, and one longer than ours is as well.
func TestKnownLongEchoes(t *testing.T) {
	w := open(t)
	for _, n := range []int{0, 4, 1496, 1497, 4000, 65531} {
		sent := len(w.queue)
		w.link.Receive(w.now, wire.ProtocolLCP, wire.AppendPacket(nil, wirelcp.CodeEchoRequest, 1, make([]byte, n)))
		for _, f := range w.queue[sent:] {
			if len(f.packet) > 1500 {
				t.Errorf("an echo of %d octets is answered by %d", n, len(f.packet))
			}
		}
	}
}
