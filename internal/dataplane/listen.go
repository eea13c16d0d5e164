package dataplane

import (
	"net"
	"net/netip"
)

// ListenTCP opens a listening TCP socket in a namespace that exists, "" for the daemon's own: a control connection's
// door stands where its GRE comes in. The listener is the caller's.
func (d *Dataplane) ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error) {
	return d.opener.ListenTCP(namespace, addr)
}
