package session

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
)

// TestBooks: a session has one Start when it carries IP, interims at their time, and one Stop with its last counters.
func TestBooks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.AcctInterimInterval = time.Minute })
		w.start()
		if got := w.ledger.of("on"); !slices.Equal(got, []string{"on acme"}) {
			t.Errorf("at the start: %q", got)
		}
		wrong := w.dial(simppp.Windows(alice, "not-hers"))
		w.wantRefused(wrong)
		cl := w.login(simppp.Windows(alice, password))
		if got := w.ledger.of("start"); !slices.Equal(got, []string{"start acme/alice 10.7.0.2 MSCHAPV2"}) {
			t.Errorf("after a refused and an accepted login: %q", got)
		}
		cl.fc.traffic(3)
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		// Each comes up to a tenth early, so that in three minutes there are three.
		if got := w.ledger.of("interim"); !slices.Equal(got, []string{"interim alice 300", "interim alice 300", "interim alice 300"}) {
			t.Errorf("in three minutes: %q", got)
		}
		if n := len(w.ledger.of("checkpoint of 1")); n < 11 || n > 13 {
			t.Errorf("%d checkpoints in three minutes, want one in %s", n, checkpointEvery)
		}
		cl.fc.traffic(4)
		cl.hangUp()
		w.until("the account is closed", func() bool { return len(w.ledger.of("stop")) > 0 })
		if got := w.ledger.of("stop"); !slices.Equal(got, []string{"stop alice 700 USER_REQUEST"}) {
			t.Errorf("at the end: %q", got)
		}
	})
}

// TestBooksShutdown: the sessions are closed before Accounting-Off.
func TestBooksShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Windows(alice, password))
		w.shutdown(time.Minute)
		log := w.ledger.of("")
		if n := len(log); n < 2 || !strings.HasPrefix(log[n-2], "stop alice") || log[n-1] != "off acme" {
			t.Errorf("the last that accounting was told: %q", log)
		}
	})
}
