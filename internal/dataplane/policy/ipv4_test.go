package policy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// ipv4Table holds packets, and the seeds of the fuzz target.
var ipv4Table = []struct {
	name string
	p    []byte
	ok   bool
	want IPv4
}{
	{"plain", ipv4(17, nil, make([]byte, 8)), true, IPv4{HeaderLen: 20, TotalLen: 28, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 17}},
	{"nothing inside", ipv4(17, nil, nil), true, IPv4{HeaderLen: 20, TotalLen: 20, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 17}},
	{"options", ipv4(6, []byte{1, 1, 1, 0}, nil), true, IPv4{HeaderLen: 24, TotalLen: 24, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 6}},
	{"padding behind", append(ipv4(17, nil, nil), 0, 0, 0), true, IPv4{HeaderLen: 20, TotalLen: 20, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 17}},
	{"don't fragment", withFragment(ipv4(17, nil, nil), 0x4000), true, IPv4{HeaderLen: 20, TotalLen: 20, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 17, DontFragment: true}},
	{"fragment", withFragment(ipv4(17, nil, nil), 0x2003), true, IPv4{HeaderLen: 20, TotalLen: 20, Src: 0x0a010002, Dst: 0xc0000201, Protocol: 17, MoreFragments: true, FragmentOffset: 24}},
	{"empty", nil, false, IPv4{}},
	{"short", ipv4(17, nil, nil)[:19], false, IPv4{}},
	{"version 6", change(ipv4(17, nil, nil), 0, 0x65), false, IPv4{}},
	{"header of 16 octets", change(ipv4(17, nil, nil), 0, 0x44), false, IPv4{}},
	{"header beyond the packet", change(ipv4(17, nil, nil), 0, 0x46), false, IPv4{}},
	{"total length beyond the packet", change(ipv4(17, nil, nil), 3, 21), false, IPv4{}},
	{"total length less than the header", change(ipv4(17, nil, nil), 3, 19), false, IPv4{}},
	{"checksum", func() []byte { p := ipv4(17, nil, nil); p[11]++; return p }(), false, IPv4{}},
}

// change sets one octet and corrects the checksum, as far as there is a header.
func change(p []byte, at int, to byte) []byte {
	p[at] = to
	putChecksum(p[:min(max(int(p[0]&0xf)*4, minHeaderLen), len(p))])
	return p
}

