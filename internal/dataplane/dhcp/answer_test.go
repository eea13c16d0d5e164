package dhcp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"concentrator/internal/dataplane/policy"
)

func config() Config {
	return Config{
		Server: netip.MustParseAddr(serverAddress), Client: netip.MustParseAddr(clientAddress),
		DNS:    []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
		WINS:   []netip.Addr{netip.MustParseAddr("192.0.2.55")},
		Suffix: "corp.example",
		Routes: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.16.0.0/12"), netip.MustParsePrefix("198.51.100.9/32"),
		},
	}
}

// encodedRoutes is config's routes by the table of RFC 3442 page 3: width, significant octets, router.
const encodedRoutes = "18 c00002 0a320001  0c 0a10 0a320001  20 c6336409 0a320001"

func TestWindows(t *testing.T) {
	r, ok := ask(t, New(config()), windows().bytes(t), 1400)
	if !ok {
		t.Fatal("no answer")
	}
	want := map[byte]string{
		53: "05", 54: "0a320001", 61: "08534500000000", 1: "ffffffff", 15: "636f72702e6578616d706c65",
		6: "c0000235 c0000236", 44: "c0000237", 121: encodedRoutes, 249: encodedRoutes,
	}
	if len(r.options) != len(want) {
		t.Errorf("options %v", r.order)
	}
	for code, value := range want {
		if !slices.Equal(r.options[code], unhex(t, value)) {
			t.Errorf("option %d is % x, want %s", code, r.options[code], value)
		}
	}
	if got := r.order[3:]; !slices.Equal(got, []byte{1, 15, 6, 44, 121, 249}) { // as asked, RFC 2132 section 9.8
		t.Errorf("in the order %v", got)
	}
}

// TestMacOS: what its pppd takes: the message type first, at least an octet behind the last option, and no option 249.
func TestMacOS(t *testing.T) {
	p := macOS().bytes(t)
	if len(p) >= 328 {
		t.Fatal("not as short as it was seen")
	}
	r, ok := ask(t, New(config()), p, 1280)
	if !ok {
		t.Fatal("no answer")
	}
	if got := r.order[3:]; !slices.Equal(got, []byte{6, 44, 1, 15, 121}) {
		t.Errorf("told %v", got)
	}
	if r.order[0] != 53 || !slices.Equal(r.options[121], unhex(t, encodedRoutes)) {
		t.Errorf("%v", r.options)
	}
}

func TestWhatIsTold(t *testing.T) {
	with := func(options string) question {
		q := windows()
		q.options = "350108" + options + "ff"
		return q
	}
	for name, c := range map[string]struct {
		config func(*Config)
		asked  question
		most   int
		want   string // codes behind 53 and 54

		clientID string // hexadecimal; empty: not looked at
	}{
		"everything without a list": {asked: with(""), want: "[1 6 15 44 121 249]"},
		"an empty list":             {asked: with("3700"), want: "[]"},
		"only what is asked":        {asked: with("3702 0601"), want: "[6 1]"},
		"each once":                 {asked: with("3706 060679797906"), want: "[6 121]"},
		"nothing that we have":      {asked: with("3703 032b fc"), want: "[]"},
		"not what is ours alone":    {asked: with("3706 3536 3d 00 ff 33"), want: "[]"},
		"routes last":               {asked: with("3705 f979060f01"), want: "[6 15 1 249 121]"},
		"the first of two names":    {asked: with("3d03 08aabb 3d02 08cc 3700"), want: "[61]", clientID: "08aabb"},
		"the first of two lists":    {asked: with("3701 06 3701 0f"), want: "[6]"},
		"no routes":                 {config: func(c *Config) { c.Routes = nil }, asked: windows(), want: "[61 1 15 6 44]"},
		"routes alone": {
			config: func(c *Config) { c.DNS, c.WINS, c.Suffix = nil, nil, "" }, asked: windows(), want: "[61 1 121 249]",
		},
		"only what is IPv4": {
			config: func(c *Config) {
				c.DNS, c.WINS = []netip.Addr{netip.MustParseAddr("2001:db8::1")}, []netip.Addr{{}}
				c.Routes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), {}}
			},
			asked: windows(), want: "[61 1 15]",
		},
		"a suffix that no option holds": {
			config: func(c *Config) { c.Suffix = strings.Repeat("a", 256) }, asked: windows(), want: "[61 1 6 44 121 249]",
		},
		"routes twice do not fit": {
			config: func(c *Config) { c.Routes = many(30) }, asked: windows(), want: "[61 1 15 6 44 121]",
		},
		"routes do not fit behind a long identifier": {
			config: func(c *Config) { c.Routes = many(30) },
			asked:  with("3dff" + strings.Repeat("aa", 255) + "3702 7906"), want: "[61 6]",
		},
		"a narrow link": {
			asked: with(""), config: func(c *Config) { c.Routes = many(12) }, most: 328, want: "[1 6 15 44]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			if c.config != nil {
				c.config(&cfg)
			}
			if c.most == 0 {
				c.most = 1500
			}
			r, ok := ask(t, New(cfg), c.asked.bytes(t), c.most)
			if !ok {
				t.Fatal("no answer")
			}
			if got := fmt.Sprint(r.order[2:]); got != c.want {
				t.Errorf("told %s, want %s", got, c.want)
			}
			if c.clientID != "" && !slices.Equal(r.options[61], unhex(t, c.clientID)) {
				t.Errorf("identifier % x", r.options[61])
			}
		})
	}
}

