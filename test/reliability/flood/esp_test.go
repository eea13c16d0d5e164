//go:build interop

package flood

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	"concentrator/test/reliability/lab"
)

// garbageLen is the length of what looks like an ESP packet, in octets: header, IV, ten blocks of AES, 96 bits of check value.
const garbageLen = 8 + 16 + 160 + 12

// unknownSPIs sends garbage by ESP, raw and in UDP in turn, with SPIs of nobody.
func unknownSPIs(t *testing.T, w *world) flooder {
	body := make([]byte, garbageLen)
	_, _ = rand.Read(body) // never fails
	from := netip.MustParseAddr(lab.Attacker)
	inUDP := udp(netip.AddrPortFrom(from, portNATT), target(portNATT), body)
	bare := ipv4(from, netip.MustParseAddr(lab.AttackedAt), unix.IPPROTO_ESP, len(body))
	copy(bare[ipLen:], body)
	network := netip.MustParsePrefix(void)
	return packets(openRaw(t, w), func(i int) []byte {
		p, at := inUDP, ipLen+udpLen
		if i%2 == 0 {
			p, at = bare, ipLen
		}
		setSource(p, network, i, 0)
		binary.BigEndian.PutUint32(p[at:], 1<<12+uint32(i)*2654435761)
		return p
	})
}

// knownSPI sends garbage in the SA of a client, who is heard to send by somebody on the way.
func knownSPI(t *testing.T, w *world) flooder {
	d := w.dial(t, clients, load.Config{
		Server: netip.MustParseAddr(loginsAt), Protocols: []tenant.Protocol{tenant.ProtocolL2TPIPsec},
		Sources: []netip.Addr{nth(netip.MustParsePrefix(newcomers), 60_000)},
	}, 1)
	ctx, cancel := context.WithTimeout(t.Context(), loginTimeout)
	defer cancel()
	s, _, err := d.login(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hangUp(s) })
	p := udp(netip.AddrPortFrom(d.Source(0), portNATT), netip.MustParseAddrPort(loginsAt+":4500"), make([]byte, garbageLen))
	body := p[ipLen+udpLen:]
	_, _ = rand.Read(body) // never fails
	copy(body, overheard(t, s))
	return packets(openRaw(t, w), func(i int) []byte {
		binary.BigEndian.PutUint32(body[4:], uint32(i)+2) // ahead of the client's own
		return p
	})
}

// overheard is the SPI by which a client sends.
func overheard(t *testing.T, s load.Session) []byte {
	t.Helper()
	p, back, err := s.Lend()
	if err != nil {
		t.Fatal(err)
	}
	defer back()
	p.Gate.Lock()
	defer p.Gate.Unlock()
	var buf pktbuf.Buf
	o := traffic.Outgoing{Buf: &buf}
	if !buf.SetBytes(make([]byte, garbageLen)) || !p.Link.Pack(&o) {
		t.Fatal("the client can't send")
	}
	ops := []esp.SealOp{{SA: o.SA, Buf: &buf, NextHeader: esphdr.NextHeaderUDP}}
	if esp.SealBatch(ops, esp.NewScratch()); ops[0].Verdict != esp.OK {
		t.Fatalf("the client can't seal: %v", ops[0].Verdict)
	}
	return buf.Bytes()[:4]
}

// calling sends GRE of PPTP with all call IDs, in the names of many.
func calling(t *testing.T, w *world) flooder {
	const size = 60
	p := ipv4(netip.MustParseAddr(lab.Attacker), netip.MustParseAddr(lab.AttackedAt), unix.IPPROTO_GRE, size)
	g := p[ipLen:]
	_, _ = rand.Read(g) // never fails
	binary.BigEndian.PutUint16(g, 0x3001)
	binary.BigEndian.PutUint16(g[2:], 0x880b)
	const head = 12
	binary.BigEndian.PutUint16(g[4:], uint16(size-head))
	network := netip.MustParsePrefix(void)
	return packets(openRaw(t, w), func(i int) []byte {
		setSource(p, network, i, 0)
		binary.BigEndian.PutUint16(g[6:], uint16(i))
		return p
	})
}
