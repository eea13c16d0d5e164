package session

import (
	"fmt"
	"sync"
)

// maxLogins is how many login attempts are kept.
const maxLogins = 10000

// loginLog keeps the last login attempts in memory. It is safe for concurrent use.
type loginLog struct {
	mu   sync.Mutex
	ring []LoginAttempt
	next int64 // number of the next attempt, from 0
}

// add keeps a, gives it its name and returns it.
func (l *loginLog) add(a LoginAttempt, epoch uint64) LoginAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The number orders attempts; the epoch tells those of two runs apart.
	a.Name = fmt.Sprintf("logins/%x-%d", uint32(epoch>>32), l.next)
	if a.Tenant != "" {
		a.Name = a.Tenant + "/" + a.Name
	}
	if len(l.ring) < maxLogins {
		l.ring = append(l.ring, a)
	} else {
		l.ring[l.next%maxLogins] = a
	}
	l.next++
	return a
}

// list returns the attempts that match f, the newest first.
func (l *loginLog) list(f LoginFilter) []LoginAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []LoginAttempt
	for n := l.next - 1; n >= max(0, l.next-maxLogins); n-- {
		a := l.ring[n%maxLogins]
		if (f.Tenant == "" || f.Tenant == "tenants/-" || f.Tenant == a.Tenant) &&
			(f.User == "" || f.User == a.User) &&
			(!f.Peer.IsValid() || f.Peer == a.ClientAddress.Addr()) &&
			(f.Outcome == "" || f.Outcome == a.Outcome) {
			out = append(out, a)
		}
	}
	return out
}
