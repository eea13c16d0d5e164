package ikev1

import (
	"net/netip"
	"testing"
	"time"
)

// TestSourceRates: a source has its burst and its rate, ten times as much once it is known, and at once.
func TestSourceRates(t *testing.T) {
	var table sourceTable
	table.init(Config{}.withDefaults())
	a, b := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	now := time.Unix(1000, 0)
	draw := func(a netip.Addr, known bool) (n int) {
		for table.allow(now, a, known) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		name  string
		after time.Duration
		from  netip.Addr
		known bool
		want  int
	}{
		{"a stranger's burst", 0, a, false, 40},
		{"and his rate", time.Second, a, false, 20},
		{"another stranger", 0, b, false, 40},
		{"who becomes known", 0, b, true, 360},
		{"and is known", time.Second, b, true, 200},
		{"for long", time.Hour, b, true, 400},
	} {
		now = now.Add(c.after)
		if got := draw(c.from, c.known); got != c.want {
			t.Errorf("%s: %d first messages, want %d", c.name, got, c.want)
		}
	}
}
