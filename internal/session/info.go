package session

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"concentrator/internal/dataplane"
)

// snapshot returns what others see of the session, without a look at the shard's counters.
func (s *session) snapshot() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// update changes what others see and publishes it. A session whose tenant is not known yet has no name and is not
// published; one whose name changes leaves the old name first.
func (s *session) update(change func(*Info)) {
	s.mu.Lock()
	defer s.mu.Unlock() // so that changes are published in the order in which they were made
	before := s.info.Name
	change(&s.info)
	if s.unlisted {
		return
	}
	if before != "" && before != s.info.Name {
		s.m.feed.Remove(before)
	}
	if s.info.Name != "" {
		s.m.feed.Put(s.info.Name, s.info)
	}
}

// unlist publishes that the session is gone. What changes of it later is not published any more.
func (s *session) unlist() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlisted = true
	if s.info.Name != "" {
		s.m.feed.Remove(s.info.Name)
	}
}

func (s *session) setState(to State) {
	if s.snapshot().State != to {
		s.update(func(i *Info) { i.State = to })
	}
}

// count takes the shard's counters into what others see.
func (s *session) count(c dataplane.Counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.setCounters(c)
}

func (i *Info) setCounters(c dataplane.Counters) {
	i.InBytes, i.OutBytes, i.InPackets, i.OutPackets = c.InBytes, c.OutBytes, c.InPackets, c.OutPackets
	i.Drops = c.Drops.Map()
}

// printable makes a client's octets fit to be shown: valid UTF-8 without control characters, at most 256 octets.
func printable(name string) string {
	const most = 256
	if len(name) > most {
		name = name[:most]
	}
	if utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '\uFFFD'
		}
		b.WriteRune(r)
	}
	return b.String()
}
