package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"concentrator/internal/dataplane/policy"
)

const (
	clientAddress = "10.50.0.7"
	serverAddress = "10.50.0.1"
)

// question is a DHCPINFORM that tests change before it is sent.
type question struct {
	src, dst              string
	sport, dport          uint16
	op, htype, hlen, hops byte
	xid                   uint32
	secs, flags           uint16
	ciaddr, giaddr        string
	chaddr                string // hexadecimal
	options               string // hexadecimal, blanks don't count
	trailing              int    // octets behind the datagram, inside the IP packet
	noChecksum            bool
	wrongChecksum         bool
	udpLen                int // 0: right
	cookie                uint32
	fragment              uint16
	protocol              byte
	ipOptions             int // octets
}

// windows is what Windows 2000 was seen to send (CAP-ASLEAP, frame 267), with the list of Windows 10.
func windows() question {
	return question{
		src: clientAddress, dst: "255.255.255.255", sport: 68, dport: 67, protocol: 17,
		op: 1, htype: 8, hlen: 6, xid: 0x8d6ffc30, secs: 0x0600, ciaddr: clientAddress, giaddr: "0.0.0.0",
		chaddr: "534500000000", cookie: 0x63825363,
		options: "350108 3d0708534500000000 0c06 6c6170746f70 3c08 4d53465420352e30 370c 010f03062c2e2f1f2179f9fc ff",
	}
}

// macOS is what pppd of macOS sends: no checksum, less than 300 octets, an own idea of a hardware address.
func macOS() question {
	q := windows()
	q.xid, q.secs, q.noChecksum = 1, 0, true
	q.chaddr = "00000001000000000000000000000001"
	q.options = "350108 3d070800000001 0000 3706 062e2c01790f ff 00"
	return q
}

func (q question) bytes(t testing.TB) []byte {
	t.Helper()
	m := make([]byte, 240)
	m[0], m[1], m[2], m[3] = q.op, q.htype, q.hlen, q.hops
	binary.BigEndian.PutUint32(m[4:], q.xid)
	binary.BigEndian.PutUint16(m[8:], q.secs)
	binary.BigEndian.PutUint16(m[10:], q.flags)
	copy(m[12:], netip.MustParseAddr(q.ciaddr).AsSlice())
	copy(m[24:], netip.MustParseAddr(q.giaddr).AsSlice())
	copy(m[28:44], unhex(t, q.chaddr))
	binary.BigEndian.PutUint32(m[236:], q.cookie)
	m = append(m, unhex(t, q.options)...)

	datagram := make([]byte, 8, 8+len(m))
	binary.BigEndian.PutUint16(datagram, q.sport)
	binary.BigEndian.PutUint16(datagram[2:], q.dport)
	datagram = append(datagram, m...)
	n := len(datagram)
	if q.udpLen != 0 {
		n = q.udpLen
	}
	binary.BigEndian.PutUint16(datagram[4:], uint16(n))
	src, dst := netip.MustParseAddr(q.src), netip.MustParseAddr(q.dst)
	if !q.noChecksum {
		pseudo := slices.Concat(src.AsSlice(), dst.AsSlice(), []byte{0, 17, byte(n >> 8), byte(n)}, datagram)
		check := ^sum16(pseudo)
		if q.wrongChecksum {
			check++
		}
		binary.BigEndian.PutUint16(datagram[6:], check)
	}
	head := make([]byte, 20+q.ipOptions)
	head[0] = 0x40 | byte(len(head)/4)
	binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(datagram)+q.trailing))
	binary.BigEndian.PutUint16(head[6:], q.fragment)
	head[8], head[9] = 128, q.protocol
	copy(head[12:], src.AsSlice())
	copy(head[16:], dst.AsSlice())
	for i := 20; i < len(head); i++ {
		head[i] = 1 // no operation
	}
	binary.BigEndian.PutUint16(head[10:], ^sum16(head))
	return slices.Concat(head, datagram, make([]byte, q.trailing))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sum16 is the ones' complement sum, written another way than the package's.
func sum16(b []byte) uint16 {
	var n uint64
	for i, o := range b {
		n += uint64(o) << (8 * (1 - i%2))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// ask puts a question to an Answer, and reads the reply strictly.
func ask(t testing.TB, a *Answer, p []byte, most int) (reply, bool) {
	t.Helper()
	h, ok := policy.ParseIPv4(p)
	if !ok {
		t.Fatal("the question is no IPv4 packet")
	}
	out, ok := a.Append(nil, p, &h, most)
	if !ok {
		if len(out) != 0 {
			t.Errorf("no answer, but % x", out)
		}
		return reply{}, false
	}
	return read(t, out, p, h, most), true
}

// reply is an answer as a client reads it.
type reply struct {
	message []byte
	order   []byte
	options map[byte][]byte
	length  int // of the IP packet
}

// read checks everything about an answer but what it says.
func read(t testing.TB, p, question []byte, h policy.IPv4, most int) reply {
	t.Helper()
	got, ok := policy.ParseIPv4(p)
	if !ok || got.TotalLen != len(p) || len(p) > most || len(p) > 576 || len(p) < 328 {
		t.Fatalf("no sound packet of at most %d octets: %d, %+v", most, len(p), got)
	}
	if got.Protocol != 17 || got.Dst != h.Src || got.FragmentOffset != 0 || got.MoreFragments || p[8] == 0 {
		t.Fatalf("sent as %+v", got)
	}
	pseudo := slices.Concat(p[12:20], []byte{0, 17}, p[24:26], p[20:])
	if sum16(pseudo) != 0xffff || binary.BigEndian.Uint16(p[26:]) == 0 {
		t.Fatal("UDP checksum is wrong")
	}
	if !slices.Equal(p[20:26], []byte{0, 67, 0, 68, byte((len(p) - 20) >> 8), byte(len(p) - 20)}) {
		t.Fatalf("UDP header % x", p[20:28])
	}
	r := reply{message: p[28:], options: map[byte][]byte{}, length: len(p)}
	m, asked := r.message, question[h.HeaderLen+8:]
	want := make([]byte, 240)
	copy(want, asked[:16])
	want[0], want[3], want[8], want[9] = 2, 0, 0, 0
	copy(want[20:], p[12:16])
	copy(want[28:], asked[28:44])
	copy(want[236:], "\x63\x82\x53\x63")
	if !slices.Equal(m[:240], want) {
		t.Fatalf("fixed fields\n% x\nwant\n% x", m[:240], want)
	}
	rest := m[240:]
	for {
		if len(rest) == 0 {
			t.Fatal("no end")
		}
		if rest[0] == 255 {
			break
		}
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			t.Fatalf("option cut: % x", rest)
		}
		if _, twice := r.options[rest[0]]; twice || rest[0] == 0 {
			t.Fatalf("option %d twice, or padding before the end", rest[0])
		}
		r.order = append(r.order, rest[0])
		end := 2 + int(rest[1])
		r.options[rest[0]] = rest[2:end]
		rest = rest[end:]
	}
	if slices.ContainsFunc(rest[1:], func(b byte) bool { return b != 0 }) {
		t.Fatal("something behind the end")
	}
	if len(r.order) < 2 || r.order[0] != 53 || r.order[1] != 54 || string(r.options[53]) != "\x05" ||
		!slices.Equal(r.options[54], p[12:16]) {
		t.Fatalf("not a DHCPACK of the sender: options %v, %v", r.order, r.options)
	}
	return r
}
