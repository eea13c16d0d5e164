package pptp_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
	client "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/pptp"
	wire "concentrator/internal/wire/pptp"
)

// handler is a Handler that connects every call until it is told otherwise, and keeps what it is told.
type handler struct {
	mu       sync.Mutex
	next     uint16
	answer   func(c pptp.Call, r pptp.CallRequest) (pptp.Answer, bool) // false: connect it
	calls    map[uint16]pptp.Call
	requests []pptp.CallRequest
	closed   []string
	refused  []string
	wake     chan struct{} // one for each thing that happened
	panics   int           // of the next calls of CallClosed
}

func newHandler() *handler {
	return &handler{next: 0x4000, calls: map[uint16]pptp.Call{}, wake: make(chan struct{}, 10000)}
}

func (h *handler) OutgoingCall(c pptp.Call, r pptp.CallRequest) pptp.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
	if h.answer != nil {
		if a, ok := h.answer(c, r); ok {
			return a
		}
	}
	h.next++
	h.calls[h.next] = c
	return pptp.Answer{CallID: h.next, Result: wire.ResultConnected}
}

func (h *handler) CallClosed(id uint16, cause tenant.Reason, _ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, id)
	h.closed = append(h.closed, fmt.Sprintf("%#x %s", id, cause))
	h.wake <- struct{}{}
	if h.panics > 0 {
		h.panics--
		panic("bomb again")
	}
}

func (h *handler) Refused(_, _ netip.AddrPort, reason tenant.Reason, _ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = append(h.refused, string(reason))
	h.wake <- struct{}{}
}

func (h *handler) call(id uint16) pptp.Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[id]
}

// told returns what Refused and CallClosed were told and forgets it.
func (h *handler) told() (closed, refused []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	closed, refused = h.closed, h.refused
	h.closed, h.refused = nil, nil
	return closed, refused
}

func (h *handler) expect(t *testing.T, closed, refused []string) {
	t.Helper()
	c, r := h.told()
	slices.Sort(c)
	if !slices.Equal(c, closed) || !slices.Equal(r, refused) {
		t.Errorf("closed %q, refused %q; want %q and %q", c, r, closed, refused)
	}
}

// serve runs a server on l until the test ends.
func serve(t *testing.T, s *pptp.Server, l net.Listener, name string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l, name) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := s.Stats().Open; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// listenTCP serves on a loopback socket and returns its address.
func listenTCP(t *testing.T, s *pptp.Server, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, s, l, name)
	return l.Addr().String()
}

