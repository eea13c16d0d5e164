package l2tpdata

import (
	"bytes"
	"encoding/binary"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

var (
	testSrc = [4]byte{192, 168, 1, 2}
	testDst = [4]byte{198, 51, 100, 7}
)

// datagram is UDP to port 1701 with a right checksum (RFC 768), computed octet by octet.
func datagram(payload []byte, srcPort uint16, src, dst [4]byte) []byte {
	n := udpHeaderLen + len(payload)
	p := binary.BigEndian.AppendUint16(nil, srcPort)
	p = binary.BigEndian.AppendUint16(p, 1701)
	p = binary.BigEndian.AppendUint16(p, uint16(n))
	p = append(append(p, 0, 0), payload...)
	pseudo := append(append(append([]byte{}, src[:]...), dst[:]...), 0, 17, byte(n>>8), byte(n))
	sum := uint32(0)
	for i, b := range append(pseudo, p...) {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
		sum = sum&0xffff + sum>>16
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(p[6:], uint16(sum))
	return p
}

func TestStripUDP(t *testing.T) {
	good := datagram([]byte("l2tp"), 49152, testSrc, testDst)
	with := func(i int, v ...byte) []byte {
		b := append([]byte{}, good...)
		copy(b[i:], v)
		return b
	}
	for _, tt := range []struct {
		name  string
		wire  []byte
		check bool
		v     Verdict
		left  string
	}{
		{"right checksum", good, true, OK, "l2tp"},
		{"unchecked", good, false, OK, "l2tp"},
		{"wrong payload", with(8, 'L'), true, Checksum, ""},
		{"wrong payload, unchecked", with(8, 'L'), false, OK, "L2tp"},
		{"wrong source port", with(0, 0xc0, 0x01), true, Checksum, ""},
		{"no checksum", with(6, 0, 0), true, OK, "l2tp"},
		{"no checksum, other payload", append(with(6, 0, 0)[:8], "else"...), true, OK, "else"},
		{"odd length", datagram([]byte("odd"), 49152, testSrc, testDst), true, OK, "odd"},
		{"no payload", datagram(nil, 49152, testSrc, testDst), true, OK, ""},
		{"octets behind", append(with(0), 0, 0, 0), true, OK, "l2tp"},
		{"another port", with(2, 0, 53), true, Port, ""},
		{"port 0", with(2, 0, 0), false, Port, ""},
		{"length too long", with(4, 0, 13), true, Malformed, ""},
		{"length 7", with(4, 0, 7), true, Malformed, ""},
		{"length 0", with(4, 0, 0), false, Malformed, ""},
		{"seven octets", good[:7], false, Malformed, ""},
		{"nothing", nil, false, Malformed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bufOf(tt.wire)
			port, v := StripUDP(b, tt.check, testSrc, testDst)
			if v != tt.v {
				t.Fatalf("%v, want %v", v, tt.v)
			}
			if v != OK {
				if port != 0 || !bytes.Equal(b.Bytes(), tt.wire) {
					t.Errorf("port %d, left %x", port, b.Bytes())
				}
				return
			}
			if port != 49152 || string(b.Bytes()) != tt.left {
				t.Errorf("port %d, left %q; want %q", port, b.Bytes(), tt.left)
			}
		})
	}
	// With other addresses, as behind a NAT, the checksum is wrong.
	for i, pair := range [][2][4]byte{{{192, 168, 1, 3}, testDst}, {testSrc, {198, 51, 100, 8}}} {
		if _, v := StripUDP(bufOf(good), true, pair[0], pair[1]); v != Checksum {
			t.Errorf("addresses %d: %v", i, v)
		}
	}
}

// TestChecksumLengths compares with the octet-by-octet sum for all lengths, with payloads that carry often.
func TestChecksumLengths(t *testing.T) {
	for n := range 200 {
		for _, fill := range []byte{0x00, 0x5a, 0xff} {
			payload := bytes.Repeat([]byte{fill}, n)
			wire := datagram(payload, uint16(n)<<8|0xff, testSrc, testDst)
			if _, v := StripUDP(bufOf(wire), true, testSrc, testDst); v != OK {
				t.Fatalf("%d octets of %x: %v", n, fill, v)
			}
			wire[len(wire)-1] ^= 4
			if _, v := StripUDP(bufOf(wire), true, testSrc, testDst); v == OK {
				t.Fatalf("%d octets of %x: a wrong one passes", n, fill)
			}
		}
	}
}

func TestPrependUDP(t *testing.T) {
	b := bufOf([]byte("l2tp"))
	for i := range b.Prepend(8) { // what stood there before
		b.Bytes()[i] = 0xff
	}
	b.TrimFront(8)
	if !PrependUDP(b, 49153) {
		t.Fatal("no room")
	}
	if want := unhex(t, "06a5c001000c00006c327470"); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%x, want %x", b.Bytes(), want)
	}
	b.Prepend(b.Front() - 7)
	if n := b.Len(); PrependUDP(b, 1) || b.Len() != n {
		t.Error("there was no room")
	}
}

// FuzzStripUDP gives StripUDP anything: what is left lies inside it, and with check only what sums up right.
func FuzzStripUDP(f *testing.F) {
	corpus.Add(f)
	f.Add(datagram([]byte("l2tp"), 1701, testSrc, testDst), true)
	f.Add(datagram([]byte("odd"), 49152, testSrc, testDst), true)
	f.Add([]byte{6, 165, 6, 165, 0, 8, 0, 0}, false)
	f.Add([]byte{6, 165, 6, 165, 255, 255, 0, 0}, true)
	f.Fuzz(func(t *testing.T, wire []byte, check bool) {
		if len(wire) > pktbuf.MaxRead {
			return
		}
		b := bufOf(wire)
		port, v := StripUDP(b, check, testSrc, testDst)
		if v != OK {
			if !bytes.Equal(b.Bytes(), wire) {
				t.Fatalf("%v, but %x is left of %x", v, b.Bytes(), wire)
			}
			return
		}
		if !bytes.Equal(b.Bytes(), wire[udpHeaderLen:][:b.Len()]) {
			t.Fatalf("%x is left of %x", b.Bytes(), wire)
		}
		want := datagram(b.Bytes(), port, testSrc, testDst)
		if sum := binary.BigEndian.Uint16(wire[6:]); check && sum != 0 && sum != binary.BigEndian.Uint16(want[6:]) {
			t.Fatalf("%x passes with checksum %x, want %x", wire, sum, want[6:8])
		}
	})
}
