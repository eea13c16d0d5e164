package policy

import (
	"encoding/binary"
	"net/netip"
)

// Sources is the set of inner addresses that a session may send from: its own and those behind its framed routes. The
// zero value allows none. It doesn't change once it was made.
type Sources struct {
	own    uint32
	hasOwn bool
	routes []route
}

// route is a prefix: addr is in it when addr&mask == net.
type route struct {
	net, mask uint32
}

// NewSources returns the set of one address and some prefixes, all IPv4; others are left out.
func NewSources(address netip.Addr, routes []netip.Prefix) Sources {
	s := Sources{}
	if address.Is4() {
		s.own, s.hasOwn = hostOrder(address), true
	}
	for _, r := range routes {
		if !r.IsValid() || !r.Addr().Is4() {
			continue
		}
		mask := uint32(0xffffffff) << (32 - r.Bits()) // 0 for /0: Go shifts everything out
		s.routes = append(s.routes, route{hostOrder(r.Addr()) & mask, mask})
	}
	return s
}

// Allow reports whether the session may send from src, a number in host order.
func (s *Sources) Allow(src uint32) bool {
	if s.hasOwn && src == s.own {
		return true
	}
	for _, r := range s.routes {
		if src&r.mask == r.net {
			return true
		}
	}
	return false
}

func hostOrder(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