func dial(t *testing.T, addr string, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

func place(t *testing.T, c *client.Client, r wire.OutgoingCallRequest) *client.Call {
	t.Helper()
	call, err := c.Call(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

// TestWindowsLogin goes the way of a Windows client over TCP: start, call with ID 0 and a binary subaddress, two
// Set-Link-Infos, echo, clear, stop.
func TestWindowsLogin(t *testing.T) {
	h := newHandler()
	s := pptp.NewServer(pptp.Config{HostName: "gate", Vendor: "maker", FirmwareRevision: 3}, h)
	addr := listenTCP(t, s, "listeners/main")
	c := dial(t, addr, client.Config{Start: client.WindowsStart()})
	if r := c.Server(); r.Result != 1 || r.Version != 0x0100 || r.HostName.String() != "gate" || r.VendorName.String() != "maker" || r.FirmwareRevision != 3 {
		t.Errorf("start reply %+v", r)
	}
	call := place(t, c, client.WindowsCall(0, 1, [16]byte{0xff, 0, 0xfe}))
	if call.PeerID() != 0x4001 || call.ID() != 0 || call.Reply().ReceiveWindow == 0 {
		t.Errorf("reply %+v", call.Reply())
	}
	want := pptp.CallRequest{
		Remote: netip.MustParseAddrPort(c.Conn().LocalAddr().String()), Local: netip.MustParseAddrPort(addr),
		Listener: "listeners/main", PeerCallID: 0, SerialNumber: 1, Window: 64, Vendor: "Microsoft",
	}
	if h.requests[0] != want {
		t.Errorf("request %+v, want %+v", h.requests[0], want)
	}
	for _, accm := range []uint32{0xffffffff, 0} {
		if err := call.SetLinkInfo(accm, accm); err != nil {
			t.Error(err)
		}
	}
	if err := c.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	if err := call.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	var end *client.ResultError
	if err := call.Err(); !errors.As(err, &end) || end.Result != wire.DisconnectRequest {
		t.Errorf("call ended with %v", err)
	}
	h.expect(t, []string{"0x4001 USER_REQUEST"}, nil)
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	h.expect(t, nil, nil)
}

// TestPPTPLinuxHangsUp sends Call-Clear and Stop in one segment, as pptp-linux does.
func TestPPTPLinuxHangsUp(t *testing.T) {
	h := newHandler()
	addr := listenTCP(t, pptp.NewServer(pptp.Config{}, h), "l")
	c := dial(t, addr, client.Config{})
	place(t, c, wire.OutgoingCallRequest{CallID: 7})
	b, _ := wire.CallClearRequest{CallID: 7}.AppendBinary(nil)
	b, _ = wire.StopControlConnectionRequest{Reason: 3}.AppendBinary(b)
	if _, err := c.Conn().Write(b); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	h.expect(t, []string{"0x4001 USER_REQUEST"}, nil)
}

// TestCallsOfManyClients has many connections with several calls each, ended in every way, at the same time.
func TestCallsOfManyClients(t *testing.T) {
	h := newHandler()
	s := pptp.NewServer(pptp.Config{MaxIdlePerSource: 0}, h)
	addr := listenTCP(t, s, "a")
	second := listenTCP(t, s, "b")
	const clients, each = 16, 6
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			to := addr
			if i%2 == 1 {
				to = second
			}
			c, err := client.Dial(t.Context(), to, client.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Abort()
			var calls []*client.Call
			for id := range uint16(each) {
				call, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: id})
				if err != nil {
					t.Error(err)
					return
				}
				calls = append(calls, call)
			}
			if err := calls[0].Clear(t.Context()); err != nil {
				t.Error(err)
			}
			h.call(calls[1].PeerID()).Disconnect(tenant.ReasonIdleTimeout)
			<-calls[1].Done()
			var end *client.ResultError
			if !errors.As(calls[1].Err(), &end) || end.Result != wire.DisconnectAdminShutdown {
				t.Errorf("call ended with %v", calls[1].Err())
			}
			if i%4 < 2 {
				if err := c.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range clients * (each - 1) {
		<-h.wake
	}
	closed, refused := h.told()
	slices.Sort(closed)
	if n := len(closed); n != clients*(each-1) || len(slices.Compact(closed)) != n || refused != nil {
		t.Errorf("%d calls closed, %d different, refused %q", n, len(slices.Compact(closed)), refused)
	}
}

func TestBusy(t *testing.T) {
	h := newHandler()
	full := true
	h.answer = func(pptp.Call, pptp.CallRequest) (pptp.Answer, bool) {
		return pptp.Answer{Result: wire.ResultBusy}, full
	}
	addr := listenTCP(t, pptp.NewServer(pptp.Config{}, h), "l")
	c := dial(t, addr, client.Config{})
	_, err := c.Call(t.Context(), wire.OutgoingCallRequest{CallID: 1})
	var no *client.ResultError
	if !errors.As(err, &no) || *no != (client.ResultError{Message: wire.TypeOutgoingCallReply, Result: wire.ResultBusy}) {
		t.Errorf("refused with %v", err)
	}
	h.mu.Lock()
	full = false
	h.mu.Unlock()
	place(t, c, wire.OutgoingCallRequest{CallID: 1})
}

// TestOneBrokenClient: garbage, resets and silence of some disturb nobody else.
func TestOneBrokenClient(t *testing.T) {
	h := newHandler()
	addr := listenTCP(t, pptp.NewServer(pptp.Config{MaxIdlePerSource: 0}, h), "l")
	good := dial(t, addr, client.Config{})
	place(t, good, wire.OutgoingCallRequest{CallID: 1})
	for i, junk := range []string{"GET / HTTP/1.0\r\n\r\n", "\x00\x00", "\x00\x10\x00\x01\x1a\x2b\x3c\x4d\x00\x05\x00\x00\x00\x00\x00\x00"} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write([]byte(junk)); err != nil {
			t.Fatal(err)
		}
		if n, err := nc.Read(make([]byte, 1)); err == nil {
			t.Errorf("junk %d was answered with %d octets", i, n)
		}
		_ = nc.Close()
		<-h.wake
	}
	reset, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reset.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if err := reset.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = reset.Close()
	<-h.wake
	if err := good.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	h.expect(t, nil, []string{"PROTOCOL_ERROR", "PROTOCOL_ERROR", "PROTOCOL_ERROR", "PEER_TIMEOUT"})
}

func TestListenerMayClose(t *testing.T) {
	h := newHandler()
	s := pptp.NewServer(pptp.Config{}, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l, "l") }()
	c := dial(t, l.Addr().String(), client.Config{})
	place(t, c, wire.OutgoingCallRequest{CallID: 1})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := c.Echo(t.Context()); err != nil { // a session does not depend on its listener
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-c.Done()
	if !errors.Is(c.Err(), client.ErrStopped) {
		t.Errorf("client ended with %v", c.Err())
	}
	h.expect(t, []string{"0x4001 SHUTDOWN"}, nil)
}

// --- without sockets, on a fake clock ---

// pipes is a listener whose connections are made by dial.
type pipes struct {
	conns chan net.Conn
	errs  chan error
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errs: make(chan error), done: make(chan struct{})}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

type pipeConn struct {
	net.Conn
	local, remote addr
	written       func() // called after each write of the server, if set
}

func (c pipeConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.written != nil {
		c.written()
	}
	return n, err
}

func (c pipeConn) LocalAddr() net.Addr  { return c.local }
func (c pipeConn) RemoteAddr() net.Addr { return c.remote }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return addr("198.51.100.1:1723") }

func (p *pipes) dial(from addr) net.Conn { return p.dialWith(from, nil) }

func (p *pipes) dialWith(from addr, written func()) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- pipeConn{theirs, "198.51.100.1:1723", from, written}
	return ours
}

