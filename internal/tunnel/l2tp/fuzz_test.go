package l2tp

import (
	"fmt"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// bench is a machine with an upper that checks what it is told against what may be.
type bench struct {
	t        testing.TB
	m        *machine
	now      time.Time
	answer   TunnelAnswer
	accepted bool // by the Handler
	over     bool // and it was told of the end
	alone    bool // the peer is gone
	calls    map[uint16]*call
	all      []*call
	next     uint16
	commands []command
	refusals int
}

func newBench(t testing.TB, plain bool) *bench {
	b := &bench{t: t, now: epoch, calls: map[uint16]*call{}}
	cfg := Config{}.withDefaults()
	b.m = newMachine(&cfg, b, 1701, plain)
	return b
}

func (b *bench) newID() uint16 { return 16 }

func (b *bench) tunnel(TunnelRequest) TunnelAnswer {
	if b.accepted {
		b.t.Fatal("asked twice")
	}
	b.accepted = b.answer.Result == 0
	return b.answer
}

func (b *bench) incomingCall(c *call, r CallRequest) Answer {
	if !b.accepted || b.over || b.m.state != established {
		b.t.Fatal("a call on no tunnel")
	}
	b.next++
	if r.PeerSession%5 == 4 {
		return Answer{Result: wire.CallResultTemporary}
	}
	b.calls[b.next] = c
	b.all = append(b.all, c)
	return Answer{SessionID: b.next}
}

func (b *bench) connected(id uint16, _ Connect) {
	if b.calls[id] == nil {
		b.t.Fatalf("call %d is connected and does not exist", id)
	}
}

func (b *bench) callClosed(id uint16, _ tenant.Reason, detail string) {
	if b.calls[id] == nil || detail == "" {
		b.t.Fatalf("call %d is closed, detail %q", id, detail)
	}
	delete(b.calls, id)
}

func (b *bench) refused(_ tenant.Stage, reason tenant.Reason, detail string) {
	if reason == "" || detail == "" {
		b.t.Fatalf("refused for %q: %q", reason, detail)
	}
	b.refusals++
}

func (b *bench) moved(port uint16) {
	if port != b.m.port {
		b.t.Fatal("moved elsewhere")
	}
}

func (b *bench) entered(s tunnelState) {
	if s != b.m.state {
		b.t.Fatal("entered another state")
	}
}

func (b *bench) tunnelClosed() {
	if !b.accepted || b.over || len(b.calls) > 0 {
		b.t.Fatalf("the tunnel is closed: accepted %v, told before %v, %d calls", b.accepted, b.over, len(b.calls))
	}
	b.over = true
}

func (b *bench) authenticated() {}

// peerIdle is any time; of a tunnel that is left alone it is long.
func (b *bench) peerIdle() time.Duration {
	if b.alone {
		return time.Hour
	}
	return time.Duration(b.now.Second()) * 4 * time.Second
}

func (b *bench) post(c command)                  { b.commands = append(b.commands, c) }
func (b *bench) received(wire.Type, tunnelState) {}
func (b *bench) say(ns, nr, session uint16, m []byte) {
	b.m.Receive(b.now, 1701+ns%2, wire.Header{TunnelID: 16, SessionID: session, Ns: ns, Nr: nr}, m)
}

// TestDisconnectOvertaken: the ICCN comes after Disconnect was called and before it is carried out.
func TestDisconnectOvertaken(t *testing.T) {
	b := newBench(t, false)
	b.m.Start(b.now, request(1))
	b.say(1, 1, 0, body(&wire.SCCCN{}))
	b.say(2, 1, 0, body(&wire.ICRQ{AssignedSessionID: 1}))
	b.all[0].Disconnect(tenant.ReasonAdminDisconnect)
	delete(b.calls, 1) // connected and callClosed would notice
	b.say(3, 2, 1, body(&wire.ICCN{}))
	for _, c := range b.commands {
		b.m.Run(b.now, c)
	}
	b.check()
	if len(b.m.calls) != 0 {
		t.Error("the call is still there")
	}
}

// body is the body of a message.
func body(m wire.Message) []byte {
	return wire.Append(nil, wire.Header{}, m, nil)[wire.ControlHeaderLen:]
}

// script are the messages that the fuzzer picks from.
var script = [][]byte{
	nil,
	body(&wire.SCCCN{}),
	body(&wire.SCCCN{ChallengeResponse: make([]byte, 16)}),
	body(&wire.HELLO{}),
	body(&wire.ICRQ{AssignedSessionID: 1}),
	body(&wire.ICRQ{AssignedSessionID: 2}),
	body(&wire.ICRQ{AssignedSessionID: 4}),
	body(&wire.ICCN{TxConnectSpeed: 1}),
	body(&wire.CDN{AssignedSessionID: 1}),
	body(&wire.CDN{AssignedSessionID: 2}),
	body(&wire.StopCCN{AssignedTunnelID: 1}),
	body(&wire.WEN{}),
	body(&wire.SLI{}),
	body(&wire.OCRQ{AssignedSessionID: 3}),
	body(&wire.ICRP{AssignedSessionID: 3}),
	body(&wire.OCCN{}),
	body(&wire.SCCRP{AssignedTunnelID: 3}),
	body(request(1)),
	{0x80, 8, 0, 0, 0, 0, 0, 99},
	{0, 8, 0, 0, 0, 0, 0, 99},
	{0x80, 8, 0, 0, 0, 0, 0, 12, 0x80, 6, 0, 0, 0, 99},
	[]byte("garbage"),
}

// FuzzMachineEvents plays any sequence of messages, commands and waits. Each octet pair is one step.
func FuzzMachineEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0}, byte(0))
	f.Add([]byte{0, 1, 0, 4, 0, 7, 0, 3, 0, 10, 200, 255}, byte(0))                          // a login and its end
	f.Add([]byte{0, 1, 0, 4, 0, 7, 128, 0, 129, 0, 200, 255, 130, 0}, byte(0))               // commands
	f.Add([]byte{1, 4, 0, 1, 3, 7, 2, 3, 200, 255, 200, 255, 200, 255}, byte(1))             // order and patience
	f.Add([]byte{0, 2, 0, 0}, byte(2))                                                       // a wrong secret
	f.Add([]byte{0, 1, 132, 0, 200, 250, 200, 250, 0, 3, 133, 0, 200, 250, 131, 0}, byte(3)) // suspended
	f.Fuzz(func(t *testing.T, steps []byte, how byte) {
		b := newBench(t, how&1 != 0)
		if how&2 != 0 {
			b.answer.Secret = tenant.Secret("s")
		}
		if how&4 != 0 {
			b.answer.Result = wire.StopResultNotAuthorized
		}
		r := request(1)
		if how&8 != 0 {
			r.Challenge = []byte("c")
		}
		b.m.Start(b.now, r)
		b.check()
		var ns uint16 = 1
		for ; len(steps) >= 2; steps = steps[2:] {
			op, arg := steps[0], steps[1]
			switch {
			case op >= 200:
				b.now = b.now.Add(time.Duration(op-199) * time.Duration(arg) * 10 * time.Millisecond)
				b.m.Tick(b.now)
			case op >= 134:
				b.m.Repeat(b.now)
			case op >= 128:
				cmd := command{do: order(op - 128), cause: tenant.ReasonAdminDisconnect, detail: "command"}
				if cmd.do <= noteLogin {
					if len(b.all) == 0 {
						continue
					}
					c := b.all[int(arg)%len(b.all)]
					if cmd.do == hangUp {
						c.Disconnect(cmd.cause)
						delete(b.calls, c.id)
						continue
					}
					cmd.call = c
				}
				b.m.Run(b.now, cmd)
			default:
				// The number is the next one, or up to two off it; the acknowledgement is right, or one short.
				m := script[int(arg)%len(script)]
				at := ns + uint16(op%4) - uint16(op/4%2)
				b.say(at, b.m.ch.una+uint16(max(b.m.ch.known-int(op/8%2), 0)), uint16(op/16), m)
				if len(m) > 0 && at == ns {
					ns++
				}
			}
			commands := b.commands
			b.commands = nil
			for _, c := range commands {
				b.m.Run(b.now, c)
			}
			b.check()
		}
		// Left alone, the tunnel ends, and everybody is told.
		b.alone = true
		for range 1000 {
			d, open := b.m.Deadline()
			if !open {
				break
			}
			if d.IsZero() {
				b.m.Run(b.now, command{do: resume})
				continue
			}
			b.now = b.now.Add(max(d.Sub(b.now), 0))
			b.m.Tick(b.now)
			b.check()
		}
		if b.m.state != closed || b.accepted != b.over || len(b.calls) > 0 {
			t.Fatalf("left alone in %s, told %v of %v, %d calls", b.m.state, b.over, b.accepted, len(b.calls))
		}
	})
}