// many makes n networks of eight octets each in the option.
func many(n int) []netip.Prefix {
	var list []netip.Prefix
	for i := range n {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 0}), 24))
	}
	return list
}

// TestNamedFits: what the API lets a profile hold, 240 octets of routes and suffix, is told whole.
func TestNamedFits(t *testing.T) {
	for _, n := range []int{0, 15, 28} {
		cfg := config()
		cfg.Routes, cfg.Suffix = many(n), strings.Repeat("a", 240-8*n)
		r, ok := ask(t, New(cfg), windows().bytes(t), 576)
		if !ok || len(r.options[121]) != 8*n || len(r.options[15]) != 240-8*n ||
			len(r.options[6]) != 8 || len(r.options[44]) != 4 {
			t.Errorf("%d routes: told %v", n, r.order)
		}
	}
}

func TestRouteWidths(t *testing.T) {
	for prefix, want := range map[string]string{ // RFC 3442 page 3
		"0.0.0.0/0": "00", "10.0.0.0/8": "080a", "10.0.0.0/24": "180a0000", "10.17.0.0/16": "100a11",
		"10.27.129.0/24": "180a1b81", "10.229.0.128/25": "190ae50080", "10.198.122.47/32": "200ac67a2f",
		"10.255.255.255/9": "090a80", "128.0.0.0/1": "0180",
	} {
		got := routes([]netip.Prefix{netip.MustParsePrefix(prefix)}, netip.MustParseAddr(serverAddress))
		if !slices.Equal(got, unhex(t, want+"0a320001")) {
			t.Errorf("%s is % x, want %s and the router", prefix, got, want)
		}
	}
	if got := routes(many(100), netip.MustParseAddr(serverAddress)); len(got) != 31*8 {
		t.Errorf("100 routes are %d octets", len(got))
	}
}

func TestNothingToTell(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"nothing":         func(c *Config) { *c = Config{Server: c.Server, Client: c.Client} },
		"no server":       func(c *Config) { c.Server = netip.Addr{} },
		"server of IPv6":  func(c *Config) { c.Server = netip.MustParseAddr("2001:db8::1") },
		"client of IPv6":  func(c *Config) { c.Client = netip.MustParseAddr("2001:db8::1") },
		"only wrong ones": func(c *Config) { *c = Config{Server: c.Server, Client: c.Client, DNS: []netip.Addr{{}}} },
	} {
		cfg := config()
		change(&cfg)
		if New(cfg) != nil {
			t.Errorf("%s: an Answer", name)
		}
	}
}

// TestQuestions: what is answered and what is not.
func TestQuestions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*question)
		asks   bool // by Asks
		want   bool
	}{
		"as it is":               {func(*question) {}, true, true},
		"unicast":                {func(q *question) { q.dst = serverAddress }, true, true},
		"no ciaddr":              {func(q *question) { q.ciaddr = "0.0.0.0" }, true, true},
		"hops":                   {func(q *question) { q.hops = 3 }, true, true},
		"broadcast flag":         {func(q *question) { q.flags = 0x8000 }, true, true},
		"other hardware":         {func(q *question) { q.htype, q.hlen, q.chaddr = 1, 16, strings.Repeat("ab", 16) }, true, true},
		"IP options":             {func(q *question) { q.ipOptions = 40 }, true, true},
		"octets behind it":       {func(q *question) { q.trailing = 9 }, true, true},
		"no end":                 {func(q *question) { q.options = "350108" }, true, true},
		"type behind others":     {func(q *question) { q.options = "0c0161 00 00 350108 ff" }, true, true},
		"rubbish behind the end": {func(q *question) { q.options = "350108 ff 01" }, true, true},
		"no checksum":            {func(q *question) { q.noChecksum = true }, true, true},

		"wrong checksum":    {func(q *question) { q.wrongChecksum = true }, true, false},
		"another's address": {func(q *question) { q.src = "10.50.0.8" }, true, false},
		"another's ciaddr":  {func(q *question) { q.ciaddr = "10.50.0.8" }, true, false},
		"a reply":           {func(q *question) { q.op = 2 }, true, false},
		"long hardware":     {func(q *question) { q.hlen = 17 }, true, false},
		"by a relay":        {func(q *question) { q.giaddr = "10.50.0.8" }, true, false},
		"no cookie":         {func(q *question) { q.cookie = 0x63825364 }, true, false},
		"a DISCOVER":        {func(q *question) { q.options = "350101 ff" }, true, false},
		"a REQUEST":         {func(q *question) { q.options = "350103 ff" }, true, false},
		"no type":           {func(q *question) { q.options = "0c0161 ff" }, true, false},
		"two types":         {func(q *question) { q.options = "350101 350108 ff" }, true, false},
		"a type of two":     {func(q *question) { q.options = "35020808 ff" }, true, false},
		"a type of nothing": {func(q *question) { q.options = "3500 ff" }, true, false},
		"type behind end":   {func(q *question) { q.options = "ff 350108" }, true, false},
		"no options":        {func(q *question) { q.options = "" }, true, false},
		"an option cut":     {func(q *question) { q.options = "350108 0c05 61" }, true, false},
		"a length cut":      {func(q *question) { q.options = "350108 0c" }, true, false},
		"UDP too long":      {func(q *question) { q.udpLen, q.noChecksum = 1000, true }, true, false},
		"UDP too short":     {func(q *question) { q.udpLen, q.noChecksum = 247, true }, true, false},
		"UDP of nothing":    {func(q *question) { q.udpLen, q.noChecksum = 7, true }, true, false},

		"other ports":      {func(q *question) { q.sport = 67 }, false, false},
		"to a client":      {func(q *question) { q.dport = 68 }, false, false},
		"TCP":              {func(q *question) { q.protocol = 6 }, false, false},
		"first fragment":   {func(q *question) { q.fragment = 0x2000 }, false, false},
		"further fragment": {func(q *question) { q.fragment = 0x0002 }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := windows()
			c.change(&q)
			p := q.bytes(t)
			h, ok := policy.ParseIPv4(p)
			if !ok || Asks(p, &h) != c.asks {
				t.Errorf("Asks says %v", !c.asks)
			}
			if _, ok := ask(t, New(config()), p, 576); ok != c.want {
				t.Errorf("answered: %v", ok)
			}
		})
	}
}

