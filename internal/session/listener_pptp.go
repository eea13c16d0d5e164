package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// pptpSpec is what a listener asks for with PPTP.
type pptpSpec struct {
	namespace string
	addr      netip.Addr
}

// pptpListener is an open one.
type pptpListener struct {
	pptpSpec
	listener net.Listener
	place    place // guarded by Manager.passing
}

func (m *Manager) reconcilePPTP(want map[string]pptpSpec) error {
	var errs []error
	m.mu.Lock()
	have := make(map[string]*pptpListener, len(m.listeners))
	for name, l := range m.listeners {
		have[name] = l
	}
	m.mu.Unlock()
	for name, l := range have {
		w, ok := want[name]
		if ok && w == l.pptpSpec && !l.place.moved {
			delete(want, name)
			continue
		}
		stays := ok && w.namespace == l.namespace && !l.place.moved
		if stays {
			// Its sessions go on, so GRE must not close between the old address and the new one.
			if err := m.cfg.Plane.OpenGRE(l.namespace); err != nil {
				m.failed(name, fmt.Errorf("keep GRE: %w", err), &errs)
			} else {
				defer m.closeGRE(l.namespace)
			}
		}
		m.closePPTP(name, l)
		if !stays {
			m.endWhere(func(i Info) bool {
				return i.Listener == name && i.Protocol == tenant.ProtocolPPTP
			}, "the listener was removed or moved")
		}
	}
	for name, w := range want {
		if err := m.openPPTP(name, w); err != nil {
			m.failed(name, err, &errs)
		}
	}
	return errors.Join(errs...)
}

// openPPTP opens GRE before TCP: the first call may come with the first connection.
func (m *Manager) openPPTP(name string, spec pptpSpec) error {
	if err := m.cfg.Plane.OpenGRE(spec.namespace); err != nil {
		return fmt.Errorf("open GRE: %w", err)
	}
	addr := netip.AddrPortFrom(spec.addr, wire.Port)
	ln, err := m.cfg.Plane.ListenTCP(spec.namespace, addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, errors.Join(err, m.cfg.Plane.CloseGRE(spec.namespace)))
	}
	m.mu.Lock()
	m.listeners[name] = &pptpListener{pptpSpec: spec, listener: ln}
	m.mu.Unlock()
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		if err := m.pptp.Serve(ln, name); err != nil && !errors.Is(err, net.ErrClosed) {
			m.log.Error("listener ended", telemetry.Listener, name, telemetry.Error, err)
		}
	}()
	m.log.Info("listening", telemetry.Listener, name, telemetry.Address, addr, telemetry.Protocol, tenant.ProtocolPPTP)
	return nil
}

func (m *Manager) closePPTP(name string, l *pptpListener) {
	m.mu.Lock()
	delete(m.listeners, name)
	m.mu.Unlock()
	if err := errors.Join(l.listener.Close(), m.cfg.Plane.CloseGRE(l.namespace)); err != nil {
		m.log.Warn("listener not closed cleanly", telemetry.Listener, name, telemetry.Error, err)
	}
	m.log.Info("listener closed", telemetry.Listener, name, telemetry.Protocol, tenant.ProtocolPPTP)
}

func (m *Manager) closeGRE(namespace string) {
	if err := m.cfg.Plane.CloseGRE(namespace); err != nil {
		m.log.Warn("GRE not closed cleanly", telemetry.Namespace, namespace, telemetry.Error, err)
	}
}
