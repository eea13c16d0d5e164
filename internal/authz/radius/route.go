package radius

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ParseFramedRoute reads a Framed-Route, RFC 2865 section 5.22: "prefix[/length] [gateway [metrics…]]". The route always
// leads through the session, so the gateway, usually 0.0.0.0 or the peer's own address, and the metrics are not used.
// Without a length, the prefix has that of its old address class, as the RFC says. Bits behind the prefix are cleared.
func ParseFramedRoute(s string) (netip.Prefix, error) {
	fields := strings.Fields(strings.TrimRight(s, "\x00"))
	if len(fields) == 0 {
		return netip.Prefix{}, errors.New("it is empty")
	}
	p, err := netip.ParsePrefix(fields[0])
	if a, aerr := netip.ParseAddr(fields[0]); aerr == nil && a.Is4() {
		p, err = a.Prefix(classLen(a))
	}
	switch {
	case err != nil || !p.Addr().Is4():
		return netip.Prefix{}, fmt.Errorf("%q is no IPv4 prefix", printable([]byte(fields[0])))
	case p.Addr().IsMulticast():
		return netip.Prefix{}, errors.New("a multicast prefix can't lie behind a peer")
	}
	return p.Masked(), nil
}

// classLen is the prefix length of a's address class. A host route is what addresses of no class get.
func classLen(a netip.Addr) int {
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	case b < 224:
		return 24
	}
	return 32
}