// TestShortPackets: whatever an honest header and a liar's datagram have in common.
func TestShortPackets(t *testing.T) {
	whole := windows().bytes(t)
	a := New(config())
	for n := 20; n < len(whole); n++ {
		p := slices.Clone(whole[:n])
		p[2], p[3] = byte(n>>8), byte(n)
		p[10], p[11] = 0, 0
		check := ^sum16(p[:20])
		p[10], p[11] = byte(check>>8), byte(check)
		if _, ok := ask(t, a, p, 576); ok {
			t.Fatalf("answered with %d of %d octets", n, len(whole))
		}
	}
}

func TestNarrowLink(t *testing.T) {
	a, p := New(config()), windows().bytes(t)
	if _, ok := ask(t, a, p, MinLen-1); ok {
		t.Error("answered where no answer fits")
	}
	for most := MinLen; most <= MaxLen; most++ {
		if _, ok := ask(t, a, p, most); !ok {
			t.Fatalf("no answer of %d octets", most)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	a, p := New(config()), windows().bytes(t)
	h, _ := policy.ParseIPv4(p)
	b := make([]byte, 0, MaxLen)
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := a.Append(b, p, &h, MaxLen); !ok {
			t.Fatal("no answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAppendKeepsWhatIsThere: an answer goes behind what the buffer holds.
func TestAppendKeepsWhatIsThere(t *testing.T) {
	for _, routes := range []int{0, 20} { // an answer that is padded, and one that does not hold all
		cfg := config()
		cfg.Routes = many(routes)
		a, p := New(cfg), windows().bytes(t)
		h, _ := policy.ParseIPv4(p)
		alone, _ := a.Append(nil, p, &h, 500)
		dirty := slices.Repeat([]byte{0xee}, 2000)
		got, ok := a.Append(dirty[:100], p, &h, 500)
		if !ok || !slices.Equal(got[:100], slices.Repeat([]byte{0xee}, 100)) || !slices.Equal(got[100:], alone) {
			t.Errorf("%d routes: % x, want % x", routes, got, alone)
		}
		if a.Server() != 0x0a320001 {
			t.Errorf("server %#x", a.Server())
		}
	}
}

// TestChecksumOfZero: a checksum that comes out as 0 is sent as 0xffff, since 0 says that there is none. One of all
// transaction IDs that differ in two octets brings it about; reading an answer checks it.
func TestChecksumOfZero(t *testing.T) {
	a, q, all := New(config()), windows(), 0
	for xid := range uint32(0x10000) {
		q.xid = xid
		p := q.bytes(t)
		h, _ := policy.ParseIPv4(p)
		out, ok := a.Append(nil, p, &h, MaxLen)
		if !ok {
			t.Fatal("no answer")
		}
		if out[26] == 0xff && out[27] == 0xff {
			all++
			read(t, out, p, h, MaxLen)
		}
		if out[26] == 0 && out[27] == 0 {
			t.Fatalf("transaction ID %d: no checksum", xid)
		}
	}
	if all != 1 {
		t.Errorf("%d answers with the checksum 0xffff", all)
	}
}
