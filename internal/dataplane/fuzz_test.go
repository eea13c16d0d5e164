package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/ppp"
)

// FuzzInboundESP gives a shard any octets as raw ESP, ESP in UDP, IKE and plain L2TP, and any octets sealed by an SA of a
// client, who may be no friend either; what is sealed may be cut on its way. Nothing panics, and nothing comes through that is
// not an IP packet of the session.
func FuzzInboundESP(f *testing.F) {
	corpus.Add(f)
	inner := echo("10.50.0.7", "192.0.2.9", 1, 40, true)
	var p pktbuf.Buf
	p.SetBytes(inner)
	putFrameHeader(&p, ppp.ProtocolIPv4, false, false)
	l2tpdata.Prepend(&p, 0x20, 0x10, nil)
	f.Add(byte(0), append([]byte{}, p.Bytes()...))
	l2tpdata.PrependUDP(&p, 1701)
	f.Add(byte(4), append([]byte{}, p.Bytes()...))
	f.Add(byte(4), []byte{0x6, 0xa5, 0x6, 0xa5, 0, 9, 0, 0, 1})
	f.Add(byte(4), []byte{0x6, 0xa5, 0x6, 0xa5, 0, 20, 0, 0, 0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add(byte(4), []byte{0x6, 0xa5, 0x6, 0xa5, 0, 22, 0, 0, 2, 2, 0, 0x20, 0, 0x10, 0xff, 0xff, 1, 2, 3, 4, 0, 0x21})
	f.Add(byte(1), []byte{0, 0x10, 0, 0x10, 0, 0, 0, 1})
	f.Add(byte(1), []byte{0, 0, 0, 0, 1})
	f.Add(byte(2), ipv4(clientIP, serverIP, unix.IPPROTO_ESP, false, []byte{0, 0x10, 0, 0x10, 0, 0, 0, 9, 1, 2, 3}))
	f.Add(byte(3), []byte{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0})

	f.Add(byte(9), []byte{0x6, 0xa5, 0x6, 0xa5, 0, 9, 0, 0, 1}) // by SHA2-256, whole
	f.Add(byte(14), []byte{0x6, 0xa5, 0x6, 0xa5, 0, 9, 0, 0, 1})
	f.Add(byte(6), []byte{0, 0x10, 0, 0x10, 0, 0, 0, 1})

	raw := &face{kind: faceESP, index: 4, sock: nowhere{}}
	ike := &face{kind: faceIKE, index: 5, udp: nowhereUDP{}, sink: nothing{}}
	plain := &face{kind: faceL2TP, index: 6, udp: nowhereUDP{}, sink: nothing{}, plain: true}
	type end struct {
		*bench
		client *esp.Outbound
	}
	var ends [2]end
	for i, u := range []suite{gcm, suites["AES-256-CBC-SHA256"]} {
		b, client := newESPBench(f, u)
		b.f.sink, b.c.l2tp.peer.sink, b.c.l2tp.peer.raw, b.c.sink = nothing{}, nothing{}, raw, nothing{}
		ends[i] = end{b, client}
	}
	datagram := func(b *bench, f *face, port uint16, p []byte) {
		d := &b.s.datagrams[0]
		d.From, d.FromPort, d.To, d.Cut, d.Rest = b.c.remote, port, b.c.local, false, nil
		d.Size = copy(b.s.areas[0], p)
		if d.Size < len(p) {
			d.Rest = p[d.Size:]
		}
		b.arrive(f, 1)
	}
	f.Fuzz(func(t *testing.T, way byte, p []byte) {
		b := ends[way/5%2]
		natt := b.f
		before, form := b.s.countersOf(b.c), b.c.l2tp.peer.form
		sealed, whole := false, false
		switch way % 5 {
		case 0:
			datagram(b.bench, ike, 500, p)
		case 1:
			datagram(b.bench, natt, 4500, p)
		case 2:
			b.s.sizes[0] = copy(b.s.areas[0], p)
			b.arrive(raw, 1)
		case 3:
			datagram(b.bench, plain, 1701, p)
		case 4:
			var q pktbuf.Buf
			if !q.SetBytes(p[:min(len(p), pktbuf.MaxRead)]) || b.client.Seal(&q, unix.IPPROTO_UDP) != esp.OK {
				return
			}
			sealed, whole = true, way/5%2 == 1 && q.Len() <= len(b.s.areas[0])
			if way/10%2 == 1 { // on its way
				q.Truncate(q.Len() - 4)
				whole = false
			}
			datagram(b.bench, natt, 4500, q.Bytes())
		}
		b.s.flush()
		switch now := b.c.l2tp.peer.form; {
		case now < form, !sealed && now != form:
			t.Errorf("form %d was %d, by way %d", now, form, way)
		case whole && now != esp.FormWhole:
			t.Errorf("form %d after a whole packet", now)
		}
		after := b.s.countersOf(b.c)
		if after.InPackets == before.InPackets {
			return
		}
		n := int(after.InBytes - before.InBytes)
		if !sealed || n < 20 || n > len(p) || !hasSource(p, addr("10.50.0.7").As4()) {
			t.Errorf("%d octets came through by way %d: % x", n, way%5, p)
		}
	})
}

// nothing is every sink, and keeps nothing.
type nothing struct{}

func (nothing) IKE(_, _ netip.AddrPort, _ []byte)                  {}
func (nothing) PlainL2TP(_ netip.Addr, _ netip.AddrPort, _ []byte) {}
func (nothing) Control(uint16, []byte)                             {}
func (nothing) Stray(_, _ uint16)                                  {}
func (nothing) Moved(netip.AddrPort)                               {}
func (nothing) SAUsed(uint32)                                      {}
func (nothing) SALimit(uint32, bool)                               {}
func (nothing) Deliver(uint16, []byte)                             {}
func (nothing) OutOfSync()                                         {}
func (nothing) Broken(string)                                      {}

// hasSource says whether an address stands somewhere in what a client sent.
func hasSource(p []byte, a [4]byte) bool {
	want := binary.BigEndian.Uint32(a[:])
	for i := 0; i+4 <= len(p); i++ {
		if binary.BigEndian.Uint32(p[i:]) == want {
			return true
		}
	}
	return false
}