// start makes a client of the piped server. A pipe holds nothing, so both ends must not begin to write at the same instant:
// tests that run for a minute turn the client's echo off.
func (p *pipes) start(t *testing.T, from addr, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.NewClient(t.Context(), p.dial(from), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// after returns how long it takes until ch is closed.
func after(start time.Time, ch <-chan struct{}) time.Duration {
	<-ch
	return time.Since(start)
}

// eof returns how long it takes until the server closes nc, whatever it sends before.
func eof(start time.Time, nc net.Conn) time.Duration {
	for buf := make([]byte, 256); ; {
		if _, err := nc.Read(buf); err != nil {
			return time.Since(start)
		}
	}
}

func bubble(t *testing.T, cfg pptp.Config, f func(t *testing.T, h *handler, p *pipes, s *pptp.Server)) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHandler(), newPipes()
		s := pptp.NewServer(cfg, h)
		serve(t, s, p, "l")
		f(t, h, p, s)
	})
}

func TestHalfOpenTimeouts(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		start := time.Now()
		if d := eof(start, p.dial("192.0.2.1:1")); d != pptp.DefaultSetupTimeout {
			t.Errorf("a silent connection lived %v", d)
		}
		h.expect(t, nil, []string{"PEER_TIMEOUT"})

		start = time.Now()
		nc := p.dial("192.0.2.1:2")
		go func() { // a slow loris
			b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
			for i := range b {
				if _, err := nc.Write(b[i : i+1]); err != nil {
					return
				}
				time.Sleep(1100 * time.Millisecond)
			}
		}()
		if d := eof(start, nc); d != 10*time.Second {
			t.Errorf("a slow loris lived %v", d)
		}
		h.expect(t, nil, []string{"PEER_TIMEOUT"})

		start = time.Now()
		c := p.start(t, "192.0.2.1:3", client.Config{EchoInterval: -1})
		if d := after(start, c.Done()); d != pptp.DefaultCallTimeout || !errors.Is(c.Err(), client.ErrStopped) {
			t.Errorf("a connection without a call lived %v and ended with %v", d, c.Err())
		}
		h.expect(t, nil, []string{"PEER_TIMEOUT"})
	})
}

func TestStopTimeout(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		start := time.Now()
		nc := p.dial("192.0.2.1:1")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		if d := eof(start, nc); d != pptp.DefaultCallTimeout+pptp.DefaultStopTimeout { // no call, and no Stop-Reply
			t.Errorf("lived %v", d)
		}
		h.expect(t, nil, []string{"PEER_TIMEOUT"})
	})
}

