package strangers

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// maxKnown bounds the sources that are remembered because somebody has logged in from them; the oldest goes first.
const maxKnown = 4096

// Guard bounds what strangers begin. It belongs to whoever made it, who guards it by a lock of his own.
type Guard struct {
	begin    *rate.Limiter // beginnings of strangers, all together
	returned *rate.Limiter // of those that have asked before
	repeats  repeats

	known map[netip.Addr]struct{}
	order []netip.Addr // ring of the keys of known, the oldest at next
	next  int
}

// NewGuard returns a Guard that lets strangers begin so much a second, and burst at once, and as much again when they ask for the
// second time.
func NewGuard(perSecond float64, burst int) *Guard {
	return &Guard{
		begin:    rate.NewLimiter(rate.Limit(perSecond), burst),
		returned: rate.NewLimiter(rate.Limit(perSecond), burst),
	}
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
func (g *Guard) May(now time.Time) bool { return g.begin.AllowN(now, 1) }

// Again says whether a stranger who may not begin by May may do so since the same was asked for before, and counts it: every client
// without an answer asks again, and few who invent addresses do. Those who do get no more by it than May lets them. It keeps nothing
// of request.
func (g *Guard) Again(now time.Time, from netip.AddrPort, request []byte) bool {
	return g.repeats.again(now, from, request) && g.returned.AllowN(now, 1)
}

// Turn is a stranger's leave to begin that is not counted yet. The zero Turn is none.
type Turn struct{ of *rate.Limiter }

// Ask says by which of Again and May a stranger may begin now, and counts nothing, for who has more to ask of him. Where he may not
// the answer is the zero Turn.
func (g *Guard) Ask(now time.Time, from netip.AddrPort, request []byte) Turn {
	switch {
	case g.repeats.again(now, from, request) && g.returned.TokensAt(now) >= 1:
		return Turn{g.returned}
	case g.begin.TokensAt(now) >= 1:
		return Turn{g.begin}
	default:
		return Turn{}
	}
}

// Take counts the Turn, and says whether it was one.
func (t Turn) Take(now time.Time) bool { return t.of != nil && t.of.AllowN(now, 1) }
