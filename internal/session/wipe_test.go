package session

import (
	"bytes"
	"testing"

	simppp "concentrator/internal/simclient/ppp"
)

// TestKeysAreWiped: what the login has given is zeros when the session is gone.
func TestKeysAreWiped(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Pppd(alice, password))
		var live *session
		w.m.mu.Lock()
		for _, s := range w.m.sessions {
			live = s
		}
		w.m.mu.Unlock()
		w.settle()
		keys := live.verdict.keys // its goroutine waits
		for _, k := range [][]byte{keys.Send, keys.Recv} {
			if len(k) == 0 || bytes.Equal(k, make([]byte, len(k))) {
				t.Fatalf("a live session has the key %x", k)
			}
		}
		cl.hangUp()
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		w.settle()
		for _, k := range [][]byte{keys.Send, keys.Recv} {
			if !bytes.Equal(k, make([]byte, len(k))) {
				t.Errorf("%x is left", k)
			}
		}
	})
}
