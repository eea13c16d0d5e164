package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Dial says where a socket is to lead, and from where.
type Dial struct {
	Network   string // "udp": a connected socket; "tcp": a connection
	Remote    netip.AddrPort
	Source    netip.Addr // zero: what the route says
	Interface string     // empty: what the route says
	Namespace string     // empty: the daemon's own
}

// Dialer opens sockets. It is called on a goroutine of the transport's, may block until ctx ends, and is called again later
// if it fails. Close of what it returns must end a Read that is under way.
type Dialer func(ctx context.Context, d Dial) (net.Conn, error)

// DialHost is the Dialer for the daemon's own namespace; it refuses any other.
func DialHost(ctx context.Context, d Dial) (net.Conn, error) {
	if d.Namespace != "" {
		return nil, fmt.Errorf("network namespace %s can't be used here", d.Namespace)
	}
	var dialer net.Dialer
	if d.Source.IsValid() {
		from := netip.AddrPortFrom(d.Source, 0)
		dialer.LocalAddr = net.UDPAddrFromAddrPort(from)
		if d.Network == "tcp" {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
	}
	if d.Interface != "" {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), d.Interface) }); e != nil {
				return e
			}
			if err != nil {
				return fmt.Errorf("use interface %s: %w", d.Interface, err)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, d.Network, d.Remote.String())
}

// localAddr is our end of c.
func localAddr(c net.Conn) netip.Addr {
	if a, ok := c.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
