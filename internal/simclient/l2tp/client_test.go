package l2tp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
	wire "concentrator/internal/wire/l2tp"
)

// lns is the other end of a client, which a test plays by hand.
type lns struct {
	t      *testing.T
	c      *Client
	id     uint16 // the client's tunnel ID
	ns, nr uint16

	mu     sync.Mutex // guards what follows
	got    []string   // "tunnel/session ns/nr type"
	bodies [][]byte
	at     []time.Duration // since the beginning
	begin  time.Time
}

func newLNS(t *testing.T, cfg Config) *lns {
	l := &lns{t: t, id: cfg.Start.AssignedTunnelID, begin: time.Now()}
	l.c = New(cfg, func(b []byte) {
		h, body, err := wire.ParseHeader(b)
		if err != nil || binary.BigEndian.Uint16(b) != 0xc802 {
			t.Errorf("the client sent %x: %v", b, err)
			return
		}
		kind := "ZLB"
		if len(body) > 0 {
			m, _, err := wire.TypeOf(body)
			if err != nil {
				t.Errorf("the client sent %x: %v", b, err)
			}
			kind = m.String()
			l.nr = max(l.nr, h.Ns+1)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, fmt.Sprintf("%d/%d %d/%d %s", h.TunnelID, h.SessionID, h.Ns, h.Nr, kind))
		l.bodies = append(l.bodies, body)
		l.at = append(l.at, time.Since(l.begin))
	})
	return l
}

// start runs Start and returns its error when asked for.
func (l *lns) start() func() error {
	done := make(chan error, 1)
	go func() { done <- l.c.Start(l.t.Context()) }()
	synctest.Wait()
	return func() error { return <-done }
}

func (l *lns) say(session uint16, m wire.Message) {
	l.c.Receive(wire.Append(nil, wire.Header{TunnelID: l.id, SessionID: session, Ns: l.ns, Nr: l.nr}, m, nil))
	l.ns++
	synctest.Wait()
}

// sends compares what the client has sent since the last time.
func (l *lns) sends(want ...string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.got, want) {
		l.t.Errorf("sent\n%q, want\n%q", l.got, want)
	}
	l.got, l.bodies, l.at = nil, nil, nil
}

var reply = &wire.SCCRP{
	ProtocolVersion: wire.Version, FramingCapabilities: 3, HostName: "lns", AssignedTunnelID: 99,
	ReceiveWindowSize: wire.Some[uint16](4),
}

// opened is a client with an open tunnel.
func opened(t *testing.T, cfg Config) *lns {
	t.Helper()
	l := newLNS(t, cfg)
	result := l.start()
	l.say(0, reply)
	if err := result(); err != nil {
		t.Fatal(err)
	}
	l.sends("0/0 0/0 SCCRQ", "99/0 1/1 SCCCN")
	return l
}

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, Windows("pc", 1))
		done := make(chan *Call, 1)
		go func() {
			call, err := l.c.Call(t.Context(), 7)
			if err != nil {
				t.Error(err)
			}
			done <- call
		}()
		l.sends("99/0 2/1 ICRQ")
		l.say(7, &wire.ICRP{AssignedSessionID: 55})
		call := <-done
		l.sends("99/55 3/2 ICCN")
		if call.ID() != 7 || call.PeerID() != 55 || l.c.PeerTunnel() != 99 || l.c.Server().HostName != "lns" {
			t.Errorf("%+v", call)
		}
		l.say(0, &wire.HELLO{})
		l.sends("99/0 4/3 ZLB")
		if _, err := l.c.Call(t.Context(), 7); !errors.Is(err, ErrSession) {
			t.Errorf("%v", err)
		}
		call.Hangup(wire.Result{Code: wire.CallResultAdministrative})
		l.sends("99/55 4/3 CDN")
		stopped := make(chan error, 1)
		go func() { stopped <- l.c.Stop(t.Context()) }()
		l.sends("99/0 5/3 StopCCN")
		l.c.Receive(wire.AppendZLB(nil, wire.Header{TunnelID: 1, Ns: l.ns, Nr: 6}))
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		var r *ResultError
		if !errors.As(call.Err(), &r) || r.Result.Code != wire.CallResultAdministrative || !errors.Is(l.c.Err(), ErrClosed) {
			t.Errorf("%v, %v", call.Err(), l.c.Err())
		}
		if _, err := l.c.Call(t.Context(), 8); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// TestServerEnds: CDN and StopCCN of the server, and their acknowledgements, also when they come again.
func TestServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, MacOS("mac", 1))
		refused := make(chan error, 1)
		go func() {
			_, err := l.c.Call(t.Context(), 7)
			refused <- err
		}()
		synctest.Wait()
		l.got = nil
		l.say(7, &wire.CDN{Result: wire.Result{Code: wire.CallResultTemporary}})
		var r *ResultError
		if err := <-refused; !errors.As(err, &r) || r.Type != wire.TypeCDN || r.Result.Code != wire.CallResultTemporary {
			t.Errorf("%v", err)
		}
		l.sends("99/0 3/2 ZLB")
		l.say(0, &wire.StopCCN{AssignedTunnelID: 99, Result: wire.Result{Code: wire.StopResultShutdown}})
		l.ns--
		l.say(0, &wire.StopCCN{AssignedTunnelID: 99, Result: wire.Result{Code: wire.StopResultShutdown}})
		l.sends("99/0 3/3 ZLB", "99/0 3/3 ZLB")
		if <-l.c.Done(); !errors.As(l.c.Err(), &r) || r.Type != wire.TypeStopCCN {
			t.Errorf("%v", l.c.Err())
		}
	})
}

// TestPatience is how often each client asks a server that does not answer.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want []int // seconds
	}{
		{"Windows", Windows("pc", 1), []int{0, 1, 3, 7, 15, 23}},
		{"macOS", MacOS("mac", 1), []int{0, 1, 3, 7, 11, 15, 19, 23, 27, 31}},
		{"Android", Android(1, nil, nil), []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38}},
		{"xl2tpd", Xl2tpd("pc", 1), []int{0, 1, 3, 7, 15}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLNS(t, c.cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 39*time.Second)
			defer cancel()
			err := l.c.Start(ctx)
			if want := len(c.want) < 20; want != errors.Is(err, ErrTimeout) {
				t.Errorf("%s: %v", c.name, err)
			}
			var got []int
			for _, d := range l.at {
				got = append(got, int(d/time.Second))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s asks at %v", c.name, got)
			}
		})
	}
}

// TestOrder: only those clients that keep early messages do, and Android wants the form as well.
func TestOrder(t *testing.T) {
	for _, cfg := range map[string]Config{"Windows": Windows("pc", 1), "Android": Android(1, nil, nil)} {
		synctest.Test(t, func(t *testing.T) {
			l := opened(t, cfg)
			l.ns = 2
			l.say(0, &wire.HELLO{})
			l.sends()
			l.ns = 1
			l.say(0, &wire.HELLO{})
			if cfg.Reorder > 0 {
				l.sends("99/0 2/3 ZLB", "99/0 2/3 ZLB")
			} else {
				l.sends("99/0 2/2 ZLB")
			}
			odd := wire.Append(nil, wire.Header{TunnelID: 1, Ns: l.ns + 1, Nr: 2}, &wire.HELLO{}, nil)
			if cfg.Picky {
				odd[wire.ControlHeaderLen] = 0 // no M bit
				odd[9] = 2
				l.c.Receive(odd)
				l.sends()
			}
			l.c.Abort()
		})
	}
}

func TestHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, Windows("pc", 1))
		l.c.Receive(wire.AppendZLB(nil, wire.Header{TunnelID: 1, Ns: 1, Nr: 2}))
		time.Sleep(41 * time.Second)
		l.sends("99/0 2/1 HELLO", "99/0 2/1 HELLO")
		time.Sleep(time.Minute)
		if !errors.Is(l.c.Err(), ErrTimeout) {
			t.Errorf("%v", l.c.Err())
		}
	})
}

func TestSecrets(t *testing.T) {
	challenge := bytes.Repeat([]byte{1}, 32)
	proof := wire.ChallengeResponse(wire.TypeSCCRP, []byte("s"), challenge)
	for _, c := range []struct {
		name     string
		secret   string
		ask      []byte
		response []byte
		theirs   []byte
		want     error
	}{
		{"the right proof", "s", challenge, proof[:], nil, nil},
		{"no proof", "s", challenge, nil, nil, ErrSecret},
		{"a wrong proof", "t", challenge, proof[:], nil, ErrSecret},
		{"asked in vain", "", nil, nil, []byte("c"), ErrSecret},
		{"asked", "s", nil, nil, []byte("c"), nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Android(1, nil, c.ask)
			if c.secret != "" {
				cfg.Secret = []byte(c.secret)
			}
			l := newLNS(t, cfg)
			result := l.start()
			r := *reply
			r.ChallengeResponse, r.Challenge = c.response, c.theirs
			l.say(0, &r)
			if c.want != nil {
				l.sends("0/0 0/0 SCCRQ", "99/0 1/1 StopCCN")
				l.c.Receive(wire.AppendZLB(nil, wire.Header{TunnelID: 1, Ns: 1, Nr: 2}))
			} else if c.theirs != nil {
				m, err := wire.Parse(l.bodies[1], nil)
				want := wire.ChallengeResponse(wire.TypeSCCCN, []byte(c.secret), c.theirs)
				if s, ok := m.(*wire.SCCCN); err != nil || !ok || !bytes.Equal(s.ChallengeResponse, want[:]) {
					t.Errorf("%s: %+v, %v", c.name, m, err)
				}
			}
			if err := result(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
			l.c.Abort()
		})
	}
}