func TestParseIPv4(t *testing.T) {
	for _, tt := range ipv4Table {
		t.Run(tt.name, func(t *testing.T) {
			if h, ok := ParseIPv4(tt.p); ok != tt.ok || h != tt.want {
				t.Errorf("%+v %t, want %+v %t", h, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestSources(t *testing.T) {
	routes := []netip.Prefix{
		netip.MustParsePrefix("172.16.5.77/24"), netip.MustParsePrefix("10.1.0.8/32"), netip.MustParsePrefix("2001:db8::/32"), {},
	}
	s, none, all := NewSources(client, routes), Sources{}, NewSources(netip.Addr{}, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")})
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"10.1.0.2", true},
		{"10.1.0.3", false},
		{"10.1.0.8", true},
		{"10.1.0.9", false},
		{"172.16.5.0", true},
		{"172.16.5.255", true},
		{"172.16.6.0", false},
		{"172.16.4.255", false},
		{"0.0.0.0", false},
		{"255.255.255.255", false},
	} {
		a := hostOrder(netip.MustParseAddr(tt.addr))
		if got := s.Allow(a); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.addr, got, tt.want)
		}
		if none.Allow(a) || !all.Allow(a) {
			t.Errorf("%s: allowed by none %t, by 0.0.0.0/0 %t", tt.addr, none.Allow(a), all.Allow(a))
		}
	}
	if six := NewSources(netip.MustParseAddr("2001:db8::1"), nil); six.Allow(0) {
		t.Error("an IPv6 address allows 0.0.0.0")
	}
}

// inner is an MPPE plaintext: a protocol field before a packet.
func inner(protocol, p []byte) []byte { return slices.Concat(protocol, p) }

func TestCredibleInner(t *testing.T) {
	src, none := NewSources(client, nil), Sources{}
	good := ipv4(17, nil, make([]byte, 500))
	six := make([]byte, 60)
	six[0] = 0x60
	binary.BigEndian.PutUint16(six[4:], 20)
	for _, tt := range []struct {
		name      string
		p         []byte
		near, far bool
	}{
		{"IPv4", inner([]byte{0, 0x21}, good), true, true},
		{"IPv4, short protocol field", inner([]byte{0x21}, good), true, true},
		{"IPv4 with the longest options", inner([]byte{0, 0x21}, ipv4(17, make([]byte, 40), make([]byte, 40))), true, true},
		{"IPv4, wrong checksum", inner([]byte{0, 0x21}, append(slices.Clone(good[:10]), append([]byte{1, 1}, good[12:]...)...)), false, false},
		{"IPv4, cut", inner([]byte{0, 0x21}, good[:499]), false, false},
		{"IPv6", inner([]byte{0, 0x57}, six), true, false},
		{"IPv6, wrong length", inner([]byte{0, 0x57}, six[:59]), false, false},
		{"IPv6, no header", inner([]byte{0, 0x57}, six[:39]), false, false},
		{"LCP", []byte{0xc0, 0x21, 9, 1, 0, 4}, false, false},
		{"VJ", []byte{0, 0x2d, 1, 2, 3}, false, false},
		{"even protocol", inner([]byte{0, 0x22}, good), false, false},
		{"protocol only", []byte{0, 0x21}, false, false},
		{"one octet", []byte{0}, false, false},
		{"nothing", nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head := tt.p[:min(len(tt.p), 64)]
			if got := CredibleInner(head, len(tt.p), &src, false); got != tt.near {
				t.Errorf("near %t, want %t", got, tt.near)
			}
			if got := CredibleInner(head, len(tt.p), &src, true); got != tt.far {
				t.Errorf("far %t, want %t", got, tt.far)
			}
			if CredibleInner(head, len(tt.p), &none, true) {
				t.Error("credible far away without a source")
			}
		})
	}
}

func TestCredibleFrame(t *testing.T) {
	src := NewSources(client, nil)
	foreign := ipv4(17, nil, nil)
	foreign[15]++
	putChecksum(foreign)
	for _, tt := range []struct {
		name      string
		protocol  uint16
		info      []byte
		near, far bool
	}{
		{"IPv4", 0x21, ipv4(17, nil, nil), true, true},
		{"IPv4, foreign source", 0x21, foreign, true, false},
		{"IPv4, malformed", 0x21, ipv4(17, nil, nil)[:19], false, false},
		{"LCP", 0xc021, []byte{9, 1, 0, 4}, true, true},
		{"LCP with padding", 0xc021, []byte{9, 1, 0, 4, 0, 0}, true, true},
		{"LCP, cut", 0xc021, []byte{9, 1, 0, 8, 0, 0}, false, false},
		{"LCP, no header", 0xc021, []byte{9, 1, 0}, false, false},
		{"LCP, length 3", 0xc021, []byte{9, 1, 0, 3}, false, false},
		{"LCP, code 0", 0xc021, []byte{0, 1, 0, 4}, false, false},
		{"IPV6CP", 0x8057, []byte{1, 1, 0, 4}, true, true},
		{"link quality report", 0xc025, []byte{0, 0, 0, 0}, true, false},
		{"IPv6", 0x57, []byte{0x60}, true, false},
		{"unknown", 0x0031, nil, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := CredibleFrame(tt.protocol, tt.info, &src, false); got != tt.near {
				t.Errorf("near %t, want %t", got, tt.near)
			}
			if got := CredibleFrame(tt.protocol, tt.info, &src, true); got != tt.far {
				t.Errorf("far %t, want %t", got, tt.far)
			}
		})
	}
}
