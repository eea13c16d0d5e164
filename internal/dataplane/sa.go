package dataplane

import (
	"math/rand/v2"
	"slices"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/steer"
)

// SPIs of ours: the low bits name the shard as in every ID, the next ones a slot in its table, the rest is random.
const (
	spiSlotBits  = 12
	spisPerShard = 1 << spiSlotBits
	spiShift     = steer.ShardBits + spiSlotBits
)

// spiQueue hands out the SPIs of one shard: the slot longest out of use first, with new random bits above it, so that a
// packet of an SA that is gone meets no other. None is below 256 (RFC 4303 section 2.1). Not safe for concurrent use.
type spiQueue struct {
	shard int
	free  [spisPerShard]uint16
	head  int // index of the next to hand out
	n     int // how many are free
}

func newSPIQueue(shard int) *spiQueue {
	q := &spiQueue{shard: shard, n: spisPerShard}
	for i, slot := range rand.Perm(spisPerShard) { //nolint:gosec // not a secret: every peer is told its SPI
		q.free[i] = uint16(slot)
	}
	return q
}

func (q *spiQueue) take() (spi uint32, ok bool) {
	if q.n == 0 {
		return 0, false
	}
	slot := q.free[q.head]
	q.head = (q.head + 1) % spisPerShard
	q.n--
	high := 1 + rand.Uint32N(1<<(32-spiShift)-1) //nolint:gosec // not a secret either
	return high<<spiShift | uint32(slot)<<steer.ShardBits | uint32(q.shard), true
}

func (q *spiQueue) put(spi uint32) {
	q.free[(q.head+q.n)%spisPerShard] = uint16(spiSlot(spi))
	q.n++
}

func spiSlot(spi uint32) int { return int(spi >> steer.ShardBits & (spisPerShard - 1)) }

// inboundSA is one SA of a peer, from it to us. It belongs to the shard.
type inboundSA struct {
	spi   uint32
	sa    *esp.Inbound
	peer  *peer
	encap bool // comes in UDP
	used  bool // a valid packet has come
	limit limit
}

// outboundSA is the SA that a peer's packets leave by. It belongs to the shard.
type outboundSA struct {
	inbound uint32 // SPI of the other direction, the pair's name on our side
	sa      *esp.Outbound
	encap   bool // leaves in UDP
	limit   limit
}

// limit remembers how far an SA's use has been reported.
type limit struct{ soft, hard bool }

// peer is a Peer's part on its shard: where its packets come from and go to, and by which SA. It belongs to the shard.
type peer struct {
	into          *peer // merged into that one
	removed       bool
	plain         bool // no SA: L2TP on UDP 1701 in clear
	local, remote [4]byte
	port          uint16 // of the peer's UDP encapsulation; of a plain one its L2TP port
	raw, udp      *face  // raw ESP, and ESP in UDP; of a plain one udp is the L2TP face
	sink          PeerSink
	out           *outboundSA // that packets leave by; nil: none yet
	// outs are all outbound SAs that were ever used and are not taken out. One that comes into use again goes on with its
	// sequence numbers: beginning anew under the same keys would be refused by the peer and, with GCM, break the cipher.
	outs []*outboundSA
	// early are control messages that wait for the first outbound SA: the client's first L2TP message may come with the
	// last of its quick mode, and is answered before the control side has got so far.
	early       []controlMessage
	lastInbound int64
	strayed     int64 // when PeerSink.Stray was last called
}

// maxEarly is how many control messages wait for the first outbound SA.
const maxEarly = 8

// controlMessage is an L2TP control message for the peer's UDP port.
type controlMessage struct {
	port uint16
	msg  []byte
}

// now follows merges to the peer that stands for p today.
func (p *peer) now() *peer {
	for p.into != nil {
		p = p.into
	}
	return p
}

func (s *shard) addSA(sa *inboundSA) { s.sas[spiSlot(sa.spi)] = sa }

// removeSA takes an inbound SA out and wipes its keys.
func (s *shard) removeSA(spi uint32) {
	slot := spiSlot(spi)
	if sa := s.sas[slot]; sa != nil && sa.spi == spi {
		sa.sa.Close()
		s.sas[slot] = nil
	}
}

// lookupSA finds the SA of an SPI of this shard.
func (s *shard) lookupSA(spi uint32) *inboundSA {
	if sa := s.sas[spiSlot(spi)]; sa != nil && sa.spi == spi {
		return sa
	}
	return nil
}

// removePeer takes a peer with all its SAs out.
func (s *shard) removePeer(p *peer) {
	s.flush()
	p.removed = true
	for _, o := range p.outs {
		o.sa.Close()
	}
	p.out, p.outs = nil, nil
	for slot, sa := range s.sas {
		if sa != nil && sa.peer == p {
			sa.sa.Close()
			s.sas[slot] = nil
		}
	}
}

// outboundOf finds the outbound SA of a pair by our SPI; nil if there is none.
func (p *peer) outboundOf(inbound uint32) *outboundSA {
	for _, o := range p.outs {
		if o.inbound == inbound {
			return o
		}
	}
	return nil
}

// dropOutbound takes the outbound SA of a pair out and wipes its keys.
func (p *peer) dropOutbound(inbound uint32) {
	o := p.outboundOf(inbound)
	if o == nil {
		return
	}
	o.sa.Close()
	p.outs = slices.DeleteFunc(p.outs, func(other *outboundSA) bool { return other == o })
	if p.out == o {
		p.out = nil
	}
}

// merge makes everything of from into's. What from has heard last is where the peer is now.
func (s *shard) merge(from, into *peer) {
	from, into = from.now(), into.now()
	if from == into {
		return
	}
	s.flush()
	for _, sa := range s.sas {
		if sa != nil && sa.peer == from {
			sa.peer = into
		}
	}
	for _, c := range s.calls {
		if c != nil && c.l2tp != nil && c.l2tp.peer == from {
			c.l2tp.peer = into
		}
	}
	if from.out != nil {
		into.out = from.out
	}
	into.outs = append(into.outs, from.outs...)
	from.out, from.outs = nil, nil
	into.remote, into.port, into.udp, into.raw, into.local = from.remote, from.port, from.udp, from.raw, from.local
	into.lastInbound = max(into.lastInbound, from.lastInbound)
	from.into = into
}
