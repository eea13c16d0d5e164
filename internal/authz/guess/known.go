package guess

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// maxKnown bounds the sources that a user is known from. Beyond that, the one that was not used for longest goes.
	maxKnown = 8
	// knownFor is how long a source stays known: after that somebody else may have the address.
	knownFor = 90 * 24 * time.Hour
	// fresh is how long a success is not noted again: not every log-in is a write.
	fresh = 24 * time.Hour
)

// known is a user who has logged in: from where, and how often that failed since. The last one used is in front.
type known struct{ sources []knownSource }

type knownSource struct {
	source netip.Addr
	last   time.Time // of the last success
	counter
}

// from returns what there is about a source; nil: the user is not known from it. It is good until the next call of met.
func (k *known) from(source netip.Addr) *knownSource {
	if k == nil {
		return nil
	}
	i := slices.IndexFunc(k.sources, func(s knownSource) bool { return s.source == source })
	if i < 0 {
		return nil
	}
	return &k.sources[i]
}

// met notes a success from a source, and says whether that is news worth writing.
func (k *known) met(source netip.Addr, now time.Time) (news bool) {
	var s knownSource
	news = true
	if old := k.from(source); old != nil {
		s = *old
		news = now.Sub(s.last) >= fresh
		k.sources = slices.DeleteFunc(k.sources, func(s knownSource) bool { return s.source == source })
	}
	if s.source = source; news {
		s.last = now
	}
	if len(k.sources) >= maxKnown {
		k.sources = k.sources[:maxKnown-1]
	}
	k.sources = slices.Insert(k.sources, 0, s)
	return news
}

// age forgets sources without a success for too long, and says whether there were any.
func (k *known) age(now time.Time) bool {
	n := len(k.sources)
	k.sources = slices.DeleteFunc(k.sources, func(s knownSource) bool { return now.Sub(s.last) >= knownFor })
	return len(k.sources) < n
}
