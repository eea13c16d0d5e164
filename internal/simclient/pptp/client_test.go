package pptp

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
	wire "concentrator/internal/wire/pptp"
)

// server is the far end of a Client, played by the test message by message.
type server struct {
	t  *testing.T
	nc net.Conn
}

// got reads the next message and checks it; nil takes any.
func (s server) got(want wire.Message) {
	s.t.Helper()
	buf := make([]byte, wire.MaxSize)
	if _, err := io.ReadFull(s.nc, buf[:10]); err != nil {
		s.t.Errorf("reading: %v", err)
		return
	}
	n := wire.Type(buf[9]).Size()
	if _, err := io.ReadFull(s.nc, buf[10:n]); err != nil {
		s.t.Errorf("reading: %v", err)
		return
	}
	m, err := wire.Parse(buf[:n])
	if err != nil || want != nil && m != want {
		s.t.Errorf("got %#v, %v, want %#v", m, err, want)
	}
}

func (s server) say(msgs ...wire.Message) {
	s.t.Helper()
	var b []byte
	for _, m := range msgs {
		b, _ = m.AppendBinary(b)
	}
	if _, err := s.nc.Write(b); err != nil {
		s.t.Errorf("writing: %v", err)
	}
}

func (s server) gone() {
	s.t.Helper()
	if n, err := s.nc.Read(make([]byte, 256)); err == nil {
		s.t.Errorf("read %d octets more", n)
	}
}

var yes = wire.StartControlConnectionReply{Version: wire.Version, Result: wire.ResultOK}

// play runs a client that has been accepted against script, on a fake clock.
func play(t *testing.T, cfg Config, script func(s server), use func(t *testing.T, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s := server{t, theirs}
			s.got(wire.StartControlConnectionRequest{Version: wire.Version})
			s.say(yes)
			script(s)
		}()
		c, err := NewClient(t.Context(), ours, cfg)
		if err != nil {
			t.Fatal(err)
		}
		use(t, c)
		<-done
		c.Abort()
		_ = theirs.Close()
	})
}

func TestStartFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(s server)
		check  func(err error) bool
		after  time.Duration
	}{
		{
			"no answer", func(s server) { s.gone() },
			func(err error) bool { return errors.Is(err, ErrTimeout) }, time.Minute,
		},
		{
			"refused", func(s server) {
				s.say(wire.StartControlConnectionReply{Version: wire.Version, Result: wire.StartResultVersion, Error: 6})
				s.gone()
			},
			func(err error) bool {
				var r *ResultError
				return errors.As(err, &r) && *r == ResultError{wire.TypeStartControlConnectionReply, 5, 6}
			}, 0,
		},
		{
			"other version", func(s server) {
				s.say(wire.StartControlConnectionReply{Version: 0x0200, Result: wire.ResultOK})
				s.gone()
			},
			func(err error) bool { var r *ResultError; return errors.As(err, &r) }, 0,
		},
		{
			"stopped", func(s server) {
				s.say(wire.StopControlConnectionRequest{Reason: wire.StopReasonLocalShutdown})
				s.got(wire.StopControlConnectionReply{Result: wire.ResultOK})
				s.gone()
			},
			func(err error) bool { return errors.Is(err, ErrStopped) }, 0,
		},
		{
			"hung up", func(s server) { _ = s.nc.Close() },
			func(err error) bool { return errors.Is(err, io.EOF) }, 0,
		},
		{
			"not PPTP", func(s server) { _, _ = s.nc.Write([]byte("SSH-2.0-x\r\n")); s.gone() },
			func(err error) bool { return errors.Is(err, wire.ErrLength) }, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() {
					s := server{t, theirs}
					s.got(nil)
					c.script(s)
				}()
				start := time.Now()
				_, err := NewClient(t.Context(), ours, Config{})
				if err == nil || !c.check(err) || time.Since(start) != c.after {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
		})
	}
}

func TestStartIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { server{t, theirs}.got(nil) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := NewClient(ctx, ours, Config{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestDialFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, "127.0.0.1:1", Config{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestResultZeroMeansYes, as some modems have it.
func TestResultZeroMeansYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			s := server{t, theirs}
			s.got(nil)
			s.say(wire.StartControlConnectionReply{Version: wire.Version})
		}()
		c, err := NewClient(t.Context(), ours, Config{})
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
	})
}

