package netio

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// ListenTCP implements Opener.
func (Linux) ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error) {
	return abroad(namespace, func() (net.Listener, error) {
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(false) // the GRE of a call runs between the addresses of its one TCP path
		l, err := cfg.Listen(context.Background(), "tcp4", addr.String())
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		return l, nil
	})
}
