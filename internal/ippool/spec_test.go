package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

func TestParseSpec(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name    string
		spec    Spec
		gateway string
		size    int
		in, out []string // some that are leased, some that are not
	}{
		{
			"a /24",
			Spec{Ranges: []string{"10.8.0.0/24"}},
			"10.8.0.1", 253,
			[]string{"10.8.0.2", "10.8.0.254"},
			[]string{"10.8.0.0", "10.8.0.1", "10.8.0.255", "10.8.1.1"},
		},
		{"a /30 has two hosts", Spec{Ranges: []string{"10.8.0.4/30"}}, "10.8.0.5", 1, []string{"10.8.0.6"}, []string{"10.8.0.4", "10.8.0.7"}},
		{"a /31 has no network address", Spec{Ranges: []string{"10.8.0.4/31"}}, "10.8.0.4", 1, []string{"10.8.0.5"}, nil},
		{"a /32 beside", Spec{Ranges: []string{"10.8.0.4/32", "10.9.0.0/32"}}, "10.8.0.4", 1, []string{"10.9.0.0"}, nil},
		{"a range is taken whole", Spec{Ranges: []string{"10.8.0.0-10.8.0.255"}}, "10.8.0.0", 255, []string{"10.8.0.1", "10.8.0.255"}, nil},
		{"spaces around the hyphen", Spec{Ranges: []string{"10.8.0.1 - 10.8.0.3"}}, "10.8.0.1", 2, nil, nil},
		{"one address and a gateway elsewhere", Spec{Ranges: []string{"10.8.0.9"}, Gateway: addr("192.0.2.1")}, "192.0.2.1", 1, []string{"10.8.0.9"}, nil},
		{
			"a gateway in the middle",
			Spec{Ranges: []string{"10.8.0.0/24"}, Gateway: addr("10.8.0.100")},
			"10.8.0.100", 253,
			[]string{"10.8.0.1", "10.8.0.99", "10.8.0.101"},
			[]string{"10.8.0.100"},
		},
		{"the first range has the gateway, the order of numbers does not matter", Spec{Ranges: []string{"10.9.0.0/24", "10.8.0.0/24"}}, "10.9.0.1", 253 + 254, nil, nil},
		{
			"exclude",
			Spec{Ranges: []string{"10.8.0.0/24"}, Exclude: []string{"10.8.0.16/28", "10.8.0.200-10.8.1.200", "10.8.0.7", "10.8.0.7", "10.8.0.20"}},
			"10.8.0.1", 253 - 16 - 55 - 1,
			[]string{"10.8.0.15", "10.8.0.32", "10.8.0.199"},
			[]string{"10.8.0.16", "10.8.0.31", "10.8.0.200", "10.8.0.254", "10.8.0.7"},
		},
		{"exclude that holds the gateway", Spec{Ranges: []string{"10.8.0.0/24"}, Exclude: []string{"10.8.0.1-10.8.0.9"}}, "10.8.0.1", 254 - 9, nil, nil},
		{
			"exclude over several ranges",
			Spec{Ranges: []string{"10.8.0.0/30", "10.8.0.8/30", "10.8.0.4/30"}, Exclude: []string{"10.8.0.6-10.8.0.9"}},
			"10.8.0.1", 3,
			[]string{"10.8.0.2", "10.8.0.5", "10.8.0.10"},
			nil,
		},
		{"a /8", Spec{Ranges: []string{"10.0.0.0/8"}}, "10.0.0.1", 1<<24 - 3, nil, nil},
		{"neighbours do not overlap", Spec{Ranges: []string{"10.8.0.0/25", "10.8.0.128/25"}}, "10.8.0.1", 125 + 126, nil, nil},
	} {
		p, err := ParseSpec(tt.spec)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if p.Gateway() != addr(tt.gateway) || p.Size() != tt.size {
			t.Errorf("%s: gateway %s, size %d; want %s, %d", tt.name, p.Gateway(), p.Size(), tt.gateway, tt.size)
		}
		for _, a := range tt.in {
			if !contains(p.usable, toNumber(addr(a))) {
				t.Errorf("%s: %s is not leased", tt.name, a)
			}
		}
		for _, a := range append(tt.out, tt.gateway) {
			if contains(p.usable, toNumber(addr(a))) {
				t.Errorf("%s: %s is leased", tt.name, a)
			}
		}
	}
}

