package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// DialSpec is a way to a server of the operator's, as a RADIUS server.
type DialSpec struct {
	Network   string // "udp": connected only, no packet is sent; "tcp"
	Namespace string // below /run/netns; "" is the daemon's own
	Remote    netip.AddrPort
	Source    netip.Addr // our address; zero: what the route says
	Interface string     // the only interface that packets may leave by and come in by; "": any
}

// Dial implements Opener.
func (Linux) Dial(ctx context.Context, spec DialSpec) (net.Conn, error) {
	d := net.Dialer{FallbackDelay: -1} // one address, on this thread
	d.SetMultipathTCP(false)
	if spec.Source.IsValid() {
		from := netip.AddrPortFrom(spec.Source, 0)
		switch spec.Network {
		case "udp":
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		default:
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
	}
	if spec.Interface != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), spec.Interface) }); cerr != nil {
				return cerr
			}
			if err != nil {
				return fmt.Errorf("interface %s: %w", spec.Interface, err)
			}
			return nil
		}
	}
	return abroad(spec.Namespace, func() (net.Conn, error) { return d.DialContext(ctx, spec.Network, spec.Remote.String()) })
}

// ListenUDP implements Opener.
func (Linux) ListenUDP(namespace string, addr netip.AddrPort) (net.PacketConn, error) {
	network := "udp"
	if addr.Addr().Is4() { // else 0.0.0.0 would be all of IPv6 too
		network = "udp4"
	}
	return abroad(namespace, func() (net.PacketConn, error) {
		return net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	})
}

// abroad runs open in a namespace and closes what it opened if the way back fails.
func abroad[T interface{ Close() error }](namespace string, open func() (T, error)) (T, error) {
	var none T
	h, err := netns.Open(namespace)
	if err != nil {
		return none, err
	}
	var got T
	err = h.Do(func() (err error) {
		got, err = open()
		return err
	})
	if cerr := h.Close(); err == nil && cerr != nil {
		return none, errors.Join(cerr, got.Close())
	}
	if err != nil {
		return none, err
	}
	return got, nil
}
