package policy

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"concentrator/internal/tenant"
)

// rule makes a rule of words: action, direction, protocol, source, destination, source ports, destination ports; "" and
// what is left out mean everything.
func rule(t testing.TB, words ...string) tenant.ACLRule {
	t.Helper()
	w := make([]string, 7)
	copy(w, words)
	r := tenant.ACLRule{Action: tenant.ACLAction(w[0]), Direction: tenant.ACLDirection(w[1]), Protocol: w[2]}
	for i, list := range []*[]netip.Prefix{&r.Sources, &r.Destinations} {
		if w[3+i] != "" {
			*list = []netip.Prefix{netip.MustParsePrefix(w[3+i])}
		}
	}
	for i, list := range []*[]tenant.PortRange{&r.SourcePorts, &r.DestinationPorts} {
		if w[5+i] != "" {
			p, err := tenant.ParsePortRange(w[5+i])
			if err != nil {
				t.Fatal(err)
			}
			*list = []tenant.PortRange{p}
		}
	}
	return r
}

func compile(t testing.TB, rules ...tenant.ACLRule) *ACL {
	t.Helper()
	a, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// between puts addresses into a packet.
func between(p []byte, from, to string) []byte {
	copy(p[12:], netip.MustParseAddr(from).AsSlice())
	copy(p[16:], netip.MustParseAddr(to).AsSlice())
	putChecksum(p[:int(p[0]&0xf)*4])
	return p
}

// ports is the beginning of a TCP or UDP header, and some payload.
func ports(from, to uint16) []byte {
	p := make([]byte, 24)
	binary.BigEndian.PutUint16(p, from)
	binary.BigEndian.PutUint16(p[2:], to)
	return p
}

func TestACL(t *testing.T) {
	web := []tenant.ACLRule{
		rule(t, "DENY", "UP", "any", "", "192.0.2.64/26"),
		rule(t, "PERMIT", "UP", "tcp", "10.1.0.0/24", "192.0.2.0/24", "1024-65535", "80"),
		rule(t, "PERMIT", "BOTH", "icmp"),
		rule(t, "PERMIT", "UP", "47", "", "198.51.100.7/32"),
	}
	tcp := func(from, to string, sport, dport uint16) []byte {
		return between(ipv4(6, nil, ports(sport, dport)), from, to)
	}
	toServer := func(p []byte) []byte { return between(p, "10.1.0.2", "192.0.2.1") }
	routed := func(option byte) []byte {
		return toServer(ipv4(1, []byte{1, option, 7, 4, 192, 0, 2, 9}, ports(0, 0)))
	}
	downOnly := []tenant.ACLRule{rule(t, "DENY", "DOWN", "udp", "", "", "", "53"), rule(t, "PERMIT", "DOWN", "udp")}
	portsOnly := []tenant.ACLRule{rule(t, "PERMIT", "UP", "udp", "", "", "", "53")}
	everything := []tenant.ACLRule{rule(t, "PERMIT", "UP", "", "0.0.0.0/0")}
	highest := []tenant.ACLRule{rule(t, "PERMIT", "UP", "", "", "255.255.255.255/32")}
	edgePorts := []tenant.ACLRule{rule(t, "PERMIT", "UP", "tcp", "", "", "0", "65535")}
	denial := []tenant.ACLRule{rule(t, "DENY", "UP", "gre")}
	udp := func(n int) []byte { return ipv4(17, nil, ports(5000, 53)[:n]) }

	for name, c := range map[string]struct {
		rules []tenant.ACLRule
		down  bool
		p     []byte
		want  bool
	}{
		"permitted":                       {web, false, tcp("10.1.0.2", "192.0.2.1", 1024, 80), true},
		"lowest and highest":              {web, false, tcp("10.1.0.255", "192.0.2.63", 65535, 80), true},
		"another source":                  {web, false, tcp("10.1.1.0", "192.0.2.1", 1024, 80), false},
		"another destination":             {web, false, tcp("10.1.0.2", "192.0.3.0", 1024, 80), false},
		"another source port":             {web, false, tcp("10.1.0.2", "192.0.2.1", 1023, 80), false},
		"another port":                    {web, false, tcp("10.1.0.2", "192.0.2.1", 1024, 81), false},
		"another protocol":                {web, false, toServer(ipv4(17, nil, ports(1024, 80))), false},
		"an earlier rule denies":          {web, false, tcp("10.1.0.2", "192.0.2.64", 1024, 80), false},
		"behind what is denied":           {web, false, tcp("10.1.0.2", "192.0.2.128", 1024, 80), true},
		"by number":                       {web, false, between(ipv4(47, nil, nil), "10.1.0.2", "198.51.100.7"), true},
		"both ways, up":                   {web, false, between(ipv4(1, nil, nil), "10.1.0.2", "203.0.113.1"), true},
		"both ways, down":                 {web, true, between(ipv4(1, nil, nil), "203.0.113.1", "10.1.0.2"), true},
		"the other way, restricted":       {web, true, tcp("192.0.2.1", "10.1.0.2", 80, 1024), false},
		"the other way, without rules":    {downOnly, false, tcp("10.1.0.2", "192.0.2.1", 1, 2), true},
		"denied down":                     {downOnly, true, udp(24), false},
		"first fragment":                  {portsOnly, false, withFragment(udp(24), flagMoreFragments), true},
		"first fragment, denied":          {downOnly, true, withFragment(udp(24), flagMoreFragments), false},
		"later fragment, only with ports": {portsOnly, false, withFragment(udp(24), 3), false},
		"later fragment, without ports":   {downOnly, true, withFragment(udp(24), 3), true},
		"too short for ports":             {downOnly, true, udp(3), false},
		"just long enough for ports":      {portsOnly, false, udp(4), true},
		"UDP at octet 8":                  {everything, false, withFragment(udp(24), 1), true},
		"TCP at octet 8":                  {everything, false, withFragment(ipv4(6, nil, ports(1, 2)), 1), false},
		"TCP at octet 16":                 {everything, false, withFragment(ipv4(6, nil, ports(1, 2)), 2), true},
		"record route":                    {web, false, routed(7), true},
		"loose source route":              {web, false, routed(131), false},
		"strict source route":             {web, false, routed(137), false},
		"option that can't be":            {web, false, toServer(ipv4(1, []byte{7, 9, 0, 0}, nil)), false},
		"source route, no rules":          {downOnly, false, routed(131), true},
		"behind the end of options":       {web, false, toServer(ipv4(1, []byte{0, 131, 7, 4}, nil)), true},
		"all addresses, lowest":           {everything, false, tcp("0.0.0.0", "1.1.1.1", 1, 2), true},
		"all addresses, highest":          {everything, false, tcp("255.255.255.255", "1.1.1.1", 1, 2), true},
		"the highest address":             {highest, false, tcp("1.1.1.1", "255.255.255.255", 1, 2), true},
		"not quite the highest":           {highest, false, tcp("1.1.1.1", "255.255.255.254", 1, 2), false},
		"the highest port":                {edgePorts, false, tcp("1.1.1.1", "2.2.2.2", 0, 65535), true},
		"not quite the highest port":      {edgePorts, false, tcp("1.1.1.1", "2.2.2.2", 0, 65534), false},
		"not quite the lowest port":       {edgePorts, false, tcp("1.1.1.1", "2.2.2.2", 1, 65535), false},
		"only denials deny everything":    {denial, false, tcp("1.1.1.1", "2.2.2.2", 1, 2), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compile(t, c.rules...).Permit(!c.down, c.p, parse(t, c.p)); got != c.want {
				t.Errorf("Permit says %v", got)
			}
		})
	}
}

