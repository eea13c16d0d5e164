//go:build interop

package flood

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"concentrator/test/reliability/lab"
)

// fragments sends first pieces of datagrams for which the rest never comes, or with overlapping, pieces that contradict each
// other.
func fragments(overlapping bool) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		const (
			size          = 1024
			moreFragments = 0x2000
			unit          = 8
		)
		p := udp(netip.AddrPortFrom(netip.MustParseAddr(lab.Attacker), portNATT), target(portNATT), make([]byte, size))
		network := netip.MustParsePrefix(void)
		return packets(openRaw(t, w), func(i int) []byte {
			id, offset := i, 0
			if overlapping {
				id, offset = i/2, i%2*size/2/unit
			}
			setSource(p, network, id, 0)
			binary.BigEndian.PutUint16(p[4:], uint16(id%0xffff)+1)
			binary.BigEndian.PutUint16(p[6:], moreFragments|uint16(offset))
			return p
		})
	}
}