// check looks at what must always hold.
func (b *bench) check() {
	b.t.Helper()
	m := b.m
	for _, msg := range m.ch.out {
		h, _, err := wire.ParseHeader(msg)
		if err != nil || !h.Control || h.TunnelID != 1 || int(h.Length) != len(msg) || h.Nr != m.ch.nr && m.state != closed {
			// A message that went out before another came in the same step has an older Nr.
			if err != nil || h.TunnelID != 1 || int16(m.ch.nr-h.Nr) < 0 {
				b.t.Fatalf("sent %x: %+v, %v", msg, h, err)
			}
		}
	}
	m.ch.out = nil
	switch {
	case len(m.ch.queue) > maxQueue+len(b.all)+maxRefusals:
		b.t.Fatalf("%d messages queued", len(m.ch.queue))
	case m.ch.sent > m.ch.known, m.ch.known > len(m.ch.queue), m.ch.cwnd < 1, m.ch.cwnd > m.ch.window:
		b.t.Fatalf("channel %d of %d of %d, window %d of %d", m.ch.sent, m.ch.known, len(m.ch.queue), m.ch.cwnd, m.ch.window)
	case m.ch.sent > 0 && m.ch.deadline.IsZero():
		b.t.Fatal("something is on its way and no timer runs")
	case len(m.calls) != len(m.byPeer):
		b.t.Fatalf("%d calls by our ID, %d by the peer's", len(m.calls), len(m.byPeer))
	case m.state != established && len(m.calls) > 0:
		b.t.Fatalf("%d calls in %s", len(m.calls), m.state)
	}
	if b.accepted && !b.over && m.state >= stopped {
		b.t.Fatal("the Handler does not know of the end")
	}
}

// TestBodyIsScript keeps the fuzzer's messages readable where they should be.
func TestBodyIsScript(t *testing.T) {
	for i, m := range script[1:18] {
		if _, err := wire.Parse(m, nil); err != nil {
			t.Errorf("%s", fmt.Sprint(i+1, err))
		}
	}
}