// TestACLLists: any entry of a list will do, and they may overlap and touch.
func TestACLLists(t *testing.T) {
	r := rule(t, "PERMIT", "UP", "udp")
	for _, s := range []string{"10.0.0.0/25", "10.0.0.128/25", "10.0.0.64/26", "10.2.0.0/16"} {
		r.Destinations = append(r.Destinations, netip.MustParsePrefix(s))
	}
	r.DestinationPorts = []tenant.PortRange{
		{First: 10, Last: 20}, {First: 21, Last: 30}, {First: 15, Last: 25}, {First: 300, Last: 300},
	}
	a := compile(t, r)
	for _, c := range []struct {
		to   string
		port uint16
		want bool
	}{
		{"10.0.0.0", 10, true},
		{"10.0.0.127", 20, true},
		{"10.0.0.128", 21, true},
		{"10.0.0.255", 30, true},
		{"10.2.255.255", 300, true},
		{"10.0.1.0", 10, false},
		{"10.1.255.255", 10, false},
		{"10.0.0.100", 9, false},
		{"10.0.0.100", 31, false},
		{"10.0.0.100", 299, false},
		{"10.0.0.100", 301, false},
	} {
		p := between(ipv4(17, nil, ports(1, c.port)), "10.9.9.9", c.to)
		if got := a.Permit(true, p, parse(t, p)); got != c.want {
			t.Errorf("%s port %d: %v", c.to, c.port, got)
		}
	}
}

