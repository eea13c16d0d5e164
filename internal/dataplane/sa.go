package dataplane

import (
	"math/rand/v2"
	"slices"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/policy"
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

// sa is a pair of SAs with a peer, known by the SPI of the one towards us. Both are installed at once, so that what leaves
// never begins its sequence numbers anew under the same keys: the peer would refuse it, and GCM would be broken. It belongs
// to the shard.
type sa struct {
	spi   uint32
	in    *esp.Inbound
	out   *esp.Outbound
	peer  *peer
	encap bool   // ESP in UDP, both ways
	born  uint64 // of two pairs the one with the higher number was agreed on later
	used  bool   // a valid packet has come
	// How far the use of each direction has been reported.
	inLimit, outLimit limit
}

// close wipes the keys.
func (a *sa) close() {
	a.in.Close()
	a.out.Close()
}

// limit remembers how far an SA's use has been reported.
type limit struct{ soft, hard bool }

// peer is a Peer's part on its shard: where its packets come from and go to, and by which SA. It belongs to the shard.
type peer struct {
	into          *peer // merged into that one
	removed       bool
	plain         bool // no SA: L2TP on UDP 1701 in clear
	local, remote [4]byte
	port          uint16       // of the peer's UDP encapsulation; of a plain one its L2TP port
	raw, udp      *face        // raw ESP, and ESP in UDP; of a plain one udp is the L2TP face
	outer         capture.Taps // what takes copies of what comes and goes
	sink          PeerSink
	out           *sa      // that packets leave by; nil: none
	spoken        bool     // there was one at some time
	form          esp.Form // what its packets have shown, by any SA; with FormCut ours are cut too
	// early are control messages that wait for the first SA to leave by.
	early       []controlMessage
	lastInbound int64
	strayed     int64        // when PeerSink.Stray was last called
	calls       []*call      // that it carries
	only        *call        // its only call; nil: there is none, or several
	share       policy.Share // of the shard, from the client
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

// carry notes that a call is the peer's.
func (p *peer) carry(c *call) {
	p.calls = append(p.calls, c)
	p.regard()
}

// letGo undoes carry.
func (p *peer) letGo(c *call) {
	p.calls = slices.DeleteFunc(p.calls, func(o *call) bool { return o == c })
	p.regard()
}

func (p *peer) regard() {
	p.only = nil
	if len(p.calls) == 1 {
		p.only = p.calls[0]
	}
}

// addSA installs a pair. Nothing leaves by it yet.
func (s *shard) addSA(a *sa) {
	s.born++
	a.born = s.born
	a.peer.shape(a.out)
	s.sas[spiSlot(a.spi)] = a
}

// shape gives what leaves by an SA the ICV that the peer reads, which is a question with HMAC-SHA2-256 only.
func (p *peer) shape(out *esp.Outbound) {
	if p.form == esp.FormCut {
		out.Truncate()
	} else {
		out.Restore()
	}
}

// learnForm notes what a peer's packets have shown of its ICV. It counts for all pairs, those to come included, and what
// is more than it was is never less again: else who cuts the first packet of each pair could have what we send cut again
// and again.
func (s *shard) learnForm(p *peer, f esp.Form) {
	before := p.form
	p.form = f
	if before == esp.FormUnknown && f == esp.FormWhole {
		return // the usual: nothing was ever cut
	}
	for _, a := range s.sas {
		if a != nil && a.peer == p {
			p.shape(a.out)
		}
	}
}

// removeSA takes a pair out.
func (s *shard) removeSA(spi uint32) {
	a := s.lookupSA(spi)
	if a == nil {
		return
	}
	s.sealESP()
	if a.peer.out == a {
		a.peer.out = nil
	}
	a.close()
	s.sas[spiSlot(spi)] = nil
}

// lookupSA finds the pair of an SPI of this shard.
func (s *shard) lookupSA(spi uint32) *sa {
	if a := s.sas[spiSlot(spi)]; a != nil && a.spi == spi {
		return a
	}
	return nil
}

// leaveBy makes a pair the one that everything to its peer leaves by from now on.
func (s *shard) leaveBy(a *sa) {
	p := a.peer
	if p.out == a {
		return
	}
	s.sealESP() // what waits leaves by the one that it was meant for
	p.out, p.spoken = a, true
	early := p.early
	p.early = nil
	for _, m := range early {
		s.sendPeerControl(p, m.port, m.msg)
	}
}

// firstUse is for the first valid packet of a pair. The peer has both directions then, and if it has been there before, it
// may know no other any more: what answers the packet must leave by this pair, before the control side has got so far.
func (s *shard) firstUse(a *sa) {
	a.used = true
	if out := a.peer.out; out == nil || out.born < a.born {
		s.leaveBy(a)
	}
	a.peer.sink.SAUsed(a.spi)
}

// removePeer takes a peer with all its SAs out.
func (s *shard) removePeer(p *peer) {
	s.flush()
	p.removed, p.out, p.early = true, nil, nil
	for slot, a := range s.sas {
		if a != nil && a.peer == p {
			s.sas[slot] = nil
			a.close()
		}
	}
}

// merge makes everything of from into's. What from has heard last is where the peer is now.
func (s *shard) merge(from, into *peer) {
	from, into = from.now(), into.now()
	if from == into {
		return
	}
	s.flush()
	for _, a := range s.sas {
		if a != nil && a.peer == from {
			a.peer = into
		}
	}
	for _, c := range from.calls {
		c.l2tp.peer = into
		into.carry(c)
	}
	from.calls, from.only = nil, nil
	into.outer = append(into.outer, from.outer...)
	from.outer = nil
	if from.out != nil {
		into.out, from.out = from.out, nil
	}
	into.spoken = into.spoken || from.spoken
	s.learnForm(into, max(into.form, from.form))
	into.remote, into.port, into.udp, into.raw, into.local = from.remote, from.port, from.udp, from.raw, from.local
	into.lastInbound = max(into.lastInbound, from.lastInbound)
	from.into = into
}
