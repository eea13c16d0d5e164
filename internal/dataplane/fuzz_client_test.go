package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/wire/ppp"
)

// fuzzNet is a tenant's network.
type fuzzNet struct {
	*Network
	w      *fuzzWorld
	at     int
	dev    *fuzzTUN
	closed bool
}

// fuzzSession is a session with its client's end, and its sink.
type fuzzSession struct {
	w     *fuzzWorld
	at    int
	call  *Call
	peer  *fuzzPeer // of L2TP/IPsec
	plain bool      // L2TP in clear
	local uint16    // of L2TP: our tunnel ID
	freed bool      // it was given back
	taps  []*capture.Tap

	// What it was given last, and may send therefore.
	net     *fuzzNet
	sources policy.Sources
	require bool // MPPE

	// The client's end.
	remote   netip.Addr
	gre      *gre.Session
	encrypt  *mppe.Sender
	decrypt  *mppe.Receiver
	sequence l2tpdata.Sequencer
	stateful bool
	lastSeq  uint32 // of what came
	heard    bool

	// Of the round that is being made.
	mayData, mayControl bool
	before              Counters
	due                 uint64 // packets that wait for their time
}

// fuzzPeer is an IPsec peer with its client's ends of SAs.
type fuzzPeer struct {
	w      *fuzzWorld
	at     int
	peer   *Peer
	into   *fuzzPeer
	live   bool
	encap  bool
	remote netip.AddrPort // as the server should know it
	from   netip.AddrPort // where its packets come from
	sas    []*fuzzSA
}

// fuzzSA is a client's end of a pair of SAs.
type fuzzSA struct {
	spi, back uint32 // ours, and the client's
	seal      *esp.Outbound
	open      *esp.Inbound
	cut       bool // its check values were cut on their way
}

func (p *fuzzPeer) now() *fuzzPeer {
	for p.into != nil {
		p = p.into
	}
	return p
}

// fuzzSuites are what SAs of a program use.
var fuzzSuites = []suite{gcm, suites["AES-256-CBC-SHA256"], suites["AES-128-CBC-SHA1"]}

// Numbers that say whose a packet is that leaves.
const (
	firstPeerCall = 0x4000
	firstBackSPI  = 0x10000
)

func (s *fuzzSession) inner() string { return fmt.Sprintf("10.50.%d.7", s.at) }

// gone says that the shard has let go of the session.
func (s *fuzzSession) gone() bool { return s.call.call.removed }

func (s *fuzzSession) close() {
	s.call.Close()
	if s.local != 0 && !s.freed {
		s.freed = true
		s.w.d.FreeTunnelID(s.local)
	}
}

// Deliver and the others make a fuzzSession its Sink.
func (s *fuzzSession) Deliver(uint16, []byte) {
	s.w.events++
	switch {
	case s.gone():
		s.w.t.Fatalf("a frame for session %d, which is gone", s.at)
	case !s.mayControl && s.due == 0:
		s.w.t.Fatalf("a frame for session %d, whose client has sent nothing", s.at)
	}
}

func (s *fuzzSession) OutOfSync() {}

func (s *fuzzSession) Broken(detail string) { s.w.t.Fatalf("session %d: %s", s.at, detail) }

// Control and the others make a fuzzPeer its PeerSink.
func (p *fuzzPeer) Control(_ uint16, _ []byte) { p.w.events++ }
func (p *fuzzPeer) Stray(uint16, uint16)       {}
func (p *fuzzPeer) SALimit(uint32, bool)       {}
func (p *fuzzPeer) Broken(detail string)       { p.w.t.Fatalf("peer %d: %s", p.at, detail) }

func (p *fuzzPeer) Moved(remote netip.AddrPort) {
	p = p.now()
	if !p.encap || p.w.again {
		p.w.t.Fatalf("peer %d has moved; UDP: %v, by a replay: %v", p.at, p.encap, p.w.again)
	}
	p.remote = remote
}

