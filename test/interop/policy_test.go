//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// policyServer has a tenant for each limit that TestLimits feels.
const policyServer = "198.51.100.21"

func policyDial(user, password string) Dial {
	return Dial{Server: policyServer, User: user, Password: password, Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}
}

// TestLimits has two clients meet a limit: who was there stays, and moves packets, or gives its place to who comes.
func TestLimits(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	for _, c := range []struct {
		name, tenant string
		second       string // user; the first one is alice
		reason       string // why the second is kept out; "": it is let in, and the first goes
	}{
		{"a user's second session is denied", "deny", "alice", "USER_LIMIT"},
		{"a user's second session takes the place of the first", "replace", "alice", ""},
		{"the tenant is full", "full", "bob", "TENANT_LIMIT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			passwords := map[string]string{"alice": "wonder-1", "bob": "builder-2"}
			first := dial(t, guests[0], policyDial("alice@"+c.tenant+".example", passwords["alice"]))
			first.Route(t, innerHost)
			second := policyDial(c.second+"@"+c.tenant+".example", passwords[c.second])
			session := world.daemon.OpenSession(t, c.tenant, first)
			reaches := func(l *Link, who string) {
				t.Helper()
				if p := l.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
					t.Errorf("%s: %+v", who, p)
				}
			}
			reaches(first, "the first, alone")
			if c.reason != "" {
				if r := refused(t, guests[1], second); !strings.Contains(r.Log, "authentication failed") {
					t.Errorf("the client was not told at its login: %v", r)
				}
				if l := world.daemon.LastLogin(t, guests[1]); l.Reason != c.reason || l.Outcome != "REFUSED" {
					t.Errorf("ctl login list shows %+v, want %s", l, c.reason)
				}
				reaches(first, "the first, after the refusal")
				if now := world.daemon.OpenSession(t, c.tenant, first); now.Name != session.Name {
					t.Errorf("the session is now %s, was %s", now.Name, session.Name)
				}
				// When the first has gone there is room.
				first.HangUp(t)
				world.daemon.SessionGone(t, session, 3*time.Second)
				link := dial(t, guests[1], second)
				link.Route(t, innerHost)
				reaches(link, "the second, when the first has gone")
				link.HangUp(t)
				return
			}
			link := dial(t, guests[1], second)
			link.Route(t, innerHost)
			first.Gone(t, 5*time.Second)
			world.daemon.SessionGone(t, session, 3*time.Second)
			reaches(link, "the second, in the place of the first")
			if all := world.daemon.Sessions(t, c.tenant); len(all) != 1 {
				t.Errorf("the user has the sessions %+v, want one", all)
			}
			link.HangUp(t)
		})
	}
}

// Lockout is a lockout as the API shows it.
type Lockout struct{ Name, Kind, Subject, Until string }

// Lockouts lists those of a tenant; "" for all tenants.
func (d *Daemon) Lockouts(t testing.TB, tenant string) (its []Lockout) {
	t.Helper()
	var all struct{ Lockouts []Lockout }
	d.List(t, &all, "lockout")
	for _, l := range all.Lockouts {
		if tenant == "" || segment(l.Name, 1) == tenant {
			its = append(its, l)
		}
	}
	return its
}

// TestGuessing has a client guess somebody's password: it is slowed down, even where it guesses right, and the user is not, at
// the address from where she has always come. When the operator lifts it, the client may log in too.
func TestGuessing(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	user, guesser := guests[0], guests[1]
	const name = "alice@guess.example"
	right, wrong := policyDial(name, "wonder-1"), policyDial(name, "not-hers")
	guess := func(d Dial) (reason string) {
		t.Helper()
		if r := refused(t, guesser, d); !strings.Contains(r.Log, "authentication failed") {
			t.Errorf("the client was not told at its login: %v", r)
		}
		return world.daemon.LastLogin(t, guesser).Reason
	}
	dial(t, user, right).HangUp(t)

	// Five are free; they come from elsewhere, for the user is the same. The sixth counts when two seconds are over, the
	// seventh after four more; then it is eight.
	const free, enough = 5, 7
	r := StartGen(t, "login", name, "--server", policyServer, "--password", "not-hers", "--count", fmt.Sprint(free), "--parallel", "1").Wait(t)
	if r.OK != 0 {
		t.Fatalf("%v with a wrong password", r)
	}
	failures, held := free, 0
	for begin := time.Now(); failures < enough; {
		switch reason := guess(wrong); reason {
		case "WRONG_CREDENTIALS":
			failures++
		case "LOCKED_OUT":
			held++
		default:
			t.Fatalf("refused with %s", reason)
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d failures and %d times held up in a minute", failures, held)
		}
	}
	t.Logf("%d failures, held up %d times", failures, held)
	if got := guess(right); got != "LOCKED_OUT" {
		t.Errorf("the right password at once was refused with %s, want LOCKED_OUT", got)
	}
	locked := world.daemon.Lockouts(t, "guess")
	if len(locked) != 1 || locked[0].Kind != "USER" || locked[0].Subject != "alice" || locked[0].Until == "" {
		t.Errorf("ctl lockout list shows %+v, want the user alice", locked)
	}
	link := dial(t, user, right)
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("the user, from where she has always come: %+v", p)
	}
	link.HangUp(t)
	if _, err := world.daemon.Ctl(t.Context(), "lockout", "lift", "--user", "alice", "--tenant", "guess"); err != nil {
		t.Fatal(err)
	}
	if left := world.daemon.Lockouts(t, "guess"); len(left) != 0 {
		t.Errorf("after it was lifted there are %+v", left)
	}
	dial(t, guesser, right).HangUp(t)
	checkReasonIsTold(t, "LOCKED_OUT")
}
