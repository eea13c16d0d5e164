package l2tp

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	lac "concentrator/internal/simclient/l2tp"
)

// TestPanicEndsItsTunnel: one in the work for a tunnel ends that one with its calls, and no other.
func TestPanicEndsItsTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		good, bad := w.newPeer("198.51.100.1:1701"), w.newPeer("198.51.100.2:1701")
		_, call := w.open(good, 1701, lac.Windows("pc", 1))
		w.events()
		c, _ := w.open(bad, 1701, lac.Windows("pc", 1))
		w.events()
		w.mu.Lock()
		w.onCall = func(Call, CallRequest) Answer { panic("bomb") }
		w.mu.Unlock()
		go func() { _, _ = c.Call(t.Context(), 8) }()
		time.Sleep(time.Second)
		synctest.Wait()
		w.expect("closed 0x102 LOST_CARRIER", "tunnel closed")
		select {
		case <-call.Done():
			t.Error("the other tunnel's call has ended")
		default:
		}
		w.mu.Lock()
		w.onCall = func(Call, CallRequest) Answer { return Answer{SessionID: w.nextCall} }
		w.mu.Unlock()
		c.Abort()
		w.open(bad, 1702, lac.Windows("pc", 1))
		if got := w.events(); !slices.Contains(got, "connected 0x104") {
			t.Errorf("the client can't come back: %q", got)
		}
		w.end()
	})
}
