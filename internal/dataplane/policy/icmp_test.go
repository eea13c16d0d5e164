package policy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

const gateway = 0x0a010001

func TestFragmentationNeeded(t *testing.T) {
	p := ipv4(protocolTCP, nil, pattern(1480))
	var b pktbuf.Buf
	if !FragmentationNeeded(&b, p, parse(t, p), gateway, 1400) {
		t.Fatal("no message")
	}
	out := b.Bytes()
	h := parse(t, out)
	if h.Src != gateway || h.Dst != 0x0a010002 || h.Protocol != protocolICMP || h.TotalLen != maxErrorLen || len(out) != maxErrorLen {
		t.Errorf("header %+v", h)
	}
	icmp := out[h.HeaderLen:]
	if checksum.Of(icmp) != 0 {
		t.Error("the ICMP checksum is wrong")
	}
	if icmp[0] != 3 || icmp[1] != 4 || icmp[4] != 0 || icmp[5] != 0 || binary.BigEndian.Uint16(icmp[6:]) != 1400 {
		t.Errorf("ICMP header %x", icmp[:8])
	}
	if !bytes.Equal(icmp[8:], p[:maxErrorLen-28]) {
		t.Error("the packet isn't quoted")
	}
	short := ipv4(17, nil, pattern(8))
	if !FragmentationNeeded(&b, append(short, 0, 0), parse(t, short), gateway, 20) || b.Len() != 28+28 {
		t.Errorf("message of %d octets about a packet of 28", b.Len())
	}
}

// TestNoError has the packets of RFC 1122 section 3.2.2 about which no error may be sent.
func TestNoError(t *testing.T) {
	address := func(at int, a ...byte) []byte {
		p := ipv4(17, nil, pattern(100))
		copy(p[at:], a)
		putChecksum(p[:minHeaderLen])
		return p
	}
	for _, tt := range []struct {
		name string
		p    []byte
		want bool
	}{
		{"UDP", ipv4(17, nil, pattern(100)), true},
		{"first fragment", withFragment(ipv4(17, nil, pattern(100)), 0x2000), true},
		{"echo request", ipv4(protocolICMP, nil, []byte{8, 0, 0, 0}), true},
		{"echo reply", ipv4(protocolICMP, nil, []byte{0, 0, 0, 0}), true},
		{"second fragment", withFragment(ipv4(17, nil, pattern(100)), 1), false},
		{"unreachable", ipv4(protocolICMP, nil, []byte{3, 1, 0, 0}), false},
		{"source quench", ipv4(protocolICMP, nil, []byte{4, 0, 0, 0}), false},
		{"redirect", ipv4(protocolICMP, nil, []byte{5, 0, 0, 0}), false},
		{"time exceeded", ipv4(protocolICMP, nil, []byte{11, 0, 0, 0}), false},
		{"parameter problem", ipv4(protocolICMP, nil, []byte{12, 0, 0, 0}), false},
		{"ICMP of no length", ipv4(protocolICMP, nil, nil), false},
		{"from 0.0.0.0", address(12, 0, 0, 0, 0), false},
		{"from loopback", address(12, 127, 0, 0, 1), false},
		{"from multicast", address(12, 224, 0, 0, 1), false},
		{"from broadcast", address(12, 255, 255, 255, 255), false},
		{"to multicast", address(16, 239, 1, 1, 1), false},
		{"to broadcast", address(16, 255, 255, 255, 255), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b pktbuf.Buf
			if got := FragmentationNeeded(&b, tt.p, parse(t, tt.p), gateway, 1400); got != tt.want || (b.Len() > 0) != tt.want {
				t.Errorf("%t with %d octets, want %t", got, b.Len(), tt.want)
			}
		})
	}
}