var badSpecs = []struct {
	name  string
	spec  Spec
	field string
	says  string
}{
	{"nothing", Spec{}, "ranges", "0 ranges"},
	{"text", Spec{Ranges: []string{"ten"}}, "ranges[0]", `"ten" is not an IPv4 address`},
	{"empty text", Spec{Ranges: []string{""}}, "ranges[0]", `"" is not`},
	{"bad CIDR", Spec{Ranges: []string{"10.0.0.0/33"}}, "ranges[0]", "CIDR"},
	{"CIDR range", Spec{Ranges: []string{"10.0.0.0/24-10.0.1.0/24"}}, "ranges[0]", "CIDR"},
	{"host bits", Spec{Ranges: []string{"10.0.0.5/24"}}, "ranges[0]", "write 10.0.0.0/24"},
	{"backwards", Spec{Ranges: []string{"10.0.0.9-10.0.0.1"}}, "ranges[0]", "ends before it begins"},
	{"open range", Spec{Ranges: []string{"10.0.0.9-"}}, "ranges[0]", "not an IPv4 address"},
	{"IPv6", Spec{Ranges: []string{"2001:db8::/64"}}, "ranges[0]", "IPv4 only"},
	{"IPv6 address", Spec{Ranges: []string{"2001:db8::1-2001:db8::2"}}, "ranges[0]", "IPv4 only"},
	{"mapped IPv6", Spec{Ranges: []string{"::ffff:10.0.0.0/120"}}, "ranges[0]", ""},
	{"IPv6 gateway", Spec{Ranges: []string{"10.0.0.0/24"}, Gateway: netip.MustParseAddr("2001:db8::1")}, "gateway", "IPv4 only"},
	{"loopback", Spec{Ranges: []string{"127.0.0.0/24"}}, "ranges[0]", "loopback"},
	{"multicast", Spec{Ranges: []string{"10.0.0.0/24", "223.255.255.0-224.0.0.1"}}, "ranges[1]", "multicast"},
	{"all", Spec{Ranges: []string{"0.0.0.0/0"}}, "ranges[0]", "larger than a /8"},
	{"too many addresses", Spec{Ranges: []string{"10.0.0.0-11.0.0.0"}}, "ranges[0]", "larger than a /8"},
	{"overlap", Spec{Ranges: []string{"10.0.0.0/24", "10.0.1.0/24", "10.0.0.128-10.0.2.0"}}, "ranges[2]", `overlaps ranges[0] "10.0.0.0/24"`},
	{"the same twice", Spec{Ranges: []string{"10.0.0.0/24", "10.0.0.0/24"}}, "ranges[1]", "overlaps"},
	{"broadcast address of another", Spec{Ranges: []string{"10.0.0.0/24", "10.0.0.255-10.0.1.9"}}, "ranges[1]", "overlaps"},
	{"gateway is the network", Spec{Ranges: []string{"10.0.0.0/24"}, Gateway: netip.MustParseAddr("10.0.0.0")}, "gateway", "network or broadcast"},
	{"gateway is the broadcast", Spec{Ranges: []string{"10.0.0.0/24"}, Gateway: netip.MustParseAddr("10.0.0.255")}, "gateway", "network or broadcast"},
	{"gateway is loopback", Spec{Ranges: []string{"10.0.0.0/24"}, Gateway: netip.MustParseAddr("127.0.0.1")}, "gateway", "loopback"},
	{"bad exclude", Spec{Ranges: []string{"10.0.0.0/24"}, Exclude: []string{"10.0.0.5", "x"}}, "exclude[1]", `"x"`},
	{"only the gateway", Spec{Ranges: []string{"10.0.0.1"}}, "ranges", "no address is left"},
	{"all excluded", Spec{Ranges: []string{"10.0.0.0/24"}, Exclude: []string{"10.0.0.0/8"}}, "ranges", "no address is left"},
	{"many ranges", Spec{Ranges: make([]string, MaxRanges+1)}, "ranges", "257 ranges"},
	{"many excludes", Spec{Ranges: []string{"10.0.0.0/24"}, Exclude: make([]string, MaxExclude+1)}, "exclude", "4097 entries"},
}

