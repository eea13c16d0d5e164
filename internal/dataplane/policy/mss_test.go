package policy

import (
	"encoding/binary"
	"slices"
	"testing"

	"concentrator/internal/dataplane/checksum"
)

// segment builds an IPv4 packet with a TCP segment whose checksum is right.
func segment(flags byte, options, data []byte) []byte {
	tcp := make([]byte, tcpHeaderLen, tcpHeaderLen+len(options)+len(data))
	tcp = append(append(tcp, options...), data...)
	tcp[12], tcp[13] = byte((tcpHeaderLen+len(options))/4)<<4, flags
	p := ipv4(protocolTCP, nil, tcp)
	binary.BigEndian.PutUint16(p[minHeaderLen+16:], tcpSum(p))
	return p
}

// tcpSum is what is missing in the TCP checksum of p: 0 when it is right.
func tcpSum(p []byte) uint16 {
	tcp := p[minHeaderLen:]
	sum := uint32(protocolTCP) + uint32(len(tcp))
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	return ^checksum.Fold(checksum.Add(uint64(sum), tcp))
}

// mss is the option with one value.
func mss(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, n) }

// segments is the table of the unit test and the seed of the fuzz target.
var segments = []struct {
	name string
	p    []byte
	mtu  int
	// at is where the option's value is in the TCP header, want what it must be then; 0: nothing is changed.
	at   int
	want uint16
}{
	{"SYN", segment(0x02, mss(1460), nil), 1400, 22, 1360},
	{"SYN ACK", segment(0x12, mss(8960), nil), 1400, 22, 1360},
	{"behind other options", segment(0x02, slices.Concat([]byte{1, 3, 3, 7, 4, 2, 1, 1}, mss(1460)), nil), 1400, 30, 1360},
	{"at an odd place", segment(0x02, slices.Concat([]byte{1}, mss(1460), []byte{1, 1, 1}), nil), 1400, 23, 1360},
	{"at an odd place, another value", segment(0x02, slices.Concat([]byte{3, 3, 7}, mss(0xffff), []byte{0}), nil), 576, 25, 536},
	{"with data", segment(0x02, mss(1460), []byte("fast open")), 1400, 22, 1360},
	{"equal", segment(0x02, mss(1360), nil), 1400, 0, 0},
	{"less: never raised", segment(0x02, mss(536), nil), 1400, 0, 0},
	{"not a SYN", segment(0x10, mss(1460), nil), 1400, 0, 0},
	{"no option", segment(0x02, nil, nil), 1400, 0, 0},
	{"behind the end of options", segment(0x02, slices.Concat([]byte{0, 0, 0, 0}, mss(1460)), nil), 1400, 0, 0},
	{"option of length 0", segment(0x02, slices.Concat([]byte{5, 0, 0, 0}, mss(1460)), nil), 1400, 0, 0},
	{"option of length 1", segment(0x02, slices.Concat([]byte{5, 1, 0, 0}, mss(1460)), nil), 1400, 0, 0},
	{"option beyond the header", segment(0x02, []byte{1, 1, 2, 4}, []byte{5, 0xb4}), 1400, 0, 0},
	{"kind without length", segment(0x02, []byte{1, 1, 1, 2}, nil), 1400, 0, 0},
	{"MSS of another length", segment(0x02, []byte{2, 3, 255, 1}, nil), 1400, 0, 0},
	{"UDP", ipv4(17, nil, segment(0x02, mss(1460), nil)[minHeaderLen:]), 1400, 0, 0},
	{"second fragment", withFragment(segment(0x02, mss(1460), nil), 0x0003), 1400, 0, 0},
	{"first fragment", withFragment(segment(0x02, mss(1460), nil), 0x2000), 1400, 22, 1360},
	{"MTU without room for data", segment(0x02, mss(1460), nil), 40, 0, 0},
	{"short header", ipv4(protocolTCP, nil, make([]byte, 19)), 1400, 0, 0},
}

func TestClampMSS(t *testing.T) {
	for _, tt := range segments {
		t.Run(tt.name, func(t *testing.T) {
			p := slices.Clone(tt.p)
			changed := ClampMSS(p, parse(t, p), tt.mtu)
			if changed != (tt.at != 0) {
				t.Fatalf("changed %t", changed)
			}
			if !changed {
				if !slices.Equal(p, tt.p) {
					t.Errorf("changed to %x", p)
				}
				return
			}
			if got := binary.BigEndian.Uint16(p[minHeaderLen+tt.at:]); got != tt.want {
				t.Errorf("MSS %d, want %d", got, tt.want)
			}
			if tcpSum(p) != 0 {
				t.Errorf("the checksum is wrong: %x", p)
			}
		})
	}
}

// TestClampMSSChecksum tries many values at even and odd places: the corrected checksum is the computed one.
func TestClampMSSChecksum(t *testing.T) {
	for value := uint32(600); value <= 0xffff; value += 97 {
		for _, pad := range [][]byte{nil, {1}} {
			options := slices.Concat(pad, mss(uint16(value)), []byte{1, 1, 1})[:4+4*len(pad)]
			p := segment(0x02, options, nil)
			if !ClampMSS(p, parse(t, p), 576) || tcpSum(p) != 0 {
				t.Fatalf("MSS %d after %d octets: %x", value, len(pad), p)
			}
		}
	}
}
