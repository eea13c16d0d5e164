package session

import "fmt"

// maxLogins is how many login attempts are kept.
const maxLogins = 10000

// loginLog keeps the last login attempts in memory. It is safe for concurrent use.
type loginLog struct{ feed *Feed[LoginAttempt] }

func newLoginLog() loginLog { return loginLog{NewLog[LoginAttempt](maxLogins)} }

// add keeps a, gives it its name and returns it.
func (l loginLog) add(a LoginAttempt, epoch uint64) LoginAttempt {
	l.feed.Add(func(revision int64) (string, LoginAttempt) {
		// The number orders attempts; the epoch tells those of two runs apart.
		a.Name = fmt.Sprintf("logins/%x-%d", uint32(epoch>>32), revision-1)
		if a.Tenant != "" {
			a.Name = a.Tenant + "/" + a.Name
		}
		return a.Name, a
	})
	return a
}

// list returns the attempts that match f, the newest first.
func (l loginLog) list(f LoginFilter) []LoginAttempt {
	var out []LoginAttempt
	l.feed.newest(func(a *LoginAttempt) bool {
		if (f.Tenant == "" || f.Tenant == "tenants/-" || f.Tenant == a.Tenant) &&
			(f.User == "" || f.User == a.User) &&
			(!f.Peer.IsValid() || f.Peer == a.ClientAddress.Addr()) &&
			(f.Outcome == "" || f.Outcome == a.Outcome) {
			out = append(out, *a)
		}
		return true
	})
	return out
}
