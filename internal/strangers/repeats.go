package strangers

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// Bounds of what is remembered of beginnings that were not let in: 64 Ki of them, half a mebibyte. At 20 000 a second all but one
// in ten are remembered for the second after which clients ask again, at 10 000 three of four for 4 s.
const (
	sets = 1 << 14
	ways = 4

	repeatAfter = 300 * time.Millisecond // sooner it is a copy that the network or the sender of a flood has made
	repeatUntil = 30 * time.Second
)

// repeats remembers what strangers have asked for, by a keyed hash. The zero value is ready, and takes its memory when it is first
// asked.
type repeats struct {
	seed  maphash.Seed
	begun time.Time
	seen  [][ways]slot // in each the oldest goes first
}

// slot remembers a beginning that was not let in.
type slot struct {
	tag uint32 // 0: nothing
	at  uint32 // milliseconds since the table was made
}

// again says whether the same stranger has asked for the same before, and remembers it. It keeps nothing of request.
func (r *repeats) again(now time.Time, from netip.AddrPort, request []byte) bool {
	if r.seen == nil {
		r.seed, r.begun, r.seen = maphash.MakeSeed(), now, make([][ways]slot, sets)
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	a, port := from.Addr().As16(), from.Port()
	_, _ = h.Write(a[:])
	_, _ = h.Write([]byte{byte(port >> 8), byte(port)})
	_, _ = h.Write(request)
	sum := h.Sum64()
	set := &r.seen[sum%sets]
	tag, at := uint32(sum>>32)|1, uint32(now.Sub(r.begun).Milliseconds())
	place := 0
	for i, s := range set {
		if s.tag == tag {
			switch age := time.Duration(at-s.at) * time.Millisecond; {
			case age < repeatAfter:
				return false
			case age <= repeatUntil:
				return true
			}
			place = i
			break
		}
		if at-s.at > at-set[place].at || s.tag == 0 && set[place].tag != 0 {
			place = i
		}
	}
	set[place] = slot{tag, at}
	return false
}
