package automaton

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/wire/ppp"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// layer is a protocol with one option, type 1, whose only good value is 7. It writes down what happens.
type layer struct {
	m    *Machine
	ask  []byte
	log  []string
	sent [][]byte
}

func newLayer(change func(*Config)) *layer {
	cfg := Config{
		Restart: 3 * time.Second, First: time.Second, Linger: time.Second, Parting: 200 * time.Millisecond, Limit: time.Minute,
		MaxConfigure: 4, MaxTerminate: 2, MaxFailure: 3,
	}
	if change != nil {
		change(&cfg)
	}
	l := &layer{ask: []byte{1, 3, 9}}
	l.m = NewMachine(cfg, l)
	return l
}

func (l *layer) note(format string, args ...any) { l.log = append(l.log, fmt.Sprintf(format, args...)) }

func (l *layer) AppendRequest(b []byte) []byte { return append(b, l.ask...) }
func (l *layer) Judge(a *Answer) {
	for o := range a.Options() {
		switch {
		case o.Type != 1:
			a.Reject(o)
		case !bytes.Equal(o.Value, []byte{7}):
			a.Nak(o, 7)
		}
	}
	if !a.Has(1) {
		a.Prompt(1, 7)
	}
}
func (l *layer) BeforeAck()                 { l.note("before ack") }
func (l *layer) Naked(o ppp.Options)        { l.note("naked"); l.ask = bytes.Clone(o.Bytes()) }
func (l *layer) Rejected(ppp.Options)       { l.note("rejected"); l.ask = nil }
func (l *layer) Knows(code byte) bool       { return code == 9 }
func (l *layer) Extra(ppp.Packet)           { l.note("extra") }
func (l *layer) Up()                        { l.note("up") }
func (l *layer) Down()                      { l.note("down") }
func (l *layer) PeerTerminates(text []byte) { l.note("peer terminates %s", text) }
func (l *layer) Finished(e Event)           { l.note("finished %s", e) }
func (l *layer) Send(packet []byte) {
	l.sent = append(l.sent, bytes.Clone(packet))
	l.note("send %x", packet)
}

// take returns what happened since the last call.
func (l *layer) take() []string {
	out := l.log
	l.log = nil
	return out
}

func (l *layer) receive(t *testing.T, now time.Time, packet string) {
	t.Helper()
	b, err := hex.DecodeString(packet)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ppp.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	l.m.Receive(now, p)
}

// opened returns a layer that is open: our request 1 and the peer's request 0x50 have been acknowledged.
func opened(t *testing.T, change func(*Config)) *layer {
	t.Helper()
	l := newLayer(change)
	l.m.Open(epoch)
	l.m.Up(epoch)
	l.receive(t, epoch, "01500007010307")
	l.receive(t, epoch, "02010007010309")
	want := []string{"send 01010007010309", "before ack", "send 02500007010307", "up"}
	if got := l.take(); !slices.Equal(got, want) || !l.m.Opened() {
		t.Fatalf("opening: %q, want %q", got, want)
	}
	return l
}

