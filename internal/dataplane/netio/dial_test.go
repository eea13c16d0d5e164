package netio

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// TestDial: what leads to a server starts in the namespace, from the address and by the interface that were asked for.
func TestDial(t *testing.T) {
	ns, l := testNamespace(t), Linux{}
	server, err := l.ListenUDP(ns, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	at := server.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, c := range []struct {
		name string
		spec DialSpec
		from string
	}{
		{"plain", DialSpec{Network: "udp", Namespace: ns, Remote: at}, "127.0.0.1"},
		{"source", DialSpec{Network: "udp", Namespace: ns, Remote: at, Source: netip.MustParseAddr("127.0.0.9")}, "127.0.0.9"},
		{"interface", DialSpec{Network: "udp", Namespace: ns, Remote: at, Interface: "lo"}, "127.0.0.1"},
	} {
		conn, err := l.Dial(t.Context(), c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err := conn.Write([]byte(c.name)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var b [16]byte
		_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from, err := server.ReadFrom(b[:])
		if err != nil || string(b[:n]) != c.name || from.(*net.UDPAddr).IP.String() != c.from {
			t.Errorf("%s: got %q from %v, %v", c.name, b[:n], from, err)
		}
		_ = conn.Close()
	}

	// Outside nobody listens there.
	outside, err := l.Dial(t.Context(), DialSpec{Network: "udp", Remote: at})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	_, _ = outside.Write([]byte("lost"))
	_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, from, err := server.ReadFrom(make([]byte, 16)); err == nil {
		t.Errorf("%d octets came from another namespace, %v", n, from)
	}

	tcp, err := l.ListenTCP(ns, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	door := tcp.Addr().(*net.TCPAddr).AddrPort()
	conn, err := l.Dial(t.Context(), DialSpec{Network: "tcp", Namespace: ns, Remote: door, Source: netip.MustParseAddr("127.0.0.9"), Interface: "lo"})
	if err != nil {
		t.Fatal(err)
	}
	if from := conn.LocalAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.9" {
		t.Errorf("TCP from %s", from)
	}
	_ = conn.Close()

	for _, c := range []struct {
		name string
		spec DialSpec
		want error
	}{
		{"no such namespace", DialSpec{Network: "udp", Namespace: ns + "-missing", Remote: at}, netns.ErrNotFound},
		{"no such interface", DialSpec{Network: "udp", Namespace: ns, Remote: at, Interface: "none0"}, unix.ENODEV},
		{"not our address", DialSpec{Network: "tcp", Namespace: ns, Remote: door, Source: netip.MustParseAddr("192.0.2.9")}, unix.EADDRNOTAVAIL},
		{"nobody listens", DialSpec{Network: "tcp", Namespace: ns, Remote: netip.MustParseAddrPort("127.0.0.1:1")}, unix.ECONNREFUSED},
	} {
		if conn, err := l.Dial(t.Context(), c.spec); !errors.Is(err, c.want) || conn != nil {
			t.Errorf("%s: %v, %v", c.name, conn, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if conn, err := l.Dial(over, DialSpec{Network: "tcp", Namespace: ns, Remote: door}); err == nil {
		t.Errorf("dialled after the end: %v", conn)
	}
	if c, err := l.ListenUDP(ns+"-missing", netip.MustParseAddrPort("127.0.0.1:0")); !errors.Is(err, netns.ErrNotFound) || c != nil {
		t.Errorf("UDP in a namespace that is not there: %v, %v", c, err)
	}
}