func TestKeepalive(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		c := p.start(t, "192.0.2.1:1", client.Config{EchoInterval: -1})
		place(t, c, wire.OutgoingCallRequest{CallID: 1})
		asks := p.start(t, "192.0.2.1:2", client.Config{EchoInterval: 19 * time.Second})
		place(t, asks, wire.OutgoingCallRequest{CallID: 1})
		time.Sleep(24 * time.Hour)
		if s.Stats().Open != 2 {
			t.Fatalf("%d connections are open after a day", s.Stats().Open)
		}
		h.expect(t, nil, nil)

		// A client that is there but does not answer: it reads, so only the Echo-Reply is missing.
		start := time.Now()
		nc := p.dial("192.0.2.1:3")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		b, _ = wire.OutgoingCallRequest{CallID: 1}.AppendBinary(b)
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		if d := eof(start, nc); d != 120*time.Second {
			t.Errorf("a dead client was kept for %v", d)
		}
		h.expect(t, []string{"0x4003 LOST_CARRIER"}, nil)
	})
}

// TestWriteDeadline: a peer that does not read.
func TestWriteDeadline(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		nc := p.dial("192.0.2.1:1")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if s.Stats().Open != 1 {
			t.Error("closed too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.Stats().Open != 0 {
			t.Error("not closed")
		}
		h.expect(t, nil, []string{"PEER_TIMEOUT"})
	})
}

func TestDisconnect(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		c := p.start(t, "192.0.2.1:1", client.Config{EchoInterval: -1})
		first := place(t, c, wire.OutgoingCallRequest{CallID: 1})
		last := place(t, c, wire.OutgoingCallRequest{CallID: 2})
		time.Sleep(time.Minute - 1)
		start := time.Now()
		h.call(first.PeerID()).Disconnect(tenant.ReasonSessionTimeout)
		if d := after(start, first.Done()); d != 0 {
			t.Errorf("disconnected after %v", d)
		}
		time.Sleep(time.Hour)
		if c.Err() != nil {
			t.Fatalf("the connection of another call ended: %v", c.Err())
		}
		start = time.Now()
		call := h.call(last.PeerID())
		call.Disconnect(tenant.ReasonAdminDisconnect)
		call.Disconnect(tenant.ReasonAdminDisconnect)
		<-last.Done()
		if d := after(start, c.Done()); d != 2*time.Second || !errors.Is(c.Err(), client.ErrStopped) {
			t.Errorf("the connection ended after %v with %v", d, c.Err())
		}
		synctest.Wait()
		call.Disconnect(tenant.ReasonAdminDisconnect)
		h.expect(t, nil, nil)
	})
}

// TestDisconnectBeforeTheNextRead comes at the one moment when the connection's goroutine has looked for commands and has
// not set its read deadline yet.
func TestDisconnectBeforeTheNextRead(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		written := func() {
			if c := h.call(0x4001); c != nil {
				c.Disconnect(tenant.ReasonReplaced)
			}
		}
		c, err := client.NewClient(t.Context(), p.dialWith("192.0.2.1:1", written), client.Config{EchoInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		call := place(t, c, wire.OutgoingCallRequest{CallID: 1})
		if d := after(start, call.Done()); d != 0 {
			t.Errorf("disconnected after %v", d)
		}
		<-c.Done()
		h.expect(t, nil, nil)
	})
}

// TestDisconnectDoesNotBlock: not even when the peer does not read.
func TestDisconnectDoesNotBlock(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		nc := p.dial("192.0.2.1:1")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		b, _ = wire.OutgoingCallRequest{CallID: 1}.AppendBinary(b)
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the server is writing its replies
		start := time.Now()
		h.call(0x4001).Disconnect(tenant.ReasonReplaced)
		if d := time.Since(start); d != 0 {
			t.Errorf("Disconnect took %v", d)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s.Stats().Open != 0 {
			t.Error("the connection is still open")
		}
		h.expect(t, nil, nil)
	})
}

