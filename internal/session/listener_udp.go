package session

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// udpSpec is what a listener asks for with L2TP.
type udpSpec struct {
	namespace string
	addr      netip.Addr
	ipsec     bool // UDP 500 and 4500, and ESP
	plain     bool // L2TP outside IPsec is wanted
}

// udpFace is a listener's UDP sockets: 500, 4500 and ESP where it names L2TP_IPSEC, and 1701 in any case.
type udpFace struct {
	m     *Manager
	name  string
	place place // guarded by Manager.passing
	udpSpec

	// Messages outside IPsec that wait for the errand goroutine: of tunnels that there are, and of those that want to be.
	controls, requests atomic.Int32

	mu      sync.Mutex
	open    Datagrams         // nil until they are
	closing bool              // no peer comes in any more
	tunnels map[plainPeer]int // of L2TP outside IPsec
}

var _ dataplane.DatagramSink = (*udpFace)(nil)

func (m *Manager) reconcileUDP(want map[string]udpSpec) error {
	var errs []error
	m.mu.Lock()
	have := make(map[string]*udpFace, len(m.faces))
	for name, f := range m.faces {
		have[name] = f
	}
	m.mu.Unlock()
	for name, f := range have {
		w, ok := want[name]
		if ok && w.namespace == f.namespace && w.addr == f.addr && w.ipsec == f.ipsec && !f.place.moved {
			f.setPlain(w.plain)
			delete(want, name)
			continue
		}
		m.closeUDP(f)
	}
	for name, w := range want {
		if err := m.openUDP(name, w); err != nil {
			m.failed(name, err, &errs)
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) openUDP(name string, spec udpSpec) error {
	f := &udpFace{m: m, name: name, udpSpec: spec, tunnels: make(map[plainPeer]int)}
	d, err := m.cfg.Plane.OpenDatagrams(dataplane.DatagramSpec{
		Namespace: spec.namespace, Address: spec.addr, IPsec: spec.ipsec, Plain: spec.plain, Sink: f,
	})
	if err != nil {
		return fmt.Errorf("open UDP of %s: %w", spec.addr, err)
	}
	f.mu.Lock()
	f.open = d
	f.mu.Unlock()
	m.mu.Lock()
	m.faces[name] = f
	m.mu.Unlock()
	for p, wanted := range map[tenant.Protocol]bool{tenant.ProtocolL2TPIPsec: spec.ipsec, tenant.ProtocolL2TP: spec.plain} {
		if wanted {
			m.log.Info("listening", telemetry.Listener, name, telemetry.Address, spec.addr, telemetry.Protocol, p)
		}
	}
	return nil
}

// farewell is how long a listener that closes waits until IKE has told its clients.
const farewell = 2 * time.Second

// closeUDP takes a listener's L2TP away with all that came by it.
func (m *Manager) closeUDP(f *udpFace) {
	const why = "the listener was removed or changed"
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	m.endWhere(func(i Info) bool { return i.Listener == f.name && i.Protocol != tenant.ProtocolPPTP }, why)
	f.endPlain(why)
	gone := m.peers.at(func(p *ipsecPeer) bool { return p.face == f })
	for _, p := range gone {
		p.drop(tenant.ReasonAdminDisconnect, why)
	}
	for until := time.Now().Add(farewell); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(gone, func(p *ipsecPeer) bool { return len(p.holding()) > 0 }) {
			break
		}
	}
	m.mu.Lock()
	delete(m.faces, f.name)
	m.mu.Unlock()
	f.close()
	m.log.Info("listener closed", telemetry.Listener, f.name, telemetry.Protocol, tenant.ProtocolL2TP)
}

// welcome says whether peers may still come in.
func (f *udpFace) welcome() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.closing
}

func (f *udpFace) close() {
	if err := f.datagrams().Close(); err != nil {
		f.m.log.Warn("listener not closed cleanly", telemetry.Listener, f.name, telemetry.Error, err)
	}
}

// face finds a listener's UDP sockets; nil if it has none.
func (m *Manager) face(listener string) *udpFace {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faces[listener]
}

func (f *udpFace) datagrams() Datagrams {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// setPlain lets L2TP outside IPsec in or not, without a touch to what IPsec protects.
func (f *udpFace) setPlain(plain bool) {
	f.mu.Lock()
	changed := f.plain != plain
	f.plain = plain
	f.mu.Unlock()
	if !changed {
		return
	}
	f.datagrams().SetPlain(plain)
	if !plain {
		const why = "the listener takes no L2TP outside IPsec any more"
		f.m.endWhere(func(i Info) bool { return i.Listener == f.name && i.Protocol == tenant.ProtocolL2TP }, why)
		f.endPlain(why)
	}
}

// tunnel counts the tunnels of a peer outside IPsec.
func (f *udpFace) tunnel(p plainPeer, more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tunnels[p] += more; f.tunnels[p] <= 0 {
		delete(f.tunnels, p)
	}
}

// endPlain ends all tunnels outside IPsec.
func (f *udpFace) endPlain(why string) {
	f.mu.Lock()
	var list []plainPeer
	for p := range f.tunnels {
		list = append(list, p)
	}
	f.mu.Unlock()
	for _, p := range list {
		f.m.l2tp.PeerGone(p, tenant.ReasonAdminDisconnect, why)
	}
}

// IKE implements dataplane.DatagramSink on a shard's thread.
func (f *udpFace) IKE(local, remote netip.AddrPort, msg []byte) {
	f.m.ike.Receive(ikev1.Path{Listener: f.name, Local: local, Remote: remote}, msg)
}

// PlainL2TP implements dataplane.DatagramSink on a shard's thread.
func (f *udpFace) PlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte) {
	p := plainPeer{f, local, remote}
	if !f.m.l2tp.Welcome(p, remote.Port(), msg) {
		return
	}
	waiting, most := &f.controls, int32(maxPlainControls)
	if h, _, err := wire.ParseHeader(msg); err != nil || h.TunnelID == 0 {
		waiting, most = &f.requests, maxPlainRequests
	}
	if !f.m.errands.control(waiting, most, func() { f.m.l2tp.Receive(p, remote.Port(), msg) }) {
		f.m.flooded.Add(1)
	}
}
