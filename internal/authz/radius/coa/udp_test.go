package coa

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listen opens a UDP socket for Serve, or skips the test where there is no such address.
func listen(t *testing.T, network, at string) *net.UDPConn {
	t.Helper()
	addr, err := net.ResolveUDPAddr(network, at)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		t.Skipf("no socket at %s: %v", at, err)
	}
	return conn
}

// serve runs s.Serve until the test ends and returns its port.
func serve(t *testing.T, s *Server, conn net.PacketConn) string {
	t.Helper()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(conn) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return port
}

// dial opens a connected socket: it gets only what comes from there.
func dial(t *testing.T, host, port string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a request and returns the reply.
func exchange(t *testing.T, conn net.Conn, request []byte) answered {
	t.Helper()
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	return receive(t, conn, request)
}

// receive returns the reply to a request that was sent.
func receive(t *testing.T, conn net.Conn, request []byte) answered {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var buf [8192]byte
	n, err := conn.Read(buf[:])
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	return open(t, request, buf[:n], secret)
}

// TestServe: requests over real sockets are answered from the address that they were sent to.
func TestServe(t *testing.T) {
	for _, tt := range []struct{ name, network, at, to string }{
		{"one address", "udp4", "127.0.0.1:0", "127.0.0.1"},
		{"all IPv4 addresses", "udp4", "0.0.0.0:0", "127.0.0.2"},
		{"all addresses, by IPv4", "udp", "[::]:0", "127.0.0.3"},
		{"all addresses, by IPv6", "udp", "[::]:0", "::1"},
		{"IPv6 only", "udp6", "[::1]:0", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := aHost()
			s := start(t, h, nil)
			port := serve(t, s, listen(t, tt.network, tt.at))
			conn := dial(t, tt.to, port)
			for i, session := range []string{"s-1", "s-3"} {
				a := disconnect(text(acctSessionID, session))
				a.id = byte(i)
				if got := exchange(t, conn, a.build()); got.code != 41 {
					t.Errorf("got %+v", got)
				}
			}
			if did := h.did(); !slices.Equal(did, []string{"disconnect s-1", "disconnect s-3"}) {
				t.Errorf("did %q", did)
			}
		})
	}
	t.Run("a request that came before Serve", func(t *testing.T) {
		s := start(t, aHost(), nil)
		socket := listen(t, "udp4", "0.0.0.0:0")
		_, port, err := net.SplitHostPort(socket.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, early := dial(t, "127.0.0.2", port), disconnect(text(acctSessionID, "s-1")).build()
		if _, err := conn.Write(early); err != nil {
			t.Fatal(err)
		}
		serve(t, s, socket)
		if got := receive(t, conn, early); got.code != 41 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a socket of another kind", func(t *testing.T) {
		s := start(t, aHost(), nil)
		port := serve(t, s, struct{ net.PacketConn }{listen(t, "udp4", "127.0.0.1:0")})
		if got := exchange(t, dial(t, "127.0.0.1", port), disconnect(text(acctSessionID, "s-1")).build()); got.code != 41 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestServeMany: two sockets and several servers at once, amid what is not genuine; each request is answered for what it asks.
func TestServeMany(t *testing.T) {
	h := aHost()
	s := start(t, h, nil)
	ports := []string{serve(t, s, listen(t, "udp4", "127.0.0.1:0")), serve(t, s, listen(t, "udp4", "127.0.0.1:0"))}
	const servers, each = 6, 100
	var wg sync.WaitGroup
	for n := range servers {
		conn := dial(t, "127.0.0.1", ports[n%2])
		wg.Go(func() {
			for i := range each {
				forged := asking{id: byte(i), attrs: text(acctSessionID, "s-1"), wrongRA: true}.build()
				if _, err := conn.Write(forged); err != nil {
					t.Errorf("send: %v", err)
				}
				session, code := "s-3", byte(44)
				if i%2 == 1 {
					session, code = "s-4", 45
				}
				a := change(text(acctSessionID, session), text(filterID, fmt.Sprint(n, "-", i)))
				a.id = byte(i)
				if got := exchange(t, conn, a.build()); got.code != code {
					t.Errorf("request %d got %+v", i, got)
				}
			}
		})
	}
	wg.Wait()
	got := s.Stats()
	if got.ACKs != servers*each/2 || got.NAKs[NotFound] != servers*each/2 || got.Drops[DropAuthenticator] != servers*each {
		t.Errorf("counters %+v", got)
	}
	if did := h.did(); len(did) != servers*each/2 {
		t.Errorf("%d changes, want %d", len(did), servers*each/2)
	}
}

// TestServeEnds: with its Server, or with its socket, and then it says so.
func TestServeEnds(t *testing.T) {
	s := start(t, aHost(), nil)
	conn := listen(t, "udp4", "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(conn) }()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "CoA") {
		t.Errorf("Serve of a closed socket: %v", err)
	}
	s.Close()
	conn = listen(t, "udp4", "127.0.0.1:0")
	if err := s.Serve(conn); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
	if _, err := conn.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is not closed: %v", err)
	}
}
