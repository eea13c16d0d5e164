package l2tp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// line is what the channel has sent, as "ns/nr", with "z" before a Zero-Length Body.
func line(t testing.TB, c *channel) []string {
	t.Helper()
	var out []string
	for _, b := range c.out {
		h, body, err := wire.ParseHeader(b)
		if err != nil || h.TunnelID != c.peerTunnel {
			t.Fatalf("sent %x: %v", b, err)
		}
		s := fmt.Sprintf("%d/%d", h.Ns, h.Nr)
		if len(body) == 0 {
			s = "z" + s
		}
		out = append(out, s)
	}
	c.out = nil
	return out
}

func (c *channel) hello(now time.Time) { c.send(now, 0, &wire.HELLO{}) }

func sends(t testing.TB, c *channel, want ...string) {
	t.Helper()
	if got := line(t, c); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func zlb(nr uint16) wire.Header { return wire.Header{Nr: nr} }

func nobody(delivered) {}

// TestRetransmission is the timetable: repetitions at 1, 3, 7, 15 and 23 seconds, the end at 31.
func TestRetransmission(t *testing.T) {
	c := newChannel()
	c.hello(epoch)
	sends(t, &c, "0/0")
	c.nr = 5 // a repetition acknowledges what has come since
	var at []int
	for s := 1; s <= 40; s++ {
		c.tick(epoch.Add(time.Duration(s) * time.Second))
		for _, m := range line(t, &c) {
			if m != "0/5" {
				t.Errorf("sent %s", m)
			}
			at = append(at, s)
		}
		if c.dead {
			at = append(at, -s)
			break
		}
	}
	if !slices.Equal(at, []int{1, 3, 7, 15, 23, -31}) {
		t.Errorf("sent at %v", at)
	}
	if !c.deadline.IsZero() || !c.idle() {
		t.Error("a dead channel has something to do")
	}
}

// TestQuietChannel repeats nothing by itself, but on demand.
func TestQuietChannel(t *testing.T) {
	c := newChannel()
	c.quiet = true
	c.hello(epoch)
	sends(t, &c, "0/0")
	for s := 1; s <= 31; s++ {
		c.tick(epoch.Add(time.Duration(s) * time.Second))
		sends(t, &c)
		if s == 10 {
			c.repeat()
			sends(t, &c, "0/0", "0/0")
		}
	}
	if !c.dead {
		t.Error("a quiet channel must give up too")
	}
}

// TestWindows: slow start from one message to the peer's window, and back to one after a loss.
func TestWindows(t *testing.T) {
	c := newChannel()
	c.setWindow(4)
	for range 12 {
		c.hello(epoch)
	}
	sends(t, &c, "0/0")
	c.receive(epoch, zlb(1), nil, nobody)
	sends(t, &c, "1/0", "2/0")
	c.receive(epoch, zlb(3), nil, nobody)
	sends(t, &c, "3/0", "4/0", "5/0", "6/0")
	c.receive(epoch, zlb(4), nil, nobody)
	sends(t, &c, "7/0")
	// Nothing more is acknowledged: the oldest goes out alone.
	now := epoch.Add(time.Second)
	c.tick(now)
	sends(t, &c, "4/0")
	// The peer had it all: it acknowledges what was sent before the repetition.
	c.receive(now, zlb(8), nil, nobody)
	// Four acknowledgements: slow start ends at 2, half the window that was; then each step takes a window of them.
	sends(t, &c, "8/0", "9/0", "10/0")
	c.receive(now, zlb(9), nil, nobody)
	sends(t, &c, "11/0")
	if c.cwnd != 3 {
		t.Errorf("window %d", c.cwnd)
	}
	c.receive(now, zlb(10), nil, nobody)
	if c.cwnd != 4 {
		t.Errorf("window %d", c.cwnd)
	}
	c.receive(now, zlb(12), nil, nobody)
	if !c.idle() || !c.deadline.IsZero() {
		t.Error("all is acknowledged, and a timer runs")
	}
}

func TestPeerWindowIsClamped(t *testing.T) {
	for said, want := range map[uint16]int{0: 1, 1: 1, 32: 32, 33: 32, 65535: 32} {
		c := newChannel()
		c.setWindow(said)
		for range 100 {
			c.hello(epoch)
		}
		for range 200 {
			c.receive(epoch, zlb(c.una+uint16(c.known)), nil, nobody)
		}
		if c.window != want || c.cwnd > want {
			t.Errorf("%d: window %d, congestion window %d", said, c.window, c.cwnd)
		}
		if !c.idle() {
			t.Errorf("%d: %d messages are left", said, len(c.queue))
		}
	}
}

func TestAcknowledgementsOfNothing(t *testing.T) {
	c := newChannel()
	c.hello(epoch)
	line(t, &c)
	for _, nr := range []uint16{0, 2, 3, 0x7fff, 0x8000, 0xffff} {
		if got := c.receive(epoch, zlb(nr), nil, nobody); got != stale {
			t.Errorf("Nr %d: %d", nr, got)
		}
		if c.idle() {
			t.Fatalf("Nr %d acknowledged a message", nr)
		}
	}
	if got := c.receive(epoch, zlb(1), nil, nobody); got != acked || !c.idle() {
		t.Errorf("Nr 1: %d", got)
	}
}

// TestUnsentIsNotAcknowledged: a peer can't acknowledge what has not left yet.
func TestUnsentIsNotAcknowledged(t *testing.T) {
	c := newChannel()
	for range 3 {
		c.hello(epoch)
	}
	sends(t, &c, "0/0")
	c.receive(epoch, zlb(2), nil, nobody)
	if len(c.queue) != 3 {
		t.Errorf("%d messages are left", len(c.queue))
	}
}

// TestAfterALoss: what was sent behind a lost message is sent again as soon as that has arrived.
func TestAfterALoss(t *testing.T) {
	c := newChannel()
	c.setWindow(8)
	for range 8 {
		c.hello(epoch)
	}
	c.receive(epoch, zlb(1), nil, nobody)
	c.receive(epoch, zlb(3), nil, nobody)
	sends(t, &c, "0/0", "1/0", "2/0", "3/0", "4/0", "5/0", "6/0")
	c.tick(epoch.Add(time.Second))
	sends(t, &c, "3/0")
	c.receive(epoch.Add(time.Second), zlb(4), nil, nobody)
	sends(t, &c, "4/0", "5/0")
}

// TestOrder: what comes early is kept within the window, what comes again is acknowledged, each is delivered once.
func TestOrder(t *testing.T) {
	c := newChannel()
	c.nr = 0xfffe // across the end of the numbers
	var got []uint16
	take := func(ns uint16) arrival {
		return c.receive(epoch, wire.Header{Ns: ns, SessionID: ns}, []byte{1}, func(d delivered) { got = append(got, d.session) })
	}
	for _, s := range []struct {
		ns   uint16
		want arrival
		ack  string
	}{
		{0, early, "z0/65534"},
		{0xffff, early, "z0/65534"},
		{0xffff, early, "z0/65534"},
		{0xfffd, stale, "z0/65534"},
		{receiveWindow - 2, stale, ""},
		{receiveWindow - 3, early, "z0/65534"},
		{0xfffe, inTurn, "z0/1"},
		{0xfffe, stale, "z0/1"},
		{1, inTurn, "z0/2"},
	} {
		if a := take(s.ns); a != s.want {
			t.Errorf("Ns %d: %d, want %d", s.ns, a, s.want)
		}
		c.flush()
		var want []string
		if s.ack != "" {
			want = []string{s.ack, s.ack}
		}
		sends(t, &c, want...)
	}
	if !slices.Equal(got, []uint16{0xfffe, 0xffff, 0, 1}) {
		t.Errorf("delivered %v", got)
	}
}

// TestAnswersCarryAcknowledgements: no Zero-Length Body where a message goes anyway, but one, twice, where a second message came.
func TestAnswersCarryAcknowledgements(t *testing.T) {
	c := newChannel()
	c.receive(epoch, wire.Header{Ns: 0}, []byte{1}, func(delivered) { c.hello(epoch) })
	c.flush()
	sends(t, &c, "0/1")
	// The congestion window is full: the next answer waits, and the acknowledgement does not.
	c.receive(epoch, wire.Header{Ns: 1}, []byte{1}, func(delivered) { c.hello(epoch) })
	c.flush()
	sends(t, &c, "z1/2", "z1/2")
	// Two in one go, of which the first is answered.
	c.receive(epoch, zlb(1), nil, nobody)
	sends(t, &c, "1/2")
	c.receive(epoch, wire.Header{Ns: 3, Nr: 2}, []byte{1}, nobody)
	c.flush()
	sends(t, &c, "z2/2", "z2/2")
	n := 0
	c.receive(epoch, wire.Header{Ns: 2, Nr: 2}, []byte{1}, func(delivered) {
		if n++; n == 1 {
			c.hello(epoch)
		}
	})
	c.flush()
	sends(t, &c, "2/3", "z3/4", "z3/4")
}

// TestQueueIsBounded: a peer that acknowledges nothing is not listened to for ever.
func TestQueueIsBounded(t *testing.T) {
	c := newChannel()
	taken := 0
	for ns := range uint16(1000) {
		c.receive(epoch, wire.Header{Ns: ns}, []byte{1}, func(delivered) {
			taken++
			c.hello(epoch)
		})
	}
	if taken != maxQueue || len(c.queue) != maxQueue {
		t.Errorf("%d messages taken, %d queued", taken, len(c.queue))
	}
}

// TestTwoChannels lets two channels talk over a bad line: everything arrives, once and in order.
func TestTwoChannels(t *testing.T) {
	for _, loss := range []int{0, 10, 20, 30} {
		r := rand.New(rand.NewPCG(uint64(loss), 7))
		var ends [2]channel
		var got [2][]uint16
		for i := range ends {
			ends[i] = newChannel()
			ends[i].setWindow(uint16(1 + r.IntN(12)))
		}
		type flying struct {
			at time.Time
			to int
			b  []byte
		}
		var air []flying
		now := epoch
		const count = 200
		next := [2]uint16{}
		for step := 0; step < 200_000 && (len(got[0]) < count || len(got[1]) < count); step++ {
			now = now.Add(10 * time.Millisecond)
			for i := range ends {
				if c := &ends[i]; next[i] < count && len(c.queue) < 8 {
					c.send(now, next[i], &wire.HELLO{})
					next[i]++
				}
				ends[i].tick(now)
				if ends[i].dead {
					t.Fatalf("%d %%: gave up after %d", loss, len(got[1-i]))
				}
			}
			var rest []flying
			for _, f := range air {
				if f.at.After(now) {
					rest = append(rest, f)
					continue
				}
				h, body, err := wire.ParseHeader(f.b)
				if err != nil {
					t.Fatal(err)
				}
				ends[f.to].receive(now, h, body, func(d delivered) { got[f.to] = append(got[f.to], d.session) })
			}
			air = rest
			for i := range ends {
				ends[i].flush()
				for _, b := range ends[i].out {
					for range 1 + r.IntN(2) {
						if r.IntN(100) >= loss {
							air = append(air, flying{now.Add(time.Duration(r.IntN(80)) * time.Millisecond), 1 - i, b})
						}
					}
				}
				ends[i].out = nil
			}
		}
		for i := range got {
			if len(got[i]) != count || !slices.IsSorted(got[i]) {
				t.Errorf("%d %%: end %d got %d messages", loss, i, len(got[i]))
			}
		}
	}
}
