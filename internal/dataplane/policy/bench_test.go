package policy

import (
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

func TestNoAllocation(t *testing.T) {
	p, syn := ipv4(17, nil, pattern(1480)), segment(0x02, mss(1460), nil)
	src := NewSources(client, nil)
	var b pktbuf.Buf
	wrong := 0
	if n := testing.AllocsPerRun(1000, func() {
		h, ok := ParseIPv4(p)
		f, cut := Fragment(p, &h, 576)
		pieces := 0
		for f.Next(&b) {
			pieces++
		}
		if !ok || !cut || pieces != 3 || !src.Allow(h.Src) || !FragmentationNeeded(&b, p, &h, gateway, 1400) ||
			!CredibleFrame(0x21, p, &src, true) {
			wrong++
		}
		h, _ = ParseIPv4(syn)
		ClampMSS(syn, &h, 1400)
	}); n != 0 || wrong != 0 {
		t.Errorf("%v allocations, %d wrong", n, wrong)
	}
}

func BenchmarkParseIPv4(b *testing.B) {
	p := ipv4(17, nil, pattern(1380))
	src := NewSources(client, nil)
	b.ReportAllocs()
	for b.Loop() {
		if h, ok := ParseIPv4(p); !ok || !src.Allow(h.Src) {
			b.Fatal("malformed")
		}
	}
}

func BenchmarkFragment(b *testing.B) {
	p := ipv4(17, nil, pattern(1480))
	h := parse(b, p)
	var buf pktbuf.Buf
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		f, _ := Fragment(p, h, 1400)
		for f.Next(&buf) {
		}
	}
}