func TestShutdownWaits(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		c := p.start(t, "192.0.2.1:1", client.Config{})
		place(t, c, wire.OutgoingCallRequest{CallID: 1})
		deaf := p.dial("192.0.2.1:2")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		b, _ = wire.OutgoingCallRequest{CallID: 1}.AppendBinary(b)
		if _, err := deaf.Write(b); err != nil {
			t.Fatal(err)
		}
		go eof(time.Now(), deaf)
		synctest.Wait()
		start := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("Shutdown took %v: %v", time.Since(start), err)
		}
		if !errors.Is(c.Err(), client.ErrStopped) {
			t.Errorf("client ended with %v", c.Err())
		}
		h.expect(t, []string{"0x4001 SHUTDOWN", "0x4002 SHUTDOWN"}, nil)

		eof(start, p.dial("192.0.2.1:3"))
		synctest.Wait()
		h.expect(t, nil, []string{"DRAINING"})
	})
}

func TestShutdownGivesUp(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		deaf := p.dial("192.0.2.1:2")
		b, _ := wire.StartControlConnectionRequest{Version: wire.Version}.AppendBinary(nil)
		b, _ = wire.OutgoingCallRequest{CallID: 1}.AppendBinary(b)
		if _, err := deaf.Write(b); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the server is writing its replies
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Shutdown took %v: %v", time.Since(start), err)
		}
		h.expect(t, []string{"0x4001 SHUTDOWN"}, nil)
	})
}

func TestLimits(t *testing.T) {
	bubble(t, pptp.Config{MaxConns: 4, MaxIdlePerSource: 2}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
		turnedAway := func(from addr) {
			t.Helper()
			start := time.Now()
			if d := eof(start, p.dial(from)); d != 0 {
				t.Errorf("%s was closed after %v", from, d)
			}
			synctest.Wait()
			h.expect(t, nil, []string{"INSTANCE_LIMIT"})
		}
		one := p.start(t, "192.0.2.1:1", client.Config{})
		p.start(t, "192.0.2.1:2", client.Config{})
		turnedAway("192.0.2.1:3")
		place(t, one, wire.OutgoingCallRequest{CallID: 1}) // no longer half-open
		third := p.start(t, "192.0.2.1:4", client.Config{})
		turnedAway("192.0.2.1:5")
		p.start(t, "192.0.2.2:1", client.Config{})
		newest := p.start(t, "192.0.2.3:1", client.Config{})
		// The second connection of the first source was the oldest without a call.
		synctest.Wait()
		h.expect(t, nil, []string{"PEER_TIMEOUT"})
		place(t, newest, wire.OutgoingCallRequest{CallID: 1})
		if err := third.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		h.told()
		last := p.start(t, "192.0.2.1:6", client.Config{})
		if st := s.Stats(); st != (pptp.Stats{Open: 4, Accepted: 6, TurnedAway: 2, Pushed: 1}) {
			t.Errorf("%+v", st)
		}
		place(t, last, wire.OutgoingCallRequest{CallID: 2})
		place(t, p.start(t, "192.0.2.4:1", client.Config{}), wire.OutgoingCallRequest{CallID: 1}) // 192.0.2.2 has made room
		synctest.Wait()
		h.told()
		h.mu.Lock()
		calls := slices.Collect(maps.Values(h.calls))
		h.mu.Unlock()
		for _, c := range calls {
			c.Authenticated()
		}
		turnedAway("192.0.2.5:1") // somebody has logged in on each
	})
}

// TestWhoMakesRoom: connections of strangers that have no call, or none any more, then those whose call nobody has answered for,
// then those that wait for their first call where somebody has logged in before. None in which somebody has.
func TestWhoMakesRoom(t *testing.T) {
	bubble(t, pptp.Config{MaxConns: 6}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		user := p.start(t, "192.0.2.1:1", client.Config{})
		place(t, user, wire.OutgoingCallRequest{CallID: 1})
		h.call(0x4001).Authenticated()
		known := p.start(t, "192.0.2.1:2", client.Config{}) // the oldest without a call
		asked := p.start(t, "192.0.2.2:1", client.Config{})
		place(t, asked, wire.OutgoingCallRequest{CallID: 1})
		refused := p.start(t, "192.0.2.3:1", client.Config{})
		place(t, refused, wire.OutgoingCallRequest{CallID: 1})
		silent := p.start(t, "192.0.2.4:1", client.Config{})
		h.call(0x4003).Disconnect(tenant.ReasonWrongCredentials)
		synctest.Wait()
		fresh := p.start(t, "192.0.2.5:1", client.Config{}) // now all are taken
		all := []*client.Client{silent, refused, fresh, asked, known}
		for i := range all {
			c := p.start(t, addr(fmt.Sprintf("192.0.2.6:%d", i+1)), client.Config{})
			place(t, c, wire.OutgoingCallRequest{CallID: 1})
			h.call(0x4004 + uint16(i)).Authenticated()
			synctest.Wait()
			for k, c := range all {
				if gone := c.Err() != nil; gone != (k <= i) {
					t.Errorf("after %d have made room: number %d has %v", i+1, k+1, gone)
				}
			}
		}
		if user.Err() != nil {
			t.Error("a user made room")
		}
	})
}