func TestCompileNothing(t *testing.T) {
	if a := compile(t); a != nil {
		t.Errorf("no rules make %+v", a)
	}
	_, err := Compile([]tenant.ACLRule{rule(t, "PERMIT", "UP", "any", "", "", "", "80")})
	var bad *tenant.ACLError
	if !errors.As(err, &bad) || bad.Path() != "rules[0].protocol" {
		t.Errorf("ports without a protocol: %v", err)
	}
}

// slowPermit is what Permit must say, rule by rule.
func slowPermit(rules []tenant.ACLRule, up bool, p []byte, h *IPv4) bool {
	way, any := tenant.ACLDown, false
	if up {
		way = tenant.ACLUp
	}
	withPorts := h.Protocol == 6 || h.Protocol == 17
	for _, r := range rules {
		any = any || r.Direction == way || r.Direction == tenant.ACLBoth
	}
	switch {
	case !any:
		return true
	case sourceRouted(p[20:h.HeaderLen]):
		return false
	case withPorts && h.FragmentOffset == 0 && h.TotalLen-h.HeaderLen < 4:
		return false
	case h.Protocol == 6 && h.FragmentOffset == 8:
		return false
	}
	in := func(list []netip.Prefix, a []byte) bool {
		addr, _ := netip.AddrFromSlice(a)
		for _, p := range list {
			if p.Contains(addr) {
				return true
			}
		}
		return len(list) == 0
	}
	inPorts := func(list []tenant.PortRange, at int) bool {
		if len(list) == 0 {
			return true
		}
		if !withPorts || h.FragmentOffset != 0 {
			return false
		}
		n := binary.BigEndian.Uint16(p[h.HeaderLen+at:])
		for _, r := range list {
			if r.First <= n && n <= r.Last {
				return true
			}
		}
		return false
	}
	for _, r := range rules {
		number, any, err := tenant.ParseACLProtocol(r.Protocol)
		if (r.Direction == way || r.Direction == tenant.ACLBoth) && err == nil && (any || number == h.Protocol) &&
			in(r.Sources, p[12:16]) && in(r.Destinations, p[16:20]) &&
			inPorts(r.SourcePorts, 0) && inPorts(r.DestinationPorts, 2) {
			return r.Action == tenant.ACLPermit
		}
	}
	return false
}

// randomRules makes rules that overlap a lot, in a few networks and ports.
func randomRules(rnd *rand.Rand, n int) []tenant.ACLRule {
	prefixes := func() (list []netip.Prefix) {
		for range rnd.IntN(4) {
			addr := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(3)), byte(rnd.IntN(4)), byte(rnd.IntN(256))})
			list = append(list, netip.PrefixFrom(addr, 8+rnd.IntN(25)).Masked())
		}
		return list
	}
	someports := func() (list []tenant.PortRange) {
		for range rnd.IntN(3) {
			first := rnd.IntN(600)
			list = append(list, tenant.PortRange{First: uint16(first), Last: uint16(first + rnd.IntN(20))})
		}
		return list
	}
	rules := make([]tenant.ACLRule, n)
	for i := range rules {
		r := &rules[i]
		r.Action = []tenant.ACLAction{tenant.ACLPermit, tenant.ACLDeny}[rnd.IntN(2)]
		r.Direction = []tenant.ACLDirection{tenant.ACLUp, tenant.ACLDown, tenant.ACLBoth}[rnd.IntN(3)]
		r.Protocol = []string{"", "any", "tcp", "udp", "icmp", "47", "255", "0"}[rnd.IntN(8)]
		r.Sources, r.Destinations = prefixes(), prefixes()
		if r.Protocol == "tcp" || r.Protocol == "udp" {
			r.SourcePorts, r.DestinationPorts = someports(), someports()
		}
	}
	return rules
}

