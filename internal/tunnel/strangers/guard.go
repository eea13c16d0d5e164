package strangers

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// maxKnown bounds the sources that are remembered because somebody has logged in from them; the oldest goes first.
const maxKnown = 4096

// Bounds of what is remembered of beginnings that were not let in: 64 Ki of them, half a mebibyte. At 20 000 a second three of
// four are remembered for the second after which clients ask again.
const (
	slots       = 1 << 16
	repeatAfter = 300 * time.Millisecond // sooner it is a copy that the network or the sender of a flood has made
	repeatUntil = 30 * time.Second
)

// Guard bounds what strangers begin. It belongs to whoever made it, who guards it by a lock of his own. The zero Guard lets
// nobody in but whom it knows.
type Guard struct {
	PerSecond, Burst float64 // beginnings of strangers, all together

	known map[netip.Addr]struct{}
	order []netip.Addr // ring of the keys of known, the oldest at next
	next  int

	left   float64
	filled time.Time

	seed  maphash.Seed
	begun time.Time
	seen  []slot // nil until it is needed
}

// slot remembers a beginning that was not let in.
type slot struct {
	tag uint32
	at  uint32 // milliseconds since the table was made
}

// Know remembers that somebody has logged in from a source.
func (g *Guard) Know(source netip.Addr) {
	if g.known == nil {
		g.known = map[netip.Addr]struct{}{}
	}
	switch _, there := g.known[source]; {
	case there:
		return
	case len(g.order) < maxKnown:
		g.order = append(g.order, source)
	default:
		delete(g.known, g.order[g.next])
		g.order[g.next] = source
		g.next = (g.next + 1) % maxKnown
	}
	g.known[source] = struct{}{}
}

// Knows says whether somebody has logged in from a source.
func (g *Guard) Knows(source netip.Addr) bool {
	_, ok := g.known[source]
	return ok
}

// May says whether a stranger may begin something now, and counts it.
func (g *Guard) May(now time.Time) bool {
	if g.filled.IsZero() {
		g.left = g.Burst
	} else {
		g.left = min(g.Burst, g.left+now.Sub(g.filled).Seconds()*g.PerSecond)
	}
	g.filled = now
	if g.left < 1 {
		return false
	}
	g.left--
	return true
}

// Again says whether the same stranger has asked for the same before, as clients without an answer do and invented addresses don't,
// and remembers it.
func (g *Guard) Again(now time.Time, from netip.AddrPort, request []byte) bool {
	if g.seen == nil {
		g.seed, g.begun, g.seen = maphash.MakeSeed(), now, make([]slot, slots)
	}
	var h maphash.Hash
	h.SetSeed(g.seed)
	a, port := from.Addr().As16(), from.Port()
	_, _ = h.Write(a[:])
	_, _ = h.Write([]byte{byte(port >> 8), byte(port)})
	_, _ = h.Write(request)
	sum := h.Sum64()
	s := &g.seen[sum%slots]
	tag, at := uint32(sum>>32)|1, uint32(now.Sub(g.begun).Milliseconds())
	age := time.Duration(at-s.at) * time.Millisecond
	switch {
	case s.tag == tag && age < repeatAfter:
		return false
	case s.tag == tag && age <= repeatUntil:
		return true
	}
	*s = slot{tag, at}
	return false
}
