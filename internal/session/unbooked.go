package session

import (
	"errors"
	"sync"
	"time"

	"concentrator/internal/authz/accounting"
)

// maxUnbooked bounds the accounts that wait in memory, of about a kilobyte each.
const maxUnbooked = 1 << 16

// closedAccount is all that accounting is to know of a session that has ended.
type closedAccount struct {
	session  accounting.Session
	counters accounting.Counters
	end      ending
	at       time.Time
}

func (c *closedAccount) stop(l Ledger) error {
	return l.Stop(c.session.SessionID, c.counters, c.end.reason, c.end.detail, c.at)
}

// unbooked are the sessions that have begun and ended while the ledger could take nothing, since the disk was full: they
// are in no file, but are billed all the same if it takes them before the process ends. It is safe for concurrent use.
type unbooked struct {
	mu   sync.Mutex
	list []closedAccount // the oldest first
}

// keep takes one, unless there are too many.
func (u *unbooked) keep(c closedAccount) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) >= maxUnbooked {
		return false
	}
	u.list = append(u.list, c)
	return true
}

// settle enters those that wait into the ledger, until it fails.
func (u *unbooked) settle(l Ledger) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.list) > 0 {
		c := &u.list[0]
		if err := l.Start(c.session); err != nil && !errors.Is(err, accounting.ErrKnownSession) {
			return err
		}
		err := c.stop(l) // what it fails to write now it keeps
		*c = closedAccount{}
		u.list = u.list[1:]
		if err != nil {
			return err
		}
	}
	u.list = nil
	return nil
}
