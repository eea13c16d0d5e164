package session

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// allow gives a profile of acme's hours. A bubble begins on Saturday 2000-01-01 at 00:00 UTC.
func (w *world) allow(profile, zone string, hours ...string) {
	w.t.Helper()
	alter(w, acme+"/profiles/"+profile, func(p *store.Profile) {
		p.AllowedHours, p.TimeZone = nil, zone
		for _, text := range hours {
			h, err := tenant.ParseHourWindow(text)
			if err != nil {
				w.t.Fatal(err)
			}
			p.AllowedHours = append(p.AllowedHours, h)
		}
	})
}

// TestOutOfHours: outside of its profile's hours a right password is refused, with the code that says why; within them it is
// let in. A wrong password is told nothing of hours.
func TestOutOfHours(t *testing.T) {
	for _, c := range []struct {
		name   string
		zone   string
		hours  []string
		opens  bool
		detail string
	}{
		{"no hours", "", nil, true, ""},
		{"within", "", []string{"Mon-Fri 08:00-18:00", "Sat 00:00-06:00"}, true, ""},
		{"another day", "", []string{"Mon-Fri 00:00-24:00"}, false, "Sat 00:00 in UTC is outside of the allowed hours of tenants/acme/profiles/default"},
		{"another hour", "", []string{"06:00-24:00"}, false, "Sat 00:00 in UTC is outside"},
		{"within, elsewhere", "Asia/Tokyo", []string{"Sat 09:00-10:00"}, true, ""},
		{"another day, elsewhere", "America/New_York", []string{"Sat 00:00-24:00"}, false, "Fri 19:00 in America/New_York is outside"},
		{"a zone that nobody knows", "Mars/Olympus", []string{"00:00-23:59"}, false, "Mars/Olympus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				w.allow("default", c.zone, c.hours...)
				w.start()
				if c.opens {
					w.login(simppp.Windows(alice, password))
					return
				}
				cl := w.dial(simppp.Windows(alice, password))
				w.wantRefused(cl)
				a := w.m.Logins(LoginFilter{})[0]
				if !strings.Contains(a.Detail, c.detail) {
					t.Errorf("the detail is %q", a.Detail)
				}
				if c.zone == "Mars/Olympus" { // the API lets none such in; what can't be told is not let in either
					if a.Reason != tenant.ReasonProtocolError || len(w.errors.take()) != 1 {
						t.Errorf("attempt %+v", a)
					}
					return
				}
				w.wantAttempts("alice REFUSED AUTHENTICATION USER_DISABLED")
				if len(cl.refused) != 1 || cl.refused[0].Code != 646 || cl.refused[0].Message != "Logging in is not allowed at this time" {
					t.Errorf("the client was told %+v", cl.refused)
				}
				w.wantClean()
				wrong := w.dial(simppp.Windows(alice, "wrong"))
				w.wantRefused(wrong)
				if wrong.refused[0].Code != 691 {
					t.Errorf("with a wrong password the client was told %+v", wrong.refused)
				}
			})
		})
	}
}

// TestOutOfHoursIsNoGuess: who tries all night with the right password gets in in the morning.
func TestOutOfHoursIsNoGuess(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.allow("default", "", "06:00-24:00")
		w.start()
		for range 20 {
			w.wantRefused(w.dial(simppp.Windows(alice, password)))
		}
		if n := len(w.m.Lockouts("")); n != 0 {
			t.Errorf("%d lockouts", n)
		}
		for time.Now().UTC().Hour() < 6 {
			time.Sleep(time.Minute)
		}
		w.login(simppp.Windows(alice, password))
	})
}

// TestEndOfHours: a live session ends with the hours of its profile, and no other does; an idle timeout, a change of the
// profile and what RADIUS says of the session's time leave that as it is.
func TestEndOfHours(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.allow("default", "", "Sat 00:00-00:10", "Mon-Fri 08:00-18:00")
		create(w, &store.Profile{Meta: named(acme + "/profiles/night")})
		w.addUser("acme", "bob", func(u *store.User) { u.Profile = acme + "/profiles/night" })
		w.start()
		began := time.Now()
		day, night := w.login(simppp.Windows(alice, password)), w.login(simppp.Windows("bob", password))
		w.allow("default", "", "Sat 00:00-00:05")
		time.Sleep(9 * time.Minute)
		if !day.isOpen() {
			t.Error("gone before the hours are over")
		}
		w.until("the goodbye is said", func() bool { return terminated(day.frames()) != "" })
		if at := time.Since(began); at < 10*time.Minute || at > 10*time.Minute+time.Second {
			t.Errorf("ended after %v", at)
		}
		if text := terminated(day.frames()); text != "the allowed hours are over" {
			t.Errorf("the client was told %q", text)
		}
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 1 })
		if got := w.ledger.of("stop"); !slices.Equal(got, []string{"stop alice 0 SESSION_TIMEOUT"}) {
			t.Errorf("accounting: %q", got)
		}
		w.wantRefused(w.dial(simppp.Windows(alice, password)))
		if !night.isOpen() {
			t.Error("the other profile's session is gone")
		}
	})
}

// TestEndOfHoursWhileDead: a client that does not hear the goodbye is gone all the same, and nothing spins meanwhile.
func TestEndOfHoursWhileDead(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.allow("default", "", "Sat 00:00-00:01")
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.Echo = tenant.Echo{Interval: time.Hour, Failures: 1} })
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		cl.setMute(true)
		began := time.Now()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if took := time.Since(began); took < 59*time.Second || took > time.Minute+terminateTimeout+time.Second {
			t.Errorf("gone after %v", took)
		}
		w.wantClean()
	})
}

func TestCheckHoursNever(t *testing.T) {
	closes, err := checkHours(&store.Profile{}, time.Now())
	if err != nil || !closes.IsZero() {
		t.Errorf("%v, %v", closes, err)
	}
	whole, err := tenant.ParseHourWindow("00:00-24:00")
	if err != nil {
		t.Fatal(err)
	}
	closes, err = checkHours(&store.Profile{AllowedHours: []tenant.HourWindow{whole}}, time.Now())
	var no *refusal
	if errors.As(err, &no) || err != nil || !closes.IsZero() {
		t.Errorf("%v, %v", closes, err)
	}
}