func (p *fuzzPeer) SAUsed(spi uint32) {
	if p = p.now(); !p.live || !slices.ContainsFunc(p.sas, func(a *fuzzSA) bool { return a.spi == spi }) {
		p.w.t.Fatalf("SA %#x of peer %d, which is gone, is used", spi, p.at)
	}
}

// fuzzOutside is the DatagramSink.
type fuzzOutside struct{ w *fuzzWorld }

func (o fuzzOutside) IKE(_, _ netip.AddrPort, _ []byte)                  { o.w.events++ }
func (o fuzzOutside) PlainL2TP(_ netip.Addr, _ netip.AddrPort, _ []byte) { o.w.events++ }

// fuzzPacket is one from a client, as a socket brings it.
type fuzzPacket struct {
	kind  faceKind
	shard int
	fuzzDatagram
}

// frame makes a packet of the session's client: IP encrypted if there is a key, all else in clear. ok is false if it can't.
func (s *fuzzSession) frame(protocol uint16, info []byte) (p fuzzPacket, ok bool) {
	var b pktbuf.Buf
	if !b.SetBytes(info) {
		return p, false
	}
	compressed := protocol == ppp.ProtocolIPv4 && s.encrypt != nil
	if compressed {
		room := b.Prepend(2)
		binary.BigEndian.PutUint16(room, protocol)
		if !s.encrypt.Seal(&b, s.w.scratch) {
			return p, false
		}
		protocol = ppp.ProtocolCompressed
	}
	if !putFrameHeader(&b, protocol, s.at%2 == 1, s.at%2 == 1 && protocol == ppp.ProtocolIPv4) {
		return p, false
	}
	switch {
	case s.peer != nil:
		return s.l2tp(&b)
	case s.plain:
		if !l2tpdata.Prepend(&b, s.local, s.call.ID(), s.numbered()) {
			return p, false
		}
		p = fuzzPacket{kind: faceL2TP, shard: s.call.Shard()}
		p.data = slices.Clone(b.Bytes())
		p.From, p.FromPort, p.To = s.remote.As4(), 1701, addr(serverIP).As4()
		return p, true
	}
	if !s.gre.Wrap(&b) {
		return p, false
	}
	p = fuzzPacket{kind: faceGRE, shard: s.call.Shard()}
	p.data = outer(s.remote.String(), serverIP, b.Bytes())
	return p, true
}

// numbered is nil where the client does not number its data.
func (s *fuzzSession) numbered() *l2tpdata.Sequencer {
	if s.at%2 == 1 {
		return &s.sequence
	}
	return nil
}

func (s *fuzzSession) l2tp(b *pktbuf.Buf) (p fuzzPacket, ok bool) {
	if !l2tpdata.Prepend(b, s.local, s.call.ID(), s.numbered()) || !l2tpdata.PrependUDP(b, portL2TP) {
		return p, false
	}
	return s.peer.now().sealed(b)
}

// sealed makes an ESP packet of b, by the newest SA.
func (p *fuzzPeer) sealed(b *pktbuf.Buf) (out fuzzPacket, ok bool) {
	if !p.live || len(p.sas) == 0 {
		return out, false
	}
	a := p.sas[len(p.sas)-1]
	p.w.sealing[0] = esp.SealOp{SA: a.seal, Buf: b, NextHeader: unix.IPPROTO_UDP}
	esp.SealBatch(p.w.sealing[:], p.w.espScratch)
	if p.w.sealing[0].Verdict != esp.OK {
		return out, false
	}
	out = fuzzPacket{kind: faceNATT, shard: p.peer.Shard()}
	if !p.encap {
		out.kind = faceESP
		out.data = ipv4(p.from.Addr().String(), serverIP, unix.IPPROTO_ESP, false, b.Bytes())
		return out, true
	}
	out.data = slices.Clone(b.Bytes())
	out.From, out.FromPort, out.To = p.from.Addr().As4(), p.from.Port(), addr(serverIP).As4()
	return out, true
}
