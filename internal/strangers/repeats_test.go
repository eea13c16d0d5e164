package strangers

import (
	"net/netip"
	"testing"
	"time"
)

func TestAgain(t *testing.T) {
	var r repeats
	now := time.Unix(1000, 0)
	from := netip.AddrPortFrom(addr(1), 1701)
	request := []byte("SCCRQ")
	for _, step := range []struct {
		name  string
		after time.Duration
		from  netip.AddrPort
		body  string
		want  bool
	}{
		{"first", 0, from, "SCCRQ", false},
		{"a copy at once", repeatAfter - time.Millisecond, from, "SCCRQ", false},
		{"again", time.Millisecond, from, "SCCRQ", true},
		{"another port", 0, netip.AddrPortFrom(addr(1), 1702), "SCCRQ", false},
		{"another address", 0, netip.AddrPortFrom(addr(2), 1701), "SCCRQ", false},
		{"another request", 0, from, "SCCRP", false},
		{"too late", repeatUntil, from, "SCCRQ", false},
		{"and again", time.Second, from, "SCCRQ", true},
	} {
		now = now.Add(step.after)
		if got := r.again(now, step.from, []byte(step.body)); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	// A flood of strangers pushes out some, not all.
	const flood, clients = 20_000, 100
	again := 0
	for i := range clients {
		r.again(now, netip.AddrPortFrom(addr(i+1), 500), request)
	}
	for i := range flood {
		r.again(now, netip.AddrPortFrom(addr(i+1000), 500), request)
	}
	now = now.Add(time.Second)
	for i := range clients {
		if r.again(now, netip.AddrPortFrom(addr(i+1), 500), request) {
			again++
		}
	}
	if again < clients*9/10 {
		t.Errorf("%d of %d clients are remembered", again, clients)
	}
	if n := testing.AllocsPerRun(100, func() { r.again(now, from, request) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
