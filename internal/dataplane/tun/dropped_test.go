package tun

import (
	"net"
	"testing"
)

func TestFindDropped(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0       0          0
xvpn0: 1 2 3 4 5 6 7 8 9 10 11 99 13 14 15 16
  vpn0:   21612     213    1    2    3     4          5         6 184467440   11111   22  4711   33    44      55         66
  short: 1 2 3
 odd: 1 2 3 4 5 6 7 8 9 10 11 x 13 14 15 16
`
	for name, want := range map[string]uint64{"lo": 0, "vpn0": 4711, "xvpn0": 99} {
		if got, err := findDropped([]byte(text), name); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"vpn", "short", "odd", " face |bytes    packets errs drop fifo frame compressed multicast|bytes", ""} {
		if got, err := findDropped([]byte(text), name); err == nil {
			t.Errorf("%q has %d", name, got)
		}
	}
}

// TestDropped fills a queue that nobody reads.
func TestDropped(t *testing.T) {
	h := newHost(t, "drops", "10.50.0.1", "10.50.0.0/24", true)
	if n, err := h.dev.Dropped(); n != 0 || err != nil {
		t.Fatalf("%d packets are dropped before any was sent, %v", n, err)
	}
	var c net.Conn
	if err := h.ns.Do(func() (err error) {
		c, err = net.Dial("udp4", "10.50.0.7:9")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const more = 300
	for range queueLength + more {
		if _, err := c.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := h.dev.Dropped(); n != more || err != nil {
		t.Errorf("%d packets are dropped, want %d; %v", n, more, err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if n, err := h.dev.Dropped(); n != more || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
