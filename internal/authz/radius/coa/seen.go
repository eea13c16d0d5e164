package coa

import (
	"net/netip"
	"time"

	"concentrator/internal/authz/radius/packet"
)

const (
	// keepReply is how long a request without an Event-Timestamp is known again. Servers give up much sooner.
	keepReply = 30 * time.Second
	// maxSeen bounds the memory of one seen in octets; the oldest go first.
	maxSeen = 4 << 20
	// entryLen is about what an entry takes besides its reply, in octets.
	entryLen = 256
)

// seenKey tells a request from all others: its authenticator is a digest of all of it, with the secret.
type seenKey struct {
	tenant        string         // the first that it is for: tenants may share a secret
	server        string         // over TLS
	from          netip.AddrPort // over UDP; zero if the request has an Event-Timestamp
	id            byte
	authenticator [packet.AuthenticatorLen]byte
}

// entry is one request that came.
type entry struct {
	key   seenKey
	until time.Time
	reply []byte // nil: under way
}

// seen remembers requests and their replies for a while. It is guarded by Server.mu.
type seen struct {
	keep    time.Duration
	entries map[seenKey]*entry
	order   []*entry // the oldest first; all are kept for as long, so it is the first to go too
	octets  int
}

func newSeen(keep time.Duration) *seen { return &seen{keep: keep, entries: map[seenKey]*entry{}} }

// find returns what is known of a request, or nil.
func (s *seen) find(k seenKey, now time.Time) *entry {
	for len(s.order) > 0 && !now.Before(s.order[0].until) {
		s.forget()
	}
	return s.entries[k]
}

// add remembers a request that find does not know.
func (s *seen) add(k seenKey, now time.Time) *entry {
	e := &entry{key: k, until: now.Add(s.keep)}
	s.entries[k] = e
	s.order = append(s.order, e)
	s.grow(entryLen)
	return e
}

// answered remembers the reply to a request, unless it had to go meanwhile.
func (s *seen) answered(e *entry, reply []byte) {
	if s.entries[e.key] == e {
		e.reply = reply
		s.grow(len(reply))
	}
}

// grow counts n octets more and makes room for them.
func (s *seen) grow(n int) {
	s.octets += n
	for s.octets > maxSeen {
		s.forget()
	}
}

// forget drops the oldest entry.
func (s *seen) forget() {
	e := s.order[0]
	s.order[0] = nil
	s.order = s.order[1:]
	delete(s.entries, e.key)
	s.octets -= entryLen + len(e.reply)
}
