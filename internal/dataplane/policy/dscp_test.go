package policy

import (
	"bytes"
	"slices"
	"testing"
)

func TestSetDSCP(t *testing.T) {
	for _, tt := range []struct {
		name          string
		was, to, want uint8
	}{
		{"best effort to EF", 0x00, 0xb8, 0xb8},
		{"EF to best effort", 0xb8, 0x00, 0x00},
		{"ECN is kept", 0x03, 0xb8, 0xbb},
		{"ECN is not taken", 0x00, 0xbb, 0xb8},
		{"nothing to do", 0xb9, 0xbb, 0xb9},
		{"all bits", 0xff, 0x00, 0x03},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := change(ipv4(17, []byte{1, 1, 1, 0}, pattern(30)), 1, tt.was)
			want := change(slices.Clone(p), 1, tt.want)
			SetDSCP(p, tt.to)
			if !bytes.Equal(p, want) {
				t.Errorf("%x, want %x", p[:24], want[:24])
			}
			if TOS(p) != tt.want {
				t.Errorf("TOS %#x, want %#x", TOS(p), tt.want)
			}
		})
	}
}

// Every change of every octet, with header sums all over the range: what RFC 1624 gives is what a new sum gives.
func TestSetDSCPChecksum(t *testing.T) {
	for was := range 256 {
		for to := range 256 {
			p := change(ipv4(17, nil, nil), 1, uint8(was))
			p = change(p, 5, uint8(was*7+to*31))
			p = change(p, 4, uint8(to*13))
			SetDSCP(p, uint8(to))
			if _, ok := ParseIPv4(p); !ok || TOS(p) != uint8(to)&^3|uint8(was)&3 {
				t.Fatalf("%#x to %#x: %x", was, to, p)
			}
		}
	}
}

func TestDSCPModels(t *testing.T) {
	const inner, outer = 0x2a, 0xb9 // AF11 and EF, with ECN bits
	for _, tt := range []struct {
		model                DSCP
		wantOuter, wantInner uint8
	}{
		{Pipe, 0, inner},
		{Uniform, 0x28, 0xba},
	} {
		if got := tt.model.Outer(inner); got != tt.wantOuter {
			t.Errorf("%d: outer %#x, want %#x", tt.model, got, tt.wantOuter)
		}
		p := change(ipv4(17, nil, nil), 1, inner)
		tt.model.Inner(p, outer)
		if _, ok := ParseIPv4(p); !ok || TOS(p) != tt.wantInner {
			t.Errorf("%d: inner %#x, want %#x", tt.model, TOS(p), tt.wantInner)
		}
	}
}

func TestDSCPShort(t *testing.T) {
	p := ipv4(17, nil, nil)[:19]
	was := slices.Clone(p)
	SetDSCP(p, 0xb8)
	if TOS(p) != 0 || !bytes.Equal(p, was) {
		t.Errorf("%x", p)
	}
}