// TestMachine goes through short conversations. Each step is a packet, or a time to wait, and what must follow.
func TestMachine(t *testing.T) {
	type step struct {
		packet string // hexadecimal; empty: wait
		wait   time.Duration
		want   []string
	}
	for _, c := range []struct {
		name  string
		cfg   func(*Config)
		steps []step
		end   State
	}{
		{"a repeated Ack does no harm", nil, []step{{packet: "02010007010309"}}, Opened},
		{"a late Nak does no harm", nil, []step{{packet: "03010007010301"}}, Opened},
		{"an Ack with another identifier does no harm", nil, []step{{packet: "02090007010309"}}, Opened},
		{"a repeated request is acknowledged again", nil, []step{
			{packet: "01500007010307", want: []string{"send 02500007010307"}},
		}, Opened},
		{"the same request long after is a new beginning", nil, []step{
			{wait: time.Minute},
			{packet: "01500007010307", want: []string{"down", "send 01020007010309", "before ack", "send 02500007010307"}},
		}, AckSent},
		{"a new request brings the layer down", nil, []step{
			{packet: "01510007010307", want: []string{"down", "send 01020007010309", "before ack", "send 02510007010307"}},
			{packet: "02020007010309", want: []string{"up"}},
		}, Opened},
		{"the same options with a new identifier, where that is kept", func(c *Config) { c.KeepSame = 1 }, []step{
			{packet: "01510007010307", want: []string{"send 02510007010307"}},
			{packet: "01520007010307", want: []string{"down", "send 01020007010309", "before ack", "send 02520007010307"}},
		}, AckSent},
		{"a bad request brings the layer down", nil, []step{
			{packet: "01510007010308", want: []string{"down", "send 01020007010309", "send 03510007010307"}},
		}, ReqSent},
		{"Reject goes before Nak", nil, []step{
			{packet: "0151000a010308" + "020399", want: []string{"down", "send 01020007010309", "send 04510007020399"}},
		}, ReqSent},
		{"a second option of a type is rejected", nil, []step{
			{packet: "0151000a010307" + "010307", want: []string{"down", "send 01020007010309", "send 04510007010307"}},
		}, ReqSent},
		{"a missing option is asked for", nil, []step{
			{packet: "01510004", want: []string{"down", "send 01020007010309", "send 03510007010307"}},
		}, ReqSent},
		{"Max-Failure turns Nak into Reject", nil, []step{
			{packet: "01510007010301", want: []string{"down", "send 01020007010309", "send 03510007010307"}},
			{packet: "01510007010301", want: []string{"send 03510007010307"}}, // repeated: does not count
			{packet: "01510007010301", want: []string{"send 03510007010307"}},
			{packet: "01520007010302", want: []string{"send 03520007010307"}},
			{packet: "01530007010303", want: []string{"send 03530007010307"}},
			{packet: "01540007010304", want: []string{"send 04540007010304"}},
			{packet: "01550004", want: []string{"before ack", "send 02550004"}},
		}, AckSent},
		{"an overtaken request is dropped once", nil, []step{
			{packet: "01510007010301", want: []string{"down", "send 01020007010309", "send 03510007010307"}},
			{packet: "01520007010307", want: []string{"before ack", "send 02520007010307"}},
			{packet: "01510007010301"},
			{packet: "01510007010301", want: []string{"send 03510007010307"}},
		}, ReqSent},
		{"malformed options are dropped", nil, []step{{packet: "015100070104ff"}, {packet: "015100060100"}}, Opened},
		{"Terminate-Request", nil, []step{
			{packet: "055100066279", want: []string{"peer terminates by", "down", "send 06510004"}},
			{packet: "055200066279", want: []string{"peer terminates by", "send 06520004"}},
			{wait: time.Second, want: []string{"finished TO-"}},
			{packet: "05530004", want: []string{"peer terminates ", "send 06530004"}},
		}, Stopped},
		{"Terminate-Ack out of the blue", nil, []step{
			{packet: "06510004", want: []string{"down", "send 01020007010309"}},
		}, ReqSent},
		{"unknown code", nil, []step{{packet: "63510006aabb", want: []string{"send 0702000a63510006aabb"}}}, Opened},
		{"known code", nil, []step{{packet: "09510004", want: []string{"extra"}}}, Opened},
		{"Code-Reject of an extension", nil, []step{{packet: "0751000809010004"}}, Opened},
		{"Code-Reject of Configure-Request", nil, []step{
			{packet: "0751000801010004", want: []string{"down", "send 05020004"}},
			{packet: "06020004", want: []string{"finished RTA"}},
		}, Stopped},
		{"empty Code-Reject", nil, []step{{packet: "07510004"}}, Opened},
		{"the peer gives up negotiating", nil, []step{
			{packet: "01510007010301", want: []string{"down", "send 01020007010309", "send 03510007010307"}},
			{packet: "09510004"}, // known, but only for an open layer
			{wait: 3 * time.Second, want: []string{"send 01020007010309"}},
			{wait: 3 * time.Second, want: []string{"send 01020007010309"}},
			{wait: 3 * time.Second, want: []string{"send 01020007010309"}},
			{wait: 3 * time.Second, want: []string{"finished TO-"}},
		}, Stopped},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := opened(t, c.cfg)
			now := epoch
			for i, s := range c.steps {
				if s.packet != "" {
					l.receive(t, now, s.packet)
				} else {
					now = now.Add(s.wait)
					l.m.Tick(now)
				}
				if got := l.take(); !slices.Equal(got, s.want) {
					t.Fatalf("step %d: %q, want %q", i, got, s.want)
				}
			}
			if l.m.State() != c.end {
				t.Errorf("ends in %s, want %s", l.m.State(), c.end)
			}
		})
	}
}

