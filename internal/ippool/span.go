package ippool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// span is the IPv4 addresses from lo to hi, both within, as numbers.
type span struct{ lo, hi uint32 }

func (s span) size() uint64           { return uint64(s.hi) - uint64(s.lo) + 1 }
func (s span) contains(a uint32) bool { return s.lo <= a && a <= s.hi }
func (s span) overlaps(o span) bool   { return s.lo <= o.hi && o.lo <= s.hi }

func (s span) String() string {
	if s.lo == s.hi {
		return toAddr(s.lo).String()
	}
	return toAddr(s.lo).String() + "-" + toAddr(s.hi).String()
}

func toAddr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// toNumber wants an IPv4 address.
func toNumber(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func parseAddr(text string) (uint32, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not an IPv4 address", text)
	}
	return number(a)
}

func number(a netip.Addr) (uint32, error) {
	if !a.Is4() {
		return 0, fmt.Errorf("%s is not an IPv4 address; pools hold IPv4 only", a)
	}
	return toNumber(a), nil
}

// parseSpan reads "a.b.c.d/len", "a.b.c.d-e.f.g.h" or one address. For a CIDR it returns the whole block, and its
// prefix length; else a length of -1.
func parseSpan(text string) (s span, bits int, err error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return span{}, 0, fmt.Errorf("%q is not a CIDR such as 10.8.0.0/24", text)
		}
		lo, err := number(p.Addr())
		if err != nil {
			return span{}, 0, err
		}
		if p != p.Masked() {
			return span{}, 0, fmt.Errorf("%q has bits set behind its prefix, write %s", text, p.Masked())
		}
		return span{lo, lo | uint32(uint64(1)<<(32-p.Bits())-1)}, p.Bits(), nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if s.lo, err = parseAddr(strings.TrimSpace(first)); err != nil {
		return span{}, 0, err
	}
	s.hi = s.lo
	if isRange {
		if s.hi, err = parseAddr(strings.TrimSpace(last)); err != nil {
			return span{}, 0, err
		}
		if s.hi < s.lo {
			return span{}, 0, fmt.Errorf("%q ends before it begins", text)
		}
	}
	return s, -1, nil
}

// subtract returns what is left of the sorted, disjoint spans from when those of cut, in any order, are taken out.
func subtract(from, cut []span) []span {
	cut = slices.Clone(cut)
	slices.SortFunc(cut, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	var left []span
	i := 0
	for _, s := range from {
		// A cut that ends before this span ends before all later ones too; one that reaches beyond is met again.
		for i < len(cut) && cut[i].hi < s.lo {
			i++
		}
		gone := false
		for j := i; j < len(cut) && cut[j].lo <= s.hi; j++ {
			c := cut[j]
			if c.hi < s.lo {
				continue
			}
			if c.lo > s.lo {
				left = append(left, span{s.lo, c.lo - 1})
			}
			if c.hi >= s.hi {
				gone = true
				break
			}
			s.lo = c.hi + 1
		}
		if !gone {
			left = append(left, s)
		}
	}
	return left
}

// find returns the index of the first of the sorted spans that ends at or after a; len(spans) when none does.
func find(spans []span, a uint32) int {
	i, _ := slices.BinarySearchFunc(spans, a, func(s span, a uint32) int { return cmp.Compare(s.hi, a) })
	return i
}

func contains(spans []span, a uint32) bool {
	i := find(spans, a)
	return i < len(spans) && spans[i].contains(a)
}
