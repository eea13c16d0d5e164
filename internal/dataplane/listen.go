package dataplane

import (
	"context"
	"net"
	"net/netip"

	"concentrator/internal/dataplane/netio"
)

// ListenTCP opens a listening TCP socket in a namespace that exists, "" for the daemon's own: a control connection's
// door stands where its GRE comes in. The listener is the caller's.
func (d *Dataplane) ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error) {
	return d.opener.ListenTCP(namespace, addr)
}

// ListenUDP opens a UDP socket for the control side in a namespace that exists. The socket is the caller's.
func (d *Dataplane) ListenUDP(namespace string, addr netip.AddrPort) (net.PacketConn, error) {
	return d.opener.ListenUDP(namespace, addr)
}

// Dial connects to a server of the operator's, as RADIUS. The connection is the caller's.
func (d *Dataplane) Dial(ctx context.Context, spec netio.DialSpec) (net.Conn, error) {
	return d.opener.Dial(ctx, spec)
}