// TestNobodyAnswers reads the schedule: the first repetition early, then by the restart timer, Max-Configure in all.
func TestNobodyAnswers(t *testing.T) {
	l := newLayer(nil)
	l.m.Open(epoch)
	l.m.Up(epoch)
	var at []time.Duration
	for {
		l.take()
		d, ok := l.m.Deadline()
		if !ok {
			break
		}
		l.m.Tick(d.Add(-1)) // too early
		if got := l.take(); len(got) != 0 {
			t.Fatalf("an early tick: %q", got)
		}
		l.m.Tick(d)
		at = append(at, d.Sub(epoch))
	}
	want := []time.Duration{1 * time.Second, 4 * time.Second, 7 * time.Second, 10 * time.Second}
	if !slices.Equal(at, want) || l.m.State() != Stopped || len(l.sent) != 4 {
		t.Errorf("timeouts at %v, want %v; state %s, %d packets", at, want, l.m.State(), len(l.sent))
	}
	for _, p := range l.sent[1:] {
		if !bytes.Equal(p, l.sent[0]) {
			t.Errorf("%x repeated as %x", l.sent[0], p)
		}
	}
}

// TestCloseSchedule: Max-Terminate requests with the text, then the end.
// A peer that starts slowly is asked again soon after it is there, once.
func TestPeerAppears(t *testing.T) {
	l := newLayer(nil)
	l.m.Up(epoch)
	l.m.Open(epoch)
	at := func(d time.Duration) { l.m.Tick(epoch.Add(d)) }
	next := func() time.Duration {
		d, _ := l.m.Deadline()
		return d.Sub(epoch)
	}
	at(time.Second)
	if next() != 4*time.Second {
		t.Fatalf("asks again after %v", next())
	}
	l.receive(t, epoch.Add(1500*time.Millisecond), "01500007010307")
	if next() != 2500*time.Millisecond {
		t.Errorf("the peer is there: asks again after %v", next())
	}
	l.receive(t, epoch.Add(2*time.Second), "01510007010307")
	if next() != 2500*time.Millisecond {
		t.Errorf("it has asked for more: asks again after %v", next())
	}
	at(2500 * time.Millisecond)
	if next() != 5500*time.Millisecond || len(l.sent) != 5 { // three requests and two answers
		t.Errorf("asks again after %v, %d packets sent", next(), len(l.sent))
	}
}

func TestCloseSchedule(t *testing.T) {
	l := opened(t, nil)
	l.m.Close(epoch, "bye")
	l.m.Tick(epoch.Add(3 * time.Second))
	l.m.Tick(epoch.Add(6 * time.Second))
	want := []string{"down", "send 05020007627965", "send 05030007627965", "finished TO-"}
	if got := l.take(); !slices.Equal(got, want) || l.m.State() != Closed {
		t.Errorf("%q, want %q, state %s", got, want, l.m.State())
	}
}

// TestBothClose: when both ask to terminate, the peer's Terminate-Ack does not end the layer before ours has had time to come.
func TestBothClose(t *testing.T) {
	for _, c := range []struct {
		name    string
		packets []string
		want    string // after how long the end comes
	}{
		{"the peer only acknowledges", []string{"06020004"}, "0s"},
		{"both ask, then it acknowledges", []string{"05510004", "06020004"}, "200ms"},
		{"it repeats itself", []string{"05510004", "06020004", "05510004", "06020004"}, "200ms"},
		{"it asks and never acknowledges", []string{"05510004"}, "6s"},
	} {
		l := opened(t, nil)
		l.m.Close(epoch, "bye")
		for _, p := range c.packets {
			l.receive(t, epoch, p)
		}
		took := time.Duration(0)
		for at, ok := l.m.Deadline(); ok && l.m.State() != Closed; at, ok = l.m.Deadline() {
			took = at.Sub(epoch)
			l.m.Tick(at)
		}
		if took.String() != c.want || l.m.State() != Closed {
			t.Errorf("%s: the end comes after %v, want %s, state %s: %q", c.name, took, c.want, l.m.State(), l.take())
		}
	}
}