func TestCall(t *testing.T) {
	request := wire.OutgoingCallRequest{CallID: 5, SerialNumber: 1}
	answer := wire.OutgoingCallReply{CallID: 0x900, PeerCallID: 5, Result: wire.ResultConnected}
	play(t, Config{}, func(s server) {
		s.got(request)
		s.say(wire.OutgoingCallReply{CallID: 1, PeerCallID: 6, Result: wire.ResultConnected}, answer) // the first is stray
		s.got(wire.SetLinkInfo{PeerCallID: 0x900, SendACCM: 1, ReceiveACCM: 2})
		s.say(wire.EchoRequest{Identifier: 3})
		s.got(wire.EchoReply{Identifier: 3, Result: wire.ResultOK})
		s.got(wire.CallClearRequest{CallID: 5})
		s.say(wire.CallDisconnectNotify{CallID: 0x900, Result: wire.DisconnectRequest})
		s.got(wire.StopControlConnectionRequest{Reason: wire.StopReasonNone})
		s.say(wire.StopControlConnectionReply{Result: wire.ResultOK})
		s.gone()
	}, func(t *testing.T, c *Client) {
		call, err := c.Call(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if call.ID() != 5 || call.PeerID() != 0x900 || call.Reply() != answer || call.Err() != nil {
			t.Errorf("%+v", call)
		}
		if _, err := c.Call(t.Context(), request); !errors.Is(err, ErrCallIDInUse) {
			t.Errorf("a second call with the ID: %v", err)
		}
		if err := call.SetLinkInfo(1, 2); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := call.Clear(t.Context()); err != nil {
			t.Error(err)
		}
		if err := call.SetLinkInfo(1, 2); !errors.Is(err, ErrClosed) {
			t.Errorf("link info for an ended call: %v", err)
		}
		if err := c.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := c.Call(t.Context(), request); !errors.Is(err, ErrClosed) {
			t.Errorf("call on a stopped connection: %v", err)
		}
		if err := c.Echo(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("echo on a stopped connection: %v", err)
		}
	})
}

// TestDisconnectByEitherID: RFC 2637 section 2.13 says the server's ID, accel-ppp and pptpd send the client's. Windows
// sends result 0.
func TestDisconnectByEitherID(t *testing.T) {
	for _, id := range []uint16{5, 0x900} {
		play(t, Config{}, func(s server) {
			s.got(nil)
			s.say(
				wire.OutgoingCallReply{CallID: 0x900, PeerCallID: 5, Result: wire.ResultConnected},
				wire.CallDisconnectNotify{CallID: 0x777}, wire.CallDisconnectNotify{CallID: id},
			)
		}, func(t *testing.T, c *Client) {
			call, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: 5})
			if err != nil {
				t.Fatal(err)
			}
			<-call.Done()
			var r *ResultError
			if !errors.As(call.Err(), &r) || r.Message != wire.TypeCallDisconnectNotify || r.Result != 0 {
				t.Errorf("ended with %v", call.Err())
			}
		})
	}
}

func TestCallRefused(t *testing.T) {
	play(t, Config{}, func(s server) {
		s.got(nil)
		s.say(wire.OutgoingCallReply{PeerCallID: 5, Result: wire.ResultBusy})
	}, func(t *testing.T, c *Client) {
		_, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: 5})
		var r *ResultError
		if !errors.As(err, &r) || r.Result != wire.ResultBusy {
			t.Error(err)
		}
	})
}

