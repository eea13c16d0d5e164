package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"concentrator/internal/dataplane/netns"
)

// ListenTCP implements Opener.
func (Linux) ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error) {
	h, err := netns.Open(namespace)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	err = h.Do(func() (err error) {
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(false) // the GRE of a call runs between the addresses of its one TCP path
		l, err = cfg.Listen(context.Background(), "tcp4", addr.String())
		return err
	})
	if cerr := h.Close(); err == nil && cerr != nil {
		return nil, errors.Join(cerr, l.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}