func randomPacket(rnd *rand.Rand) []byte {
	protocol := []byte{6, 17, 1, 47, 255, 0, 2}[rnd.IntN(7)]
	p := ipv4(protocol, nil, ports(uint16(rnd.IntN(620)), uint16(rnd.IntN(620)))[:rnd.IntN(25)])
	for _, at := range []int{12, 16} {
		copy(p[at:], []byte{10 + byte(rnd.IntN(8)/7), byte(rnd.IntN(3)), byte(rnd.IntN(4)), byte(rnd.IntN(256))})
	}
	if rnd.IntN(4) == 0 {
		return withFragment(p, uint16(rnd.IntN(4))|uint16(rnd.IntN(2))*flagMoreFragments)
	}
	return withFragment(p, 0)
}

// TestACLIsTheList: what is compiled says the same as the rules one by one, for ACLs of one to very many words.
func TestACLIsTheList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	permitted, denied := 0, 0
	for _, n := range []int{1, 2, 5, 20, 63, 64, 65, 300, tenant.MaxACLRules} {
		rules := randomRules(rnd, n)
		a := compile(t, rules...)
		for range 3000 {
			p, up := randomPacket(rnd), rnd.IntN(2) == 0
			h := parse(t, p)
			got, want := a.Permit(up, p, h), slowPermit(rules, up, p, h)
			if got != want {
				t.Fatalf("%d rules: up %v, %x: %v, rule by rule %v", n, up, p, got, want)
			}
			if got {
				permitted++
			} else {
				denied++
			}
		}
	}
	if permitted < 3000 || denied < 3000 {
		t.Errorf("%d permitted, %d denied: that proves little", permitted, denied)
	}
}

// TestACLEachRule: each rule of a full list decides about its own packets.
func TestACLEachRule(t *testing.T) {
	rules := manyRules(t)
	a := compile(t, rules...)
	for i := range rules {
		p := manyPacket(i, uint16(i))
		if got, want := a.Permit(true, p, parse(t, p)), rules[i].Action == tenant.ACLPermit; got != want {
			t.Errorf("rule %d: %v", i, got)
		}
		p = manyPacket(i, uint16(i)+1)
		if a.Permit(true, p, parse(t, p)) {
			t.Errorf("beside rule %d something passes", i)
		}
	}
}

// TestACLBounds: the largest list that may be still fits.
func TestACLBounds(t *testing.T) {
	rules := largestRules()
	a := compile(t, rules...)
	if n := len(a.up.rows); n < tenant.MaxACLTerms || n > 1<<16 {
		t.Errorf("%d rows", n)
	}
	for i := range 2000 {
		p := manyPacket(i, uint16(i*33))
		h := parse(t, p)
		if got, want := a.Permit(true, p, h), slowPermit(rules, true, p, h); got != want {
			t.Fatalf("%x: %v, rule by rule %v", p, got, want)
		}
	}
}

// manyRules is a list of the greatest length: rule i is for TCP port i of a host of its own, by turns permitted and denied.
func manyRules(t testing.TB) []tenant.ACLRule {
	var rules []tenant.ACLRule
	for i := range tenant.MaxACLRules {
		r := rule(t, "PERMIT", "BOTH", "tcp")
		if i%2 == 1 {
			r.Action = tenant.ACLDeny
		}
		host := manyHost(i)
		r.Sources = []netip.Prefix{netip.PrefixFrom(host, 32)}
		r.Destinations = r.Sources
		r.DestinationPorts = []tenant.PortRange{{First: uint16(i), Last: uint16(i)}}
		rules = append(rules, r)
	}
	return rules
}

func manyHost(i int) netip.Addr {
	i = i * 7919 % 65536 // not in the order of the rules
	return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
}

func manyPacket(i int, port uint16) []byte {
	host := manyHost(i).String()
	return between(ipv4(6, nil, ports(40000, port)), host, host)
}

// largestRules is a list with as many rules, and as many port ranges in them, as may be, of which hardly two begin or end
// at the same port.
func largestRules() []tenant.ACLRule {
	rnd := rand.New(rand.NewPCG(3, 4))
	rules := make([]tenant.ACLRule, tenant.MaxACLRules)
	for i := range tenant.MaxACLTerms {
		r := &rules[i%len(rules)]
		r.Action, r.Direction, r.Protocol = tenant.ACLPermit, tenant.ACLBoth, "tcp"
		if i%2 == 1 {
			r.Action = tenant.ACLDeny
		}
		first := rnd.IntN(1<<16 - 1000)
		r.DestinationPorts = append(r.DestinationPorts, tenant.PortRange{
			First: uint16(first), Last: uint16(first + rnd.IntN(1000)),
		})
	}
	return rules
}