// TestRFC2661Section7 compares the tables with rows of RFC 2661 sections 7.2.1 and 7.4.1.
func TestRFC2661Section7(t *testing.T) {
	for _, c := range []struct {
		row  string
		from State
		ev   event
		do   action
		to   State
	}{
		{"wait-ctl-reply: receive SCCRP, acceptable / send SCCCN", WaitReply, gotReply, sendConnected | tellStarted, Established},
		{"wait-ctl-reply: receive SCCRP, not acceptable / send StopCCN, clean up", WaitReply, replyBad, sendStop, WaitStop},
		{"established: admin tunnel close / send StopCCN, clean up", Established, localStop, endCalls | sendStop, WaitStop},
		{"established: receive SCCRP / send StopCCN, clean up", Established, gotReply, endCalls | sendStop, WaitStop},
		{"established: receive StopCCN / clean up", Established, gotStop, endCalls | tellClosed, Closed},
	} {
		if got := table[c.ev][c.from]; got != (step{c.do, c.to}) {
			t.Errorf("%s: %+v", c.row, got)
		}
	}
	for _, c := range []struct {
		row  string
		from callState
		ev   callEvent
		do   callAction
		to   callState
	}{
		{"wait-tunnel: tunnel-open / send ICRQ", callIdle, openRequest, sendRequest, callWaitReply},
		{"wait-reply: receive ICRP, acceptable / send ICCN", callWaitReply, callReply, sendConnect | tellAnswered, callEstablished},
		{"wait-reply: receive CDN / clean up", callWaitReply, gotDisconnect, tellEnded, callIdle},
		{"wait-reply: local close request / send CDN, clean up", callWaitReply, localHangup, sendHangup | tellEnded, callIdle},
		{"established: receive CDN / clean up", callEstablished, gotDisconnect, tellEnded, callIdle},
		{"established: receive ICRP / send CDN, clean up", callEstablished, callReply, sendHangup | tellEnded, callIdle},
		{"established: local close request / send CDN, clean up", callEstablished, localHangup, sendHangup | tellEnded, callIdle},
	} {
		if got := callTable[c.ev][c.from]; got != (callStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.row, got)
		}
	}
}

// nothing is an Events that only counts.
type nothing struct{ closed, ended, answered int }

func (*nothing) Started(*wire.SCCRP)         {}
func (n *nothing) Answered(uint16, uint16)   { n.answered++ }
func (n *nothing) Ended(_ uint16, err error) { n.ended++ }
func (n *nothing) Closed(error)              { n.closed++ }

// FuzzMachineEvents feeds the client anything a server could say. Each octet pair is one step.
func FuzzMachineEvents(f *testing.F) {
	corpus.Add(f)
	body := func(m wire.Message) []byte { return wire.Append(nil, wire.Header{}, m, nil)[wire.ControlHeaderLen:] }
	script := [][]byte{
		nil, body(reply), body(&wire.HELLO{}), body(&wire.ICRP{AssignedSessionID: 5}), body(&wire.CDN{AssignedSessionID: 5}),
		body(&wire.StopCCN{AssignedTunnelID: 99}), body(&wire.ICRQ{AssignedSessionID: 1}), body(&wire.SLI{}), []byte("garbage"),
	}
	f.Add([]byte{0, 1, 200, 1, 16, 3, 0, 2, 16, 4, 0, 5})
	f.Add([]byte{0, 1, 200, 1, 16, 3, 201, 1, 202, 0, 210, 255, 210, 255, 210, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		now := time.Unix(0, 0)
		ev := &nothing{}
		m := NewMachine(Windows("pc", 1), now, ev)
		calls := 0
		var ns uint16
		for ; len(steps) >= 2; steps = steps[2:] {
			switch op, arg := steps[0], steps[1]; {
			case op >= 203:
				now = now.Add(time.Duration(op-202) * time.Duration(arg) * time.Millisecond * 10)
				m.Tick(now)
			case op == 202:
				m.Stop(now)
			case op == 201:
				m.Hangup(now, uint16(arg), wire.Result{})
			case op == 200:
				if m.Call(now, uint16(arg)) == nil {
					calls++
				}
			default:
				b := script[int(arg)%len(script)]
				h := wire.Header{
					Control: true, HasLength: true, HasSequence: true, Length: uint16(wire.ControlHeaderLen + len(b)), TunnelID: 1,
					SessionID: uint16(op / 16), Ns: ns + uint16(op%2), Nr: m.ch.una + uint16(op/2%4),
				}
				msg, _ := h.AppendBinary(nil)
				m.Receive(now, append(msg, b...))
				ns = m.ch.nr
			}
			for _, b := range m.Output() {
				if _, _, err := wire.ParseHeader(b); err != nil {
					t.Fatalf("sent %x: %v", b, err)
				}
			}
		}
		if ev.closed > 1 || ev.ended > calls || ev.answered > calls || (m.State() == Closed) != (ev.closed == 1) {
			t.Fatalf("%+v of %d calls in %s", ev, calls, m.State())
		}
		if m.State() >= WaitStop && ev.ended != calls {
			t.Fatalf("%d of %d calls ended in %s", ev.ended, calls, m.State())
		}
	})
}
