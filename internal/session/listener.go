package session

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// reconcileListeners opens and closes what listeners ask for. Each protocol family of a listener stands by itself, so
// that a change of the one leaves the other alone.
func (m *Manager) reconcileListeners() error {
	records, err := all(m, "", func(l *store.Listener) string { return l.Name })
	if err != nil {
		return err
	}
	clear(m.listenerTroubles.pass)
	defer m.listenerTroubles.tell(m.cfg.Faults)
	var errs []error
	pptp, udp := make(map[string]pptpSpec), make(map[string]udpSpec)
	for _, l := range records {
		m.warnUnserved(l)
		addr, err := netip.ParseAddr(l.Address)
		if err != nil {
			m.failed(l.Name, fmt.Errorf("address: %w", err), &errs)
			continue
		}
		if slices.Contains(l.Protocols, tenant.ProtocolPPTP) {
			pptp[l.Name] = pptpSpec{namespace: l.Namespace, addr: addr}
		}
		spec := udpSpec{
			namespace: l.Namespace, addr: addr,
			ipsec: slices.Contains(l.Protocols, tenant.ProtocolL2TPIPsec),
		}
		plain := slices.Contains(l.Protocols, tenant.ProtocolL2TP)
		spec.plain = plain && m.plainAllowed(l)
		if spec.ipsec || plain {
			udp[l.Name] = spec
		}
	}
	m.wanted.setListeners(slices.Collect(maps.Keys(pptp)), slices.Collect(maps.Keys(udp)))
	return errors.Join(append(errs, m.reconcilePPTP(pptp), m.reconcileUDP(udp))...)
}

// failed notes that a listener is not what it should be. passing must be held.
func (m *Manager) failed(listener string, err error, errs *[]error) {
	*errs = append(*errs, fmt.Errorf("%s: %w", listener, err))
	note(m.listenerTroubles.pass, listener, errors.Join(m.listenerTroubles.pass[listener], err))
}

// plainAllowed says whether L2TP outside IPsec can come to anything: the profile that the listener offers first, or one
// of those, must set allowPlaintext. If none does, such packets are dropped where they come in.
func (m *Manager) plainAllowed(l *store.Listener) bool {
	e, err := m.enter(&carrier{protocol: tenant.ProtocolL2TP, listener: l.Name})
	allowed := err == nil && len(e.methods) > 0
	if warning := l.Name + " plain"; allowed {
		delete(m.warned, warning)
	} else if m.once(warning) {
		m.log.Warn("L2TP outside IPsec is dropped", telemetry.Listener, l.Name, telemetry.Detail, cmp.Or(e.nothing, fmt.Sprint(err)))
	}
	return allowed
}

// served are the protocols that a listener can have.
var served = []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP}

// warnUnserved says once what a listener asks for and does not get.
func (m *Manager) warnUnserved(l *store.Listener) {
	for _, p := range l.Protocols {
		if !slices.Contains(served, p) && m.once(l.Name+" "+string(p)) {
			m.log.Warn("protocol not served", telemetry.Listener, l.Name, telemetry.Protocol, p)
		}
	}
}

// once says whether a warning is to be given: the first time that it is asked. passing must be held.
func (m *Manager) once(warning string) bool {
	if m.warned[warning] {
		return false
	}
	m.warned[warning] = true
	return true
}
