package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"concentrator/internal/tenant"
)

// benchPackets is how many different packets a benchmark takes in turn, so that neither caches nor the branch predictor know
// them by heart.
const benchPackets = 1024

// aclCase is rules and packets that make them work.
type aclCase struct {
	name   string
	rules  []tenant.ACLRule
	packet func(i int) []byte
}

func aclCases(t testing.TB) []aclCase {
	rnd := rand.New(rand.NewPCG(5, 6))
	few := []tenant.ACLRule{
		rule(t, "DENY", "UP", "", "", "10.0.0.0/8"),
		rule(t, "PERMIT", "UP", "tcp", "", "192.0.2.0/24", "", "80"),
		rule(t, "PERMIT", "UP", "udp", "", "", "", "53"),
		rule(t, "PERMIT", "UP", "icmp"),
	}
	// Every word of the source's and the destination's row has a rule, and none has the same.
	apart := make([]tenant.ACLRule, tenant.MaxACLRules)
	wide := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for i := range apart {
		apart[i] = rule(t, "PERMIT", "UP", "tcp")
		host := []netip.Prefix{netip.PrefixFrom(manyHost(i), 32)}
		if i%2 == 0 {
			apart[i].Sources, apart[i].Destinations = wide, host
		} else {
			apart[i].Sources, apart[i].Destinations = host, append(host, netip.MustParsePrefix("192.0.2.0/24"))
		}
	}
	for i := range 200 { // and one source that has all words as well
		apart[i*5].Destinations = append(apart[i*5].Destinations, netip.PrefixFrom(manyHost(i), 32))
	}
	return []aclCase{
		{"4", few, func(int) []byte {
			p := ipv4(6, nil, ports(uint16(rnd.IntN(1<<16)), 80))
			return between(p, "10.1.0.2", fmt.Sprintf("192.0.2.%d", rnd.IntN(256)))
		}},
		{"1000-one-each", manyRules(t), func(int) []byte {
			i := rnd.IntN(tenant.MaxACLRules)
			return manyPacket(i, uint16(i))
		}},
		{"1000-last", manyRules(t), func(int) []byte { return manyPacket(tenant.MaxACLRules-1, tenant.MaxACLRules-1) }},
		{"1000-none-random", manyRules(t), func(int) []byte {
			p := manyPacket(0, uint16(rnd.IntN(1<<16)))
			for _, at := range []int{12, 16} {
				copy(p[at:], []byte{10, byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
			}
			return withFragment(p, 0)
		}},
		{"1000-none-in-any-word", apart, func(int) []byte {
			p := manyPacket(rnd.IntN(tenant.MaxACLRules), 80)
			copy(p[16:], []byte{192, 0, 2, byte(rnd.IntN(256))})
			copy(p[12:], []byte{10, byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(2 + rnd.IntN(200))})
			return withFragment(p, 0)
		}},
		{"10000-terms", largestRules(), func(i int) []byte {
			return manyPacket(i, uint16(rnd.IntN(1<<16)))
		}},
		{"10000-terms-overlapping", overlappingRules(), func(i int) []byte {
			p := manyPacket(i, uint16(rnd.IntN(1<<16)))
			for _, at := range []int{12, 16} {
				copy(p[at:], manyHost(rnd.IntN(2500)).AsSlice())
			}
			return withFragment(p, 0)
		}},
	}
}

// overlappingRules has as many prefixes as may be, each of several rules, so that rows are many and full.
func overlappingRules() []tenant.ACLRule {
	rnd := rand.New(rand.NewPCG(7, 8))
	rules := make([]tenant.ACLRule, tenant.MaxACLRules)
	for i := range rules {
		r := &rules[i]
		r.Action, r.Direction = tenant.ACLPermit, tenant.ACLUp
		for range tenant.MaxACLTerms / tenant.MaxACLRules / 2 {
			r.Sources = append(r.Sources, netip.PrefixFrom(manyHost(rnd.IntN(2500)), 32))
			r.Destinations = append(r.Destinations, netip.PrefixFrom(manyHost(rnd.IntN(2500)), 32))
		}
	}
	return rules
}

func BenchmarkPermit(b *testing.B) {
	for _, c := range aclCases(b) {
		b.Run(c.name, func(b *testing.B) {
			a := compile(b, c.rules...)
			packets, headers := make([][48]byte, benchPackets), make([]IPv4, benchPackets)
			for i := range packets {
				copy(packets[i][:], c.packet(i))
				headers[i] = *parse(b, packets[i][:])
			}
			b.ReportAllocs()
			i, permitted := 0, 0
			for b.Loop() {
				if a.Permit(true, packets[i][:], &headers[i]) {
					permitted++
				}
				i = (i + 1) % benchPackets
			}
			b.ReportMetric(float64(permitted)/float64(b.N), "permitted/op")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range aclCases(b) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				compile(b, c.rules...)
			}
		})
	}
}

func TestPermitDoesNotAllocate(t *testing.T) {
	for _, c := range aclCases(t) {
		a, p := compile(t, c.rules...), c.packet(1)
		h := parse(t, p)
		if n := testing.AllocsPerRun(1000, func() { a.Permit(true, p, h) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