func TestCallTimesOut(t *testing.T) {
	play(t, Config{EchoInterval: -1}, func(s server) {
		s.got(wire.OutgoingCallRequest{CallID: 5})
		s.got(wire.CallClearRequest{CallID: 5})
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		_, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: 5})
		if !errors.Is(err, ErrTimeout) || time.Since(start) != 65*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
	play(t, Config{}, func(s server) {
		s.got(wire.OutgoingCallRequest{CallID: 5})
		s.got(wire.CallClearRequest{CallID: 5})
		s.say(wire.OutgoingCallReply{CallID: 0x900, PeerCallID: 5, Result: wire.ResultConnected}) // it crossed
		s.say(wire.CallDisconnectNotify{CallID: 0x900})
	}, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, wire.OutgoingCallRequest{CallID: 5}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestEcho(t *testing.T) {
	play(t, Config{}, func(s server) {
		s.got(wire.EchoRequest{Identifier: 1})
		s.say(wire.EchoReply{Identifier: 1, Result: wire.ResultOK})
		s.got(wire.EchoRequest{Identifier: 2})
		s.gone()
	}, func(t *testing.T, c *Client) {
		if err := c.Echo(t.Context()); err != nil {
			t.Error(err)
		}
		start := time.Now()
		<-c.Done()
		if d := time.Since(start); d != 2*time.Minute || !errors.Is(c.Err(), ErrTimeout) {
			t.Errorf("gave the server up after %v: %v", d, c.Err())
		}
	})
}

func TestStopWithoutReply(t *testing.T) {
	play(t, Config{}, func(s server) {
		s.got(wire.StopControlConnectionRequest{Reason: 1})
		s.gone()
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		if err := c.Stop(t.Context()); !errors.Is(err, ErrTimeout) || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestServerStops(t *testing.T) {
	play(t, Config{}, func(s server) {
		s.got(nil)
		s.say(wire.OutgoingCallReply{CallID: 0x900, PeerCallID: 5, Result: wire.ResultConnected})
		s.say(wire.StopControlConnectionRequest{Reason: wire.StopReasonLocalShutdown})
		s.got(wire.StopControlConnectionReply{Result: wire.ResultOK})
		s.gone()
	}, func(t *testing.T, c *Client) {
		call, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: 5})
		if err != nil {
			t.Fatal(err)
		}
		<-call.Done()
		<-c.Done()
		if !errors.Is(call.Err(), ErrStopped) || !errors.Is(c.Err(), ErrStopped) {
			t.Errorf("call %v, connection %v", call.Err(), c.Err())
		}
	})
}

// quiet is an Events that counts what must come once.
type quiet struct {
	started, closed int
	open            map[uint16]bool
	t               *testing.T
}

func (q *quiet) Started(wire.StartControlConnectionReply) { q.started++ }
func (q *quiet) EchoReplied(uint32)                       {}
func (q *quiet) Closed(err error) {
	q.closed++
	if err == nil {
		q.t.Error("closed without an error")
	}
}

func (q *quiet) Answered(id uint16, _ wire.OutgoingCallReply) {
	if !q.open[id] {
		q.t.Errorf("answer for call %d, which is not there", id)
	}
}

func (q *quiet) Ended(id uint16, err error) {
	if !q.open[id] || err == nil {
		q.t.Errorf("end of call %d, open %v, error %v", id, q.open[id], err)
	}
	delete(q.open, id)
}

// FuzzMachineEvents gives a client's machine random octets from the server, between wishes of ours.
func FuzzMachineEvents(f *testing.F) {
	corpus.Add(f)
	var b []byte
	for _, m := range []wire.Message{
		yes,
		wire.OutgoingCallReply{CallID: 9, PeerCallID: 1, Result: 1},
		wire.EchoRequest{},
		wire.EchoReply{Identifier: 1},
		wire.CallDisconnectNotify{CallID: 9},
		wire.StopControlConnectionRequest{Reason: 1},
	} {
		b, _ = m.AppendBinary(b)
	}
	f.Add(b, []byte{0, 1, 2, 3, 4}, uint8(16))
	f.Add(b, []byte{0, 5, 0, 1, 1, 4}, uint8(100))
	f.Fuzz(func(t *testing.T, in, wishes []byte, size uint8) {
		q := &quiet{open: map[uint16]bool{}, t: t}
		now := time.Unix(0, 0)
		m := NewMachine(Config{}, now, q)
		for len(in) > 0 || len(wishes) > 0 {
			n := min(len(in), int(size)+1)
			m.Feed(now, in[:n])
			in = in[n:]
			if len(wishes) > 0 {
				switch wishes[0] % 6 {
				case 0:
					id := uint16(wishes[0] / 6 % 3)
					if m.Call(now, wire.OutgoingCallRequest{CallID: id}) == nil {
						q.open[id] = true
					}
				case 1:
					m.Clear(now, uint16(wishes[0]/6%3))
				case 2:
					m.Echo(now)
				case 3:
					_ = m.SetLinkInfo(uint16(wishes[0]/6%3), 0, 0)
				case 4:
					m.Stop(now)
				case 5:
					now = now.Add(time.Minute)
					m.Tick(now)
				}
				wishes = wishes[1:]
			}
			m.Output()
			if _, ok := m.Deadline(); ok != (m.State() != Closed) {
				t.Fatalf("state %s, deadline %v", m.State(), ok)
			}
		}
		m.Lost(now, io.EOF)
		if q.started > 1 || q.closed != 1 || len(q.open) > 0 {
			t.Errorf("started %d times, closed %d times, calls left: %v", q.started, q.closed, q.open)
		}
	})
}