func TestParseSpecRefuses(t *testing.T) {
	for _, tt := range badSpecs {
		_, err := ParseSpec(tt.spec)
		fe, ok := errors.AsType[*FieldError](err)
		if !ok {
			t.Errorf("%s: %v, want a *FieldError", tt.name, err)
			continue
		}
		if fe.Field != tt.field || !strings.Contains(fe.Err.Error(), tt.says) {
			t.Errorf("%s: %q, want field %s and %q", tt.name, fe, tt.field, tt.says)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, tt := range []struct {
		ranges []string
		want   string
	}{
		{[]string{"10.8.0.0/24"}, "[10.8.0.0/24]"},
		{[]string{"10.8.0.1-10.8.0.6"}, "[10.8.0.1/32 10.8.0.2/31 10.8.0.4/31 10.8.0.6/32]"},
		{[]string{"10.8.0.0-10.8.1.255", "10.0.0.0/8"}, ""},
		{[]string{"10.8.0.0-10.8.1.255", "192.0.2.4/31"}, "[10.8.0.0/23 192.0.2.4/31]"},
		{[]string{"223.255.255.254-223.255.255.255"}, "[223.255.255.254/31]"},
	} {
		p, err := ParseSpec(Spec{Ranges: tt.ranges})
		if tt.want == "" {
			if err == nil {
				t.Errorf("%v was taken", tt.ranges)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tt.ranges, err)
		} else if got := fmt.Sprint(p.Prefixes()); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.ranges, got, tt.want)
		}
	}
}

// FuzzParseSpec holds any spec that is taken against what a pool must be.
func FuzzParseSpec(f *testing.F) {
	corpus.Add(f)
	for _, tt := range badSpecs[:23] {
		f.Add(strings.Join(tt.spec.Ranges, " "), "10.0.0.7", "")
	}
	f.Add("10.8.0.0/24 10.9.0.1-10.9.0.9", "10.8.0.0/28 10.9.0.5", "10.8.0.99")
	f.Fuzz(func(t *testing.T, ranges, exclude, gateway string) {
		spec := Spec{Ranges: strings.Fields(ranges), Exclude: strings.Fields(exclude)}
		spec.Gateway, _ = netip.ParseAddr(gateway)
		p, err := ParseSpec(spec)
		if err != nil {
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Fatalf("%v is no *FieldError", err)
			}
			return
		}
		if contains(p.usable, p.gateway) {
			t.Fatalf("gateway %s is leased", p.Gateway())
		}
		var size uint64
		for i, s := range p.usable {
			if s.lo > s.hi || i > 0 && p.usable[i-1].hi >= s.lo {
				t.Fatalf("spans %v", p.usable)
			}
			if !contains(p.ranges, s.lo) || !contains(p.ranges, s.hi) {
				t.Fatalf("%s is outside of %v", s, p.ranges)
			}
			for _, text := range spec.Exclude {
				if e, _, err := parseSpan(text); err != nil || e.overlaps(s) {
					t.Fatalf("%s is excluded by %s", s, text)
				}
			}
			size += s.size()
		}
		if size == 0 || int(size) != p.Size() {
			t.Fatalf("size %d, counted %d", p.Size(), size)
		}
		var routed, blocks uint64
		for _, r := range p.Prefixes() {
			routed += 1 << (32 - r.Bits())
		}
		for _, b := range p.blocks {
			blocks += b.size()
		}
		if routed != blocks {
			t.Fatalf("routes cover %d addresses, the ranges have %d", routed, blocks)
		}
	})
}
