package policy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// pattern is n octets that differ.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7 >> 1)
	}
	return p
}

func TestFragment(t *testing.T) {
	// One option that goes into every fragment (a loose source route), one that doesn't (a time stamp).
	options := []byte{0x83, 3, 4, 1, 0x44, 4, 5, 0}
	for _, tt := range []struct {
		name      string
		p         []byte
		mtu       int
		pieces    int
		laterHead int
	}{
		{"fits", ipv4(17, nil, pattern(100)), 120, 1, 20},
		{"one octet too long", ipv4(17, nil, pattern(101)), 120, 2, 20},
		{"1500 into 1400", ipv4(17, nil, pattern(1480)), 1400, 2, 20},
		{"1500 into 576", ipv4(17, nil, pattern(1480)), 576, 3, 20},
		{"the smallest MTU", ipv4(17, nil, pattern(1480)), MinMTU, 31, 20},
		{"options", ipv4(17, options, pattern(600)), 128, 6, 24},
		{"the longest header in the smallest MTU", ipv4(17, append([]byte{0x83, 39}, make([]byte, 38)...), pattern(50)), MinMTU, 7, 60},
		{"options that end early", ipv4(17, []byte{0, 0x83, 3, 4}, pattern(600)), 300, 3, 20},
		{"malformed option", ipv4(17, []byte{0x83, 0, 1, 1}, pattern(600)), 300, 3, 20},
		{"a fragment itself", withFragment(ipv4(17, nil, pattern(800)), 0x2000|100), 400, 3, 20},
		{"a last fragment", withFragment(ipv4(17, nil, pattern(801)), 100), 400, 3, 20},
		{"header only", ipv4(17, nil, nil), 68, 1, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := parse(t, tt.p)
			f, ok := Fragment(tt.p, h, tt.mtu)
			if !ok {
				t.Fatal("refused")
			}
			var b pktbuf.Buf
			var whole []byte
			n := 0
			for f.Next(&b) {
				p := b.Bytes()
				got := parse(t, p)
				if got.TotalLen != len(p) || len(p) > tt.mtu {
					t.Fatalf("piece %d: length %d of %d, MTU %d", n, got.TotalLen, len(p), tt.mtu)
				}
				wantHead := tt.laterHead
				if n == 0 {
					wantHead = h.HeaderLen
				}
				if got.HeaderLen != wantHead || got.Src != h.Src || got.Dst != h.Dst || got.Protocol != h.Protocol ||
					binary.BigEndian.Uint16(p[4:]) != 0x1234 {
					t.Fatalf("piece %d: header %+v", n, got)
				}
				if got.FragmentOffset != h.FragmentOffset+len(whole) {
					t.Fatalf("piece %d: offset %d, want %d", n, got.FragmentOffset, h.FragmentOffset+len(whole))
				}
				whole = append(whole, p[got.HeaderLen:]...)
				if more := len(whole) < h.TotalLen-h.HeaderLen || h.MoreFragments; got.MoreFragments != more {
					t.Fatalf("piece %d: more fragments %t, want %t", n, got.MoreFragments, more)
				}
				if b.Front() != pktbuf.Headroom {
					t.Fatalf("piece %d: headroom %d", n, b.Front())
				}
				n++
			}
			if n != tt.pieces || !bytes.Equal(whole, tt.p[h.HeaderLen:]) {
				t.Errorf("%d pieces of %d octets, want %d of %d", n, len(whole), tt.pieces, h.TotalLen-h.HeaderLen)
			}
		})
	}
}

func TestFragmentRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    []byte
		mtu  int
	}{
		{"don't fragment", withFragment(ipv4(17, nil, pattern(1480)), 0x4000), 1400},
		{"MTU below the least", ipv4(17, nil, pattern(1480)), MinMTU - 1},
		{"beyond the end of the longest datagram", withFragment(ipv4(17, nil, pattern(1480)), 0x1fff), 1400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if f, ok := Fragment(tt.p, parse(t, tt.p), tt.mtu); ok || f.Next(&pktbuf.Buf{}) {
				t.Error("it is cut")
			}
		})
	}
}