// TestIPv6SourceIsItsNetwork: a client that has a /64 has one source's share.
func TestIPv6SourceIsItsNetwork(t *testing.T) {
	bubble(t, pptp.Config{MaxIdlePerSource: 1}, func(t *testing.T, h *handler, p *pipes, _ *pptp.Server) {
		p.start(t, "[2001:db8::1]:1", client.Config{})
		eof(time.Now(), p.dial("[2001:db8::2]:1"))
		p.start(t, "[2001:db8:0:1::1]:1", client.Config{})
		p.start(t, "[::ffff:192.0.2.1]:1", client.Config{})
		synctest.Wait()
		h.expect(t, nil, []string{"INSTANCE_LIMIT"})
		eof(time.Now(), p.dial("192.0.2.1:2")) // the same as its mapped form
		synctest.Wait()
		h.expect(t, nil, []string{"INSTANCE_LIMIT"})
	})
}

func TestAcceptErrors(t *testing.T) {
	bubble(t, pptp.Config{}, func(t *testing.T, _ *handler, p *pipes, _ *pptp.Server) {
		start := time.Now()
		for range 10 {
			p.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		p.start(t, "192.0.2.1:1", client.Config{})
		// 5, 10, 20, 40, 80, 160, 320 and 640 ms, then twice 1 s
		if d := time.Since(start); d != 3275*time.Millisecond {
			t.Errorf("ten errors took %v", d)
		}
	})
	l := newPipes()
	go func() { l.errs <- errors.New("broken for good") }()
	if err := pptp.NewServer(pptp.Config{}, newHandler()).Serve(l, "l"); err == nil {
		t.Error("Serve went on")
	}
}

// FuzzServerConn sends random octets to a server, cut at random, and wants it to live on and to leave nothing behind.
func FuzzServerConn(f *testing.F) {
	corpus.Add(f)
	stream := func(msgs ...wire.Message) (b []byte) {
		for _, m := range msgs {
			b, _ = m.AppendBinary(b)
		}
		return b
	}
	start := wire.StartControlConnectionRequest{Version: wire.Version}
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"), uint8(3))
	f.Add(stream(start, wire.OutgoingCallRequest{CallID: 1}, wire.SetLinkInfo{PeerCallID: 0x4001}), uint8(255))
	f.Add(stream(start, wire.OutgoingCallRequest{}, wire.CallClearRequest{}, wire.StopControlConnectionRequest{}), uint8(1))
	f.Add(stream(start, wire.IncomingCallRequest{}, wire.EchoRequest{}, start, wire.OutgoingCallRequest{}), uint8(17))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		bubble(t, pptp.Config{Log: corpus.Log(t)}, func(t *testing.T, h *handler, p *pipes, s *pptp.Server) {
			good := p.start(t, "192.0.2.1:1", client.Config{})
			place(t, good, wire.OutgoingCallRequest{CallID: 1})
			nc := p.dial("192.0.2.2:1")
			go eof(time.Now(), nc)
			for part := range slices.Chunk(b, max(1, int(size))) {
				if _, err := nc.Write(part); err != nil {
					break
				}
			}
			_ = nc.Close()
			synctest.Wait()
			if n := s.Stats().Open; n != 1 {
				t.Errorf("%d connections are open", n)
			}
			if err := good.Echo(t.Context()); err != nil {
				t.Error(err)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.calls) != 1 {
				t.Errorf("%d calls live", len(h.calls))
			}
		})
	})
}
