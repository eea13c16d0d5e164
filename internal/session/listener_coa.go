package session

import (
	"errors"
	"fmt"
	"net"

	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// coaSocket is an open one.
type coaSocket struct {
	net.PacketConn
	place place // guarded by Manager.passing
}

// reconcileCoA opens the socket for CoA- and Disconnect-Requests (RFC 5176) in the daemon's namespace and in each that a
// RADIUS server is reached in, while somebody may send any.
func (m *Manager) reconcileCoA() error {
	if !m.cfg.CoA.IsValid() {
		return nil
	}
	want := make(map[string]bool)
	m.radiusMu.Lock()
	for _, t := range m.radius {
		for _, r := range t.records {
			if !r.CoADisabled && r.Transport != store.TransportTLS { // TLS brings them over our own connections
				want[r.Namespace] = true
			}
		}
	}
	m.radiusMu.Unlock()
	var errs []error
	for namespace, c := range m.coaSockets {
		if !want[namespace] || c.place.moved {
			delete(m.coaSockets, namespace)
			errs = append(errs, c.Close())
		}
	}
	for namespace := range want {
		if m.coaSockets[namespace] != nil {
			continue
		}
		c, err := m.cfg.Plane.ListenUDP(namespace, m.cfg.CoA)
		if err != nil {
			errs = append(errs, fmt.Errorf("CoA on %s in namespace %q: %w", m.cfg.CoA, namespace, err))
			continue
		}
		m.coaSockets[namespace] = &coaSocket{PacketConn: c}
		m.wg.Go(func() { m.serveCoA(namespace, c) })
		m.log.Info("CoA socket open", telemetry.Address, c.LocalAddr(), telemetry.Namespace, namespace)
	}
	return errors.Join(errs...)
}

// serveCoA serves a socket. One that was lost, with its namespace, is opened anew by the next pass.
func (m *Manager) serveCoA(namespace string, c net.PacketConn) {
	err := m.coa.Serve(c)
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	m.log.Error("CoA socket lost", telemetry.Namespace, namespace, telemetry.Error, err)
	m.passing.Lock()
	defer m.passing.Unlock()
	if have := m.coaSockets[namespace]; have != nil && have.PacketConn == c {
		delete(m.coaSockets, namespace)
		m.poke()
	}
}

// closeCoA takes no further requests. passing must be held.
func (m *Manager) closeCoA() {
	for namespace, c := range m.coaSockets {
		c.Close() //nolint:errcheck // a UDP socket
		delete(m.coaSockets, namespace)
	}
	m.coa.Close()
}
