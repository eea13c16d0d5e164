package ippool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Bounds of a Spec.
const (
	MaxRanges  = 256
	MaxExclude = 4096
	minBits    = 8 // the largest range is a /8
	// MaxQuarantine is the longest time that an address is kept for its last user.
	MaxQuarantine = 365 * 24 * time.Hour
)

// Spec says which addresses a pool has.
type Spec struct {
	Ranges  []string   // "10.8.0.0/24" or "10.8.0.10-10.8.0.99" or one address; of a CIDR up to /30 without first and last
	Gateway netip.Addr // our address, never leased; zero: the first address of the first range
	Exclude []string   // addresses, CIDRs and ranges that are not leased

	// Quarantine is how long after its release only the user who had an address can have it, 0 to MaxQuarantine.
	Quarantine time.Duration
}

// FieldError says which field of a Spec is wrong.
type FieldError struct {
	Field string // "ranges[1]", "gateway", "exclude[0]", "quarantine", "ranges"
	Err   error  // what is wrong, and with which value
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

func (e *FieldError) Unwrap() error { return e.Err }

func fieldError(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// Parsed is a Spec that was found good. It does not change.
type Parsed struct {
	ranges  []span // disjoint, sorted; as configured but for network and broadcast addresses
	usable  []span // ranges without gateway and exclude; disjoint, sorted, not empty
	blocks  []span // ranges as configured, in that order
	size    uint64 // addresses in usable
	gateway uint32

	quarantine time.Duration
}

// Gateway is our address in the pool.
func (p *Parsed) Gateway() netip.Addr { return toAddr(p.gateway) }

// Size is the number of addresses that can be leased.
func (p *Parsed) Size() int { return int(p.size) }

// Prefixes are the ranges as routes, the fewest that cover just them; of a CIDR the whole block.
func (p *Parsed) Prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range p.blocks {
		for lo := uint64(s.lo); lo <= uint64(s.hi); {
			bits := 32
			for bits > 0 && lo&(1<<(33-bits)-1) == 0 && lo+1<<(33-bits)-1 <= uint64(s.hi) {
				bits--
			}
			all = append(all, netip.PrefixFrom(toAddr(uint32(lo)), bits))
			lo += 1 << (32 - bits)
		}
	}
	return all
}

// reserved are blocks that no host of a private network can have.
var reserved = []struct {
	span
	what string
}{
	{span{0x00000000, 0x00ffffff}, "0.0.0.0/8"},
	{span{0x7f000000, 0x7fffffff}, "loopback"},
	{span{0xe0000000, 0xefffffff}, "multicast"},
	{span{0xf0000000, 0xffffffff}, "240.0.0.0/4, not for hosts"},
}

func checkUnicast(s span) error {
	for _, r := range reserved {
		if r.overlaps(s) {
			return fmt.Errorf("%s holds addresses that are %s", s, r.what)
		}
	}
	return nil
}

// ParseSpec checks a Spec; its error is a *FieldError.
func ParseSpec(spec Spec) (*Parsed, error) {
	if len(spec.Ranges) == 0 || len(spec.Ranges) > MaxRanges {
		return nil, fieldError("ranges", "%d ranges, want 1 to %d", len(spec.Ranges), MaxRanges)
	}
	if len(spec.Exclude) > MaxExclude {
		return nil, fieldError("exclude", "%d entries, at most %d", len(spec.Exclude), MaxExclude)
	}
	if spec.Quarantine < 0 || spec.Quarantine > MaxQuarantine {
		return nil, fieldError("quarantine", "%s is not between 0 and %s", spec.Quarantine, MaxQuarantine)
	}
	p := &Parsed{quarantine: spec.Quarantine}
	for i, text := range spec.Ranges {
		field := fmt.Sprintf("ranges[%d]", i)
		s, bits, err := parseSpan(text)
		if err != nil {
			return nil, &FieldError{field, err}
		}
		if s.size() > 1<<(32-minBits) {
			return nil, fieldError(field, "%q is larger than a /%d", text, minBits)
		}
		if err := checkUnicast(s); err != nil {
			return nil, &FieldError{field, err}
		}
		for j, o := range p.blocks {
			if o.overlaps(s) {
				return nil, fieldError(field, "%q overlaps ranges[%d] %q", text, j, spec.Ranges[j])
			}
		}
		p.blocks = append(p.blocks, s)
		if bits >= 0 && bits <= 30 {
			s.lo++
			s.hi--
		}
		p.ranges = append(p.ranges, s)
	}
	p.gateway = p.ranges[0].lo
	slices.SortFunc(p.ranges, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	if spec.Gateway.IsValid() {
		n, err := number(spec.Gateway)
		if err == nil {
			err = checkUnicast(span{n, n})
		}
		if err == nil && contains(p.blocksSorted(), n) && !contains(p.ranges, n) {
			err = fmt.Errorf("%s is the network or broadcast address of a range", spec.Gateway)
		}
		if err != nil {
			return nil, &FieldError{"gateway", err}
		}
		p.gateway = n
	}
	cut := []span{{p.gateway, p.gateway}}
	for i, text := range spec.Exclude {
		s, _, err := parseSpan(text)
		if err != nil {
			return nil, &FieldError{fmt.Sprintf("exclude[%d]", i), err}
		}
		cut = append(cut, s)
	}
	p.usable = subtract(p.ranges, cut)
	for _, s := range p.usable {
		p.size += s.size()
	}
	if p.size == 0 {
		return nil, fieldError("ranges", "no address is left to lease after the gateway %s and exclude", p.Gateway())
	}
	return p, nil
}

func (p *Parsed) blocksSorted() []span {
	return slices.SortedFunc(slices.Values(p.blocks), func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
}

// Overlap returns a range of a that shares addresses with b, or in which b's gateway could be leased; "" when the two
// may stand in one network.
func Overlap(a, b *Parsed) string {
	for _, x := range a.blocks {
		for _, y := range b.blocks {
			if x.overlaps(y) {
				return x.String()
			}
		}
	}
	for _, pair := range [][2]*Parsed{{a, b}, {b, a}} {
		if pool, other := pair[0], pair[1]; contains(pool.usable, other.gateway) {
			return pool.usable[find(pool.usable, other.gateway)].String()
		}
	}
	return ""
}