// TestEveryAnswerCountsOnce: after a Nak the identifier is new, and the old one is dead.
func TestEveryAnswerCountsOnce(t *testing.T) {
	l := newLayer(nil)
	l.m.Open(epoch)
	l.m.Up(epoch)
	l.take()
	l.receive(t, epoch, "03010007010304")
	if got, want := l.take(), []string{"naked", "send 01020007010304"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	l.receive(t, epoch, "02010007010309")
	l.receive(t, epoch, "02020007010309") // right identifier, other options
	l.receive(t, epoch, "040200050f")     // malformed
	if got := l.take(); len(got) != 0 || l.m.State() != ReqSent {
		t.Errorf("%q, state %s", got, l.m.State())
	}
	l.receive(t, epoch, "04020007010304")
	if got, want := l.take(), []string{"rejected", "send 01030004"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNakLoop: a peer that naks for ever does not keep us busy for ever.
func TestNakLoop(t *testing.T) {
	l := newLayer(nil)
	l.m.Open(epoch)
	l.m.Up(epoch)
	for i := range 1000 {
		id := l.sent[len(l.sent)-1][1]
		l.receive(t, epoch, fmt.Sprintf("03%02x00070103%02x", id, i%200))
		if l.m.State() == Stopped {
			if i != maxLoops {
				t.Errorf("ended after %d", i)
			}
			return
		}
	}
	t.Error("no end")
}

// TestLimit: a peer that acknowledges but never asks refills the restart counter each time; the limit ends it.
func TestLimit(t *testing.T) {
	l := newLayer(nil)
	l.m.Open(epoch)
	l.m.Up(epoch)
	for now := epoch; ; {
		last := l.sent[len(l.sent)-1]
		l.receive(t, now, fmt.Sprintf("02%02x0007%x", last[1], last[4:]))
		d, ok := l.m.Deadline()
		if !ok {
			if got := now.Sub(epoch); got != time.Minute {
				t.Errorf("ended after %v", got)
			}
			return
		}
		if d.Sub(epoch) > time.Hour {
			t.Fatal("no end")
		}
		now = d
		l.m.Tick(now)
	}
}

func TestClosedAnswersWithTerminateAck(t *testing.T) {
	l := newLayer(nil)
	l.m.Up(epoch)
	l.receive(t, epoch, "01500007010307")
	if got, want := l.take(), []string{"send 06010004"}; !slices.Equal(got, want) || l.m.State() != Closed {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStoppedStartsAnew(t *testing.T) {
	l := opened(t, nil)
	l.m.Fail(epoch)
	l.receive(t, epoch, "06020004")
	l.take()
	l.receive(t, epoch, "01500007010307")
	want := []string{"send 01030007010309", "before ack", "send 02500007010307"}
	if got := l.take(); !slices.Equal(got, want) || l.m.State() != AckSent {
		t.Errorf("%q, want %q, state %s", got, want, l.m.State())
	}
}

func TestCodeRejectIsCut(t *testing.T) {
	l := opened(t, nil)
	l.m.Receive(epoch, ppp.Packet{Code: 99, ID: 1, Data: make([]byte, 1400)})
	if n := len(l.sent[len(l.sent)-1]); n != ppp.PacketHeaderLen+maxRejected {
		t.Errorf("%d octets", n)
	}
}

// FuzzMachineEvents: whatever comes, a layer goes up and down in turn, never both ways at once, and the timer runs in the
// states that RFC 1661 says.
func FuzzMachineEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 1, 0x50, 3, 1, 3, 7, 1, 2, 1, 3, 1, 3, 9})
	f.Add([]byte{2, 30, 2, 30, 3, 4, 5})
	f.Fuzz(func(t *testing.T, events []byte) {
		l := newLayer(func(c *Config) { c.KeepSame = 1 })
		now := epoch
		l.m.Open(now)
		l.m.Up(now)
		up := false
		for len(events) > 0 {
			kind := events[0] % 6
			events = events[1:]
			switch {
			case kind == 0 && len(events) >= 3:
				n := min(int(events[2]), len(events)-3)
				l.m.Receive(now, ppp.Packet{Code: events[0], ID: events[1], Data: events[3 : 3+n]})
				events = events[3+n:]
			case kind == 1 && len(l.sent) > 0:
				last := l.sent[len(l.sent)-1]
				l.m.Receive(now, ppp.Packet{Code: 2, ID: last[1], Data: last[4:]})
			case kind == 2 && len(events) > 0:
				now = now.Add(time.Duration(events[0]) * 100 * time.Millisecond)
				events = events[1:]
				l.m.Tick(now)
			case kind == 3:
				l.m.Close(now, "bye")
			case kind == 4:
				l.m.Down(now)
			case kind == 5:
				l.m.Open(now)
				l.m.Up(now)
			}
			for _, line := range l.take() {
				if line == "up" && up || line == "down" && !up {
					t.Fatalf("%q while up is %v", line, up)
				}
				up = up && line != "down" || line == "up"
			}
			if up != l.m.Opened() {
				t.Fatalf("up is %v in %s", up, l.m.State())
			}
			if _, ok := l.m.Deadline(); ok != TimerRuns(l.m.State()) {
				t.Fatalf("deadline %v in %s", ok, l.m.State())
			}
			if len(l.sent) > 16 {
				l.sent = l.sent[8:]
			}
		}
	})
}
