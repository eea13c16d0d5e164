package rawio

import (
	"encoding/binary"
	"testing"
)

// slowSum is the Internet checksum of RFC 1071, octet by octet.
func slowSum(parts ...[]byte) uint16 {
	total, n := 0, 0
	for _, p := range parts {
		for _, b := range p {
			if n%2 == 0 {
				total += int(b) << 8
			} else {
				total += int(b)
			}
			n++
		}
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return ^uint16(total)
}

// TestPutTrain: the headers of a train are those that the kernel wants: a right IPv4 header, and a UDP checksum that is right
// once the payload is added to it.
func TestPutTrain(t *testing.T) {
	for _, payload := range []int{1, 2, 1000, 1372} {
		for _, k := range []int{2, 20, 44} {
			if k*payload > 65507 {
				continue
			}
			p := make([]byte, HeaderLen+ipLen+udpLen+payload)
			ip := p[HeaderLen:]
			ip[0], ip[8], ip[9] = 0x45, 64, 17
			copy(ip[12:], []byte{10, 51, 1, 1, 10, 99, 0, 2})
			for i := range ip[ipLen+udpLen:] {
				ip[ipLen+udpLen+i] = byte(i * 7)
			}
			PutTrain(p, k)
			total := ipLen + udpLen + k*payload
			if got := int(binary.BigEndian.Uint16(ip[2:])); got != total {
				t.Errorf("%d of %d octets: length %d, want %d", k, payload, got, total)
			}
			if slowSum(ip[:ipLen]) != 0 {
				t.Errorf("%d of %d octets: the IP checksum is wrong", k, payload)
			}
			if p[0] != 1 || p[1] != 5 || binary.NativeEndian.Uint16(p[4:]) != uint16(payload) || binary.NativeEndian.Uint16(p[6:]) != 20 {
				t.Errorf("%d of %d octets: virtio-net header % x", k, payload, p[:HeaderLen])
			}
			// The kernel sums up from the UDP header on and puts the complement there: the result must be the checksum.
			udp := ip[ipLen : ipLen+udpLen]
			whole := append([]byte{}, udp...)
			for range k {
				whole = append(whole, ip[ipLen+udpLen:ipLen+udpLen+payload]...)
			}
			completed := slowSum(whole)
			binary.BigEndian.PutUint16(whole[6:], completed)
			pseudo := append([]byte{}, ip[12:20]...)
			pseudo = append(pseudo, 0, 17, byte((total-ipLen)>>8), byte(total-ipLen))
			if slowSum(pseudo, whole) != 0 {
				t.Errorf("%d of %d octets: the completed UDP checksum is wrong", k, payload)
			}
		}
	}
}

func TestCost(t *testing.T) {
	c := Sum(Cost{Packets: 2, Read: 10, Write: 20, Ack: 2, Whole: 40}, Cost{Packets: 2, Read: 30, Write: 20, Whole: 60})
	if c.PerPacket() != 25 || c.ReadPerPacket() != 10 || c.WritePerPacket() != 10 || c.AckPerPacket() != 0.5 {
		t.Errorf("%+v", c)
	}
	if l := c.Less(Cost{Packets: 3, Read: 39, Write: 38, Ack: 1, Whole: 70}); l != (Cost{1, 1, 2, 1, 30}) {
		t.Errorf("%+v", l)
	}
	if (Cost{}).PerPacket() != 0 {
		t.Error("nothing costs something")
	}
}

// TestThreadTime: the clock runs, and not with the time that the thread sleeps.
func TestThreadTime(t *testing.T) {
	if clockCost() <= 0 {
		t.Error("a look at the clock costs nothing")
	}
	begin := ThreadTime()
	for i := 0; ThreadTime() == begin; i++ {
		if i > 1e6 {
			t.Fatal("the clock stands still")
		}
	}
}
