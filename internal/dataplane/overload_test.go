package dataplane

import (
	"testing"
	"time"
)

// TestOverflowIsNoticed: while a device drops and its queue gives full batches the shard is told; when either ends, no
// longer; and who watches wakes up again for the next time.
func TestOverflowIsNoticed(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	told := func(full bool) (yes bool) {
		t.Helper()
		if err := l.d.shards[0].do(func(*shard) { yes = n.parts[0].overflows(full) }); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	for range 2 {
		if told(true) {
			t.Error("told of an overflow, and nothing was dropped")
		}
		until("it was not told", func() bool {
			dev.lost.Add(1)
			return told(true)
		})
		if told(false) {
			t.Error("told of an overflow when its batches are not full")
		}
		until("it is still told, and nothing is dropped any more", func() bool { return !told(true) })
		until("it is not told a second time", func() bool {
			dev.lost.Add(1)
			return told(true)
		})
		until("it is still told, and is not busy", func() bool { return !n.overflowing.Load() })
		time.Sleep(3 * overflowInterval) // until nobody looks any more
	}
}
