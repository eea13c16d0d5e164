package radius

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// A trace says what went over the wire, and no secret.
func TestTrace(t *testing.T) {
	raws := make(chan []byte, 4)
	f := startFake(t, func(q query) {
		key, _ := radius.NewTunnelPassword([]byte("0123456789abcdef"), []byte{0x80, 1}, []byte(secret), q.raw[4:20])
		raws <- q.raw
		q.send(answerOf{code: radius.CodeAccessAccept, attrs: join(
			attr(8, 10, 9, 0, 7), words(18, "Hi\x1b"), attr(25, 0xff, 1), words(25, "tnt"), ms(16, key...), ms(17, key...),
			ms(7, 0, 0, 0, 2), attr(69, []byte("tunnel-secret")...), vsa(9, 1, []byte("vendor-secret")...), attr(24, []byte("state")...),
		)}.to(q))
	})
	c := start(t, f, nil)
	v := mustAllow(t, c, papRequest())
	raw := <-raws
	if v.Trace.Server != "one" || v.Trace.RTT <= 0 {
		t.Errorf("server %q, round-trip time %s", v.Trace.Server, v.Trace.RTT)
	}
	lines := func(list []authz.Attribute) (out []string) {
		for _, a := range list {
			out = append(out, a.Name+" = "+a.Value)
		}
		return out
	}
	want := []string{
		"Message-Authenticator = (16 octets)", "Framed-IP-Address = 10.9.0.7", "Reply-Message = Hi", "Class = 0xff01", "Class = tnt",
		"MS-MPPE-Send-Key = (34 octets)", "MS-MPPE-Recv-Key = (34 octets)", "MS-MPPE-Encryption-Policy = Required",
		"attribute 69 = (13 octets)", "vendor 9 attribute 26 = (19 octets)", "State = (5 octets)",
	}
	if got := lines(v.Trace.Received); !slices.Equal(got, want) {
		t.Errorf("received %q\nwant %q", got, want)
	}
	sent := lines(v.Trace.Sent)
	for _, w := range []string{
		"User-Name = alice", "User-Password = (16 octets)", "Service-Type = Framed", "NAS-Port = 17", "Tunnel-Type = PPTP",
		"NAS-IP-Address = 127.0.0.1", "Calling-Station-Id = 198.51.100.7",
	} {
		if !slices.Contains(sent, w) {
			t.Errorf("sent %q lacks %q", sent, w)
		}
	}
	if p, err := radius.Parse(raw, nil); err != nil || len(p.Attributes) != len(sent) {
		t.Errorf("%d attributes sent, %d traced, %v", len(p.Attributes), len(sent), err)
	}
	for _, word := range []string{"secret", "wonder", "state", "0123456789"} {
		if text := fmt.Sprintf("%+v", v); strings.Contains(text, word) {
			t.Errorf("the verdict shows %q: %s", word, text)
		}
	}
}

func TestTraceWithoutAnAnswer(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, func(sc *transport.ServerConfig) { sc.Timeout, sc.Tries = transport.DefaultTimeout/100, 1 })
	v, err := ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout)
	if v.Trace.Server != "" || len(v.Trace.Received) != 0 ||
		!slices.Contains(v.Trace.Sent, authz.Attribute{Name: "User-Name", Value: "alice"}) {
		t.Errorf("trace %+v", v.Trace)
	}
}

func TestTraceIsBounded(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	list := describe(answerOf{code: radius.CodeAccessAccept, attrs: bytes.Repeat(attr(25), 1900)}.build(query))
	if len(list) != maxTraced+1 {
		t.Errorf("%d attributes", len(list))
	}
	if v := valueOf(byNumber[number{0, 25}], bytes.Repeat([]byte{0xff}, 253)); len(v) > 2*maxTracedOctets+5 {
		t.Errorf("a value of %d characters", len(v))
	}
}
