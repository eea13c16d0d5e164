//go:build interop

package flood

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/test/reliability/lab"
)

// sccrq asks for a control connection (RFC 2661 section 6.1).
func sccrq(tunnel uint16) []byte {
	return wirel2tp.Append(nil, wirel2tp.Header{}, &wirel2tp.SCCRQ{
		ProtocolVersion: wirel2tp.Version, FramingCapabilities: wirel2tp.FramingSync, HostName: "flood", AssignedTunnelID: tunnel,
	}, nil)
}

// ports are those that a flood from one address comes from.
const (
	firstPort = 1024
	portCount = 60_000
)

// tunnelRequests asks for tunnels.
func tunnelRequests(from origin) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		p := udp(netip.AddrPortFrom(netip.MustParseAddr(lab.Attacker), wirel2tp.Port), target(wirel2tp.Port), sccrq(1))
		return packets(openRaw(t, w), func(i int) []byte {
			if from == oneAddress {
				setSource(p, netip.PrefixFrom(netip.MustParseAddr(lab.Attacker).Prev(), 30), 0, uint16(firstPort+i%portCount))
			} else {
				from.set(p, i)
			}
			return p
		})
	}
}

// tunnelsPerSecond is how many tunnels idleTunnels opens: with the minute that one may be without a call, more than there can be.
const tunnelsPerSecond = 2000

// idleTunnels opens tunnels from many addresses, and makes no call in them.
func idleTunnels(t *testing.T, w *world) flooder {
	r, reader := openRaw(t, w), openReader(t, w, unix.IPPROTO_UDP)
	p := udp(netip.AddrPortFrom(netip.MustParseAddr(lab.Attacker), wirel2tp.Port), target(wirel2tp.Port), sccrq(1))
	network := netip.MustParsePrefix(villains)
	return func(ctx context.Context) (n int, err error) {
		var both sync.WaitGroup
		both.Go(func() {
			_ = r.answer(ctx, reader, func(from, to netip.AddrPort, payload []byte) []byte {
				_, body, err := wirel2tp.ParseHeader(payload)
				if err != nil {
					return nil
				}
				m, _ := wirel2tp.Parse(body, nil)
				reply, ok := m.(*wirel2tp.SCCRP)
				if !ok {
					return nil
				}
				h := wirel2tp.Header{TunnelID: reply.AssignedTunnelID, Ns: 1, Nr: 1}
				return udp(to, from, wirel2tp.Append(nil, h, &wirel2tp.SCCCN{}, nil))
			})
		})
		defer both.Wait()
		return steady(ctx, tunnelsPerSecond, func(i int) error {
			setSource(p, network, i, 0)
			return r.send(p)
		})
	}
}
