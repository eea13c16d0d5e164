package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/authz/local"
	simppp "concentrator/internal/simclient/ppp"
)

// wantPanic takes what was logged as an error, which must be one contained panic.
func (w *world) wantPanic() {
	w.t.Helper()
	if lines := w.errors.take(); len(lines) != 1 || !strings.HasPrefix(lines[0], "panic contained") {
		w.t.Errorf("logged was %q", lines)
	}
}

// explosive users are a table that panics.
type explosive struct{}

func (explosive) User(string, string) (local.User, bool, error) { panic("bomb") }

// TestPanicEndsItsSession: one in the work for a session ends that one. What it held is free, and another one lives.
func TestPanicEndsItsSession(t *testing.T) {
	for name, bomb := range map[string]func(w *world) *client{
		"on its way up": func(w *world) *client {
			cl := w.dial(simppp.Windows(alice, password))
			cl.fc.mu.Lock()
			cl.fc.bomb = true
			cl.fc.mu.Unlock()
			return cl
		},
		"on its way down": func(w *world) *client {
			cl := w.login(simppp.Windows(alice, password))
			synctest.Wait()
			w.m.byCallID(cl.fc.id).carrier.tunnel = nil
			cl.hangUp()
			return cl
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.ready()
				good := w.login(simppp.Windows(alice, password))
				bomb(w)
				w.until("one is gone", func() bool { return w.m.slots.slots() == 1 })
				w.wantPanic()
				if w.plane.openCalls() != 1 || w.leased("tenants/acme/pools/main") != 1 {
					t.Errorf("%d calls are open, %d addresses leased", w.plane.openCalls(), w.leased("tenants/acme/pools/main"))
				}
				if !good.fc.isOpen() {
					t.Error("the other one has ended")
				}
				w.login(simppp.Windows(alice, password))
			})
		})
	}
}

// TestBrokenCall: what a shard has taken out ends for a reason, and its client may come again.
func TestBrokenCall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		o := w.watch("tenants/acme")
		defer o.stop()
		cl := w.login(simppp.Windows(alice, password))
		cl.fc.spec.Sink.Broken("the shard has panicked")
		w.until("it is gone", func() bool { return w.m.slots.slots() == 0 && cl.gone() })
		w.wantClean()
		w.login(simppp.Windows(alice, password))
	})
}

// TestPanicOfADecision: the log-in is refused, and the next one decided.
func TestPanicOfADecision(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		before := w.m.local
		w.m.local = local.New(explosive{})
		w.wantRefused(w.dial(simppp.Windows(alice, password)))
		w.wantPanicAndError()
		w.m.local = before
		w.login(simppp.Windows(alice, password))
	})
}

// wantPanicAndError is wantPanic where what came of it is logged too.
func (w *world) wantPanicAndError() {
	w.t.Helper()
	lines := w.errors.take()
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "panic contained") || !strings.Contains(lines[1], ownFault) {
		w.t.Errorf("logged was %q", lines)
	}
}

// TestPanicOfAnErrand: those behind it are done.
func TestPanicOfAnErrand(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		done := false
		w.m.errands.push(func() { panic("bomb") })
		w.m.errands.push(func() { done = true })
		time.Sleep(time.Second)
		synctest.Wait()
		w.wantPanic()
		if !done {
			t.Error("the errand behind it was not done")
		}
	})
}
