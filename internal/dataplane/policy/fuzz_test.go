package policy

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

// FuzzParseIPv4 gives any octets to everything that takes a packet: nothing panics, what is reported lies inside the
// packet, and what is made of it is well formed.
func FuzzParseIPv4(f *testing.F) {
	corpus.Add(f)
	for _, s := range ipv4Table {
		f.Add(s.p, uint16(100))
	}
	for _, s := range segments {
		f.Add(s.p, uint16(s.mtu))
	}
	f.Add(ipv4(17, []byte{0x83, 3, 4, 1}, pattern(300)), uint16(68))
	src := NewSources(client, nil)
	f.Fuzz(func(t *testing.T, p []byte, mtu uint16) {
		CredibleInner(p[:min(len(p), 64)], len(p), &src, true)
		CredibleFrame(mtu, p, &src, false)
		h, ok := ParseIPv4(p)
		if !ok && len(p) >= minHeaderLen && p[0]>>4 == 4 {
			// Go on with a right checksum, which the fuzzer wouldn't find.
			p = slices.Clone(p)
			if n := int(p[0]&0xf) * 4; n >= minHeaderLen && n <= len(p) {
				putChecksum(p[:n])
			}
			h, ok = ParseIPv4(p)
		}
		if !ok {
			return
		}
		if h.HeaderLen < minHeaderLen || h.TotalLen < h.HeaderLen || h.TotalLen > len(p) {
			t.Fatalf("%+v of %d octets", h, len(p))
		}
		var b pktbuf.Buf
		if FragmentationNeeded(&b, p, &h, gateway, int(mtu)) {
			parse(t, b.Bytes())
		}
		if fs, ok := Fragment(p, &h, int(mtu)); ok {
			var whole []byte
			for fs.Next(&b) {
				piece := parse(t, b.Bytes())
				if piece.TotalLen > int(mtu) {
					t.Fatalf("piece of %d octets, MTU %d", piece.TotalLen, mtu)
				}
				whole = append(whole, b.Bytes()[piece.HeaderLen:]...)
			}
			if !bytes.Equal(whole, p[h.HeaderLen:h.TotalLen]) {
				t.Fatal("the pieces aren't the packet")
			}
		}
		was := slices.Clone(p)
		if ClampMSS(p, &h, int(mtu)) == bytes.Equal(was, p) {
			t.Fatal("ClampMSS doesn't tell what it did")
		}
	})
}

// FuzzPermit gives any packet to any ACL: what is compiled says the same as the rules one by one.
func FuzzPermit(f *testing.F) {
	corpus.Add(f)
	for _, s := range ipv4Table {
		f.Add(s.p, uint64(1), uint16(3))
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	for i := range 50 {
		f.Add(randomPacket(rnd), uint64(i), uint16(rnd.IntN(200)))
	}
	f.Add(ipv4(17, []byte{0x83, 3, 4, 1}, pattern(300)), uint64(4), uint16(70))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64, n uint16) {
		if len(p) >= minHeaderLen && p[0]>>4 == 4 {
			p = slices.Clone(p)
			if n := int(p[0]&0xf) * 4; n >= minHeaderLen && n <= len(p) {
				putChecksum(p[:n])
			}
		}
		h, ok := ParseIPv4(p)
		if !ok {
			return
		}
		rules := randomRules(rand.New(rand.NewPCG(seed, 0)), 1+int(n)%130)
		a := compile(t, rules...)
		for _, up := range []bool{true, false} {
			if got, want := a.Permit(up, p, &h), slowPermit(rules, up, p, &h); got != want {
				t.Fatalf("up %v: %v, rule by rule %v", up, got, want)
			}
		}
	})
}
