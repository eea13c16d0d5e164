package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

const (
	// settle is how long the reconciler lets changes gather: an apply of many documents is one pass, not many.
	settle = 20 * time.Millisecond
	// retryAfter is when it tries again what failed: a port in use, a namespace that is not there yet. It doubles each time,
	// until maxRetryAfter.
	retryAfter    = time.Second
	maxRetryAfter = 16 * time.Second
	// networksAtOnce is how many networks are opened, or closed, at a time.
	networksAtOnce = 8
)

// errPass is what a step of a pass has come to that has panicked.
var errPass = errors.New("a fault of the server's own")

type netState struct {
	spec    dataplane.NetworkSpec
	network Network
	closed  chan struct{} // closed when we close it
	anew    *atomic.Bool  // it must be opened anew
}

// lost says whether the device, or its namespace, was taken from under us.
func (n *netState) lost() bool {
	if n.anew.Load() {
		return true
	}
	select {
	case <-n.network.Lost():
		return true
	default:
		return false
	}
}

// mourn waits for the loss of a network, and has it opened anew.
func (m *Manager) mourn(tenantName string, n *netState) {
	defer m.wg.Done()
	select {
	case <-n.network.Lost():
		m.passing.Lock()
		if !m.over {
			m.netTroubles.look[tenantName] = errLost
			m.netTroubles.tell(m.cfg.Faults)
		}
		m.passing.Unlock()
		m.log.Error("network lost: its device is gone", telemetry.Tenant, tenantName)
		m.poke()
	case <-n.closed:
	}
}

type poolState struct {
	tenant   string
	prefixes []netip.Prefix
	gateway  netip.Addr
}

// reconcileLoop brings the world to what the store says, now and after each change.
func (m *Manager) reconcileLoop(ctx context.Context, ready func()) error {
	from, err := m.cfg.Store.Revision()
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	watchErr := make(chan error, 1)
	go func() { watchErr <- m.follow(ctx, from) }()
	retry, wait := time.NewTimer(0), retryAfter
	defer retry.Stop()
	look := time.NewTicker(inspectEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			<-watchErr //nolint:errcheck // ctx's own
			return nil
		case err := <-watchErr:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow the store: %w", err)
		case <-look.C:
			m.cfg.Faults.Guard(m.log, "reconciler", m.inspect)
			continue
		case <-retry.C:
		case <-m.changed:
			wait = retryAfter
			select {
			case <-time.After(settle):
			case <-ctx.Done():
			}
			select {
			case <-m.changed:
			default:
			}
		}
		if m.reconcile() {
			retry.Reset(wait)
			wait = min(2*wait, maxRetryAfter)
		}
		if ready != nil {
			ready()
			ready = nil
		}
	}
}

// reconcile makes one pass: pools, networks, listeners. It says whether something failed and wants another try. Once
// closeBooks has been there nothing is opened again.
func (m *Manager) reconcile() (again bool) {
	m.passing.Lock()
	defer m.passing.Unlock()
	if m.over {
		return false
	}
	failure := ""
	for _, step := range []func() error{
		m.reconcilePools, m.reconcileNetworks, m.reconcilePolicies, m.reconcileRadius, m.reconcileBooks, m.reconcileACLs, m.reconcileGuesses,
		m.reconcileListeners, // last: who comes in finds all the rest
	} {
		err := errPass
		m.cfg.Faults.Guard(m.log, "reconciler", func() { err = step() })
		if err != nil {
			failure += err.Error() + "\n"
			if !strings.Contains(m.lastFailure, err.Error()) { // else as at the last try
				m.log.Error("state not brought up", telemetry.Error, err)
			}
			again = true
		}
	}
	m.lastFailure = failure
	return again
}

// poke asks for a pass.
func (m *Manager) poke() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// shapes says whether a pass looks at records of a kind. Users are read when they log in, and what belongs to the API alone
// changes nothing here: thousands of them that come at once must not keep passes busy.
func shapes(k store.Kind) bool {
	return slices.Contains([]store.Kind{
		store.KindTenant, store.KindProfile, store.KindPool, store.KindACL, store.KindRadiusServer, store.KindListener,
	}, k)
}

// follow pokes after each change of the store that a pass looks at. Which one it was does not matter: a pass looks at all.
func (m *Manager) follow(ctx context.Context, from int64) error {
	for {
		for c, err := range m.cfg.Store.Watch(ctx, "", from) {
			if errors.Is(err, store.ErrCompacted) {
				break
			}
			if err != nil {
				return err
			}
			if shapes(c.Kind) {
				m.poke()
			}
		}
		// Too far behind: a pass sees the present state anyhow, and the watch goes on from there.
		rev, err := m.cfg.Store.Revision()
		if err != nil {
			return err
		}
		from = rev
		m.poke()
	}
}

// all reads every record of a kind below parent, page by page. name gives a record's resource name.
func all[T store.Record](m *Manager, parent string, name func(*T) string) (out []*T, err error) {
	for after := ""; ; {
		page, more, err := store.List[T](m.cfg.Store, parent, after, 1000)
		if err != nil {
			return nil, fmt.Errorf("read the store: %w", err)
		}
		out = append(out, page...)
		if !more {
			return out, nil
		}
		after = name(page[len(page)-1])
	}
}

func (m *Manager) reconcilePools() error {
	records, err := all(m, "tenants/-", func(p *store.Pool) string { return p.Name })
	if err != nil {
		return err
	}
	m.mu.Lock()
	have := m.pools
	m.mu.Unlock()
	want := make(map[string]poolState)
	there := make(map[string]bool, len(records))
	var errs []error
	for _, p := range records {
		there[p.Name] = true
		spec := ippool.Spec{Ranges: p.Ranges, Gateway: p.Gateway, Exclude: p.Exclude, Quarantine: p.Quarantine}
		parsed, err := ippool.ParseSpec(spec)
		if err == nil {
			err = m.cfg.Pools.Configure(p.Name, spec)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
			if before, ok := have[p.Name]; ok { // it stays as it was: sessions have addresses of it
				want[p.Name] = before
			}
			continue
		}
		want[p.Name] = poolState{tenant: store.TenantOf(p.Name), prefixes: parsed.Prefixes(), gateway: parsed.Gateway()}
	}
	m.mu.Lock()
	m.pools = want
	m.mu.Unlock()
	for name := range have {
		if _, ok := want[name]; !ok {
			m.cfg.Pools.Remove(name)
		}
	}
	m.cfg.Pools.Retain(func(name string) bool { return there[name] })
	return errors.Join(errs...)
}

// onlyPool is a tenant's pool where there is just one.
func (m *Manager) onlyPool(tenantName string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	only := ""
	for name, p := range m.pools {
		if p.tenant != tenantName {
			continue
		}
		if only != "" {
			return ""
		}
		only = name
	}
	return only
}

func (m *Manager) reconcileNetworks() error {
	tenants, err := all(m, "", func(t *store.Tenant) string { return t.Name })
	if err != nil {
		return err
	}
	want := make(map[string]dataplane.NetworkSpec)
	for _, t := range tenants {
		want[t.Name] = m.networkSpec(t)
	}
	m.wanted.setNetworks(slices.Collect(maps.Keys(want)))
	clear(m.netTroubles.pass)
	defer m.netTroubles.tell(m.cfg.Faults)
	var errs []error
	m.mu.Lock()
	have := make(map[string]*netState, len(m.networks))
	for name, n := range m.networks {
		have[name] = n
	}
	m.mu.Unlock()
	// First what goes, so that its device name and namespace are free for what comes.
	stale := make(map[string]*netState)
	for name, n := range have {
		spec, ok := want[name]
		if ok && !n.lost() && spec.Namespace == n.spec.Namespace && spec.Device == n.spec.Device && spec.MTU == n.spec.MTU {
			continue
		}
		stale[name] = n
		delete(have, name)
	}
	errs = append(errs, m.closeNetworks(stale))
	fresh := make(map[string]dataplane.NetworkSpec)
	for name, spec := range want {
		n := have[name]
		if n == nil {
			fresh[name] = spec
			continue
		}
		if !reflect.DeepEqual(n.spec, spec) {
			if err := n.network.Update(spec); err != nil {
				m.netTroubles.pass[name] = err
				errs = append(errs, fmt.Errorf("change the network of %s: %w", name, err))
				continue
			}
			m.setNetwork(name, &netState{spec, n.network, n.closed, n.anew})
		}
	}
	return errors.Join(append(errs, m.openNetworks(fresh))...)
}

// closeNetworks ends the sessions of networks and closes them.
func (m *Manager) closeNetworks(stale map[string]*netState) error {
	return eachNetwork(m, stale, func(name string, n *netState) error {
		m.setNetwork(name, nil)
		close(n.closed)
		m.netTroubles.forget(name)
		m.endWhere(func(i Info) bool { return i.Tenant == name }, "the tenant's network was removed, moved or lost")
		if err := n.network.Close(); err != nil {
			return fmt.Errorf("close the network of %s: %w", name, err)
		}
		return nil
	})
}

// openNetworks opens networks.
func (m *Manager) openNetworks(specs map[string]dataplane.NetworkSpec) error {
	return eachNetwork(m, specs, func(name string, spec dataplane.NetworkSpec) error {
		opened, err := m.cfg.Plane.OpenNetwork(spec)
		if err != nil {
			m.netTroubles.failed(name, err)
			return fmt.Errorf("open the network of %s: %w", name, err)
		}
		n := &netState{spec, opened, make(chan struct{}), new(atomic.Bool)}
		m.setNetwork(name, n)
		m.wg.Add(1)
		go m.mourn(name, n)
		m.log.Info("network up", telemetry.Tenant, name, telemetry.Device, spec.Device, telemetry.Namespace, spec.Namespace)
		return nil
	})
}

// eachNetwork calls f for networks by the names of their tenants, several at a time: most of the milliseconds that one takes
// are spent waiting for the kernel.
func eachNetwork[T any](m *Manager, networks map[string]T, f func(name string, of T) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards errs
		errs  []error
		turns = make(chan struct{}, networksAtOnce)
	)
	for name, of := range networks {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			err := errPass
			m.cfg.Faults.Guard(m.log, name, func() { err = f(name, of) })
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (m *Manager) setNetwork(tenantName string, n *netState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n == nil {
		delete(m.networks, tenantName)
		return
	}
	m.networks[tenantName] = n
}

// networkSpec is the network that a tenant and its pools ask for.
func (m *Manager) networkSpec(t *store.Tenant) dataplane.NetworkSpec {
	spec := dataplane.NetworkSpec{
		Tenant: t.Name, Namespace: t.Network.Namespace, Device: t.Network.Device, MTU: t.Network.MTU,
		ClientToClient: t.Network.ClientToClient, Masquerade: t.Network.Masquerade,
		ProxyARP: t.Network.ProxyArp, Uplink: uplinkOf(t.Network.Uplink),
	}
	if spec.Device == "" {
		spec.Device = deviceName(strings.TrimPrefix(t.Name, "tenants/"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pools {
		if p.tenant == t.Name {
			spec.Gateways = append(spec.Gateways, p.gateway)
			spec.Routes = append(spec.Routes, p.prefixes...)
		}
	}
	slices.SortFunc(spec.Gateways, netip.Addr.Compare)
	slices.SortFunc(spec.Routes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return spec
}

// uplinkOf reads a record's uplink, which the API has checked; what can't be read is left to the plane to refuse.
func uplinkOf(u store.Uplink) (out dataplane.Uplink) {
	if p, err := netip.ParsePrefix(u.Address); err == nil {
		out.Address = p
	}
	if a, err := netip.ParseAddr(u.Gateway); err == nil {
		out.Gateway = a
	}
	return out
}

// deviceName makes a name for a tenant's TUN device: the kernel takes 15 octets, so a long ID ends in a hash of itself.
func deviceName(id string) string {
	const prefix, most = "vpn-", 15
	if len(prefix)+len(id) <= most {
		return prefix + id
	}
	sum := sha256.Sum256([]byte(id))
	return prefix + id[:4] + "-" + hex.EncodeToString(sum[:3])
}

// endWhere ends the sessions that match, at once, and waits until they are gone.
func (m *Manager) endWhere(match func(Info) bool, detail string) {
	m.mu.Lock()
	var list []*session
	for _, s := range m.sessions {
		if match(s.snapshot()) {
			list = append(list, s)
		}
	}
	m.mu.Unlock()
	for _, s := range list {
		s.force(forcedEnd{reason: tenant.ReasonAdminDisconnect, detail: detail})
	}
	for _, s := range list {
		<-s.done
	}
}

// closeAll closes listeners and RADIUS clients, at the end. Networks are the plane's to stop: closing one here would
// also remove its namespace, with what an operator has put there, and that goes with its tenant only.
func (m *Manager) closeAll() {
	m.passing.Lock()
	defer m.passing.Unlock()
	m.over = true
	m.mu.Lock()
	listeners, faces, networks := m.listeners, m.faces, m.networks
	m.listeners, m.faces, m.networks = map[string]*pptpListener{}, map[string]*udpFace{}, map[string]*netState{}
	m.mu.Unlock()
	for name, l := range listeners {
		m.closePPTP(name, l)
	}
	m.peers.closeAll()
	for _, f := range faces {
		f.close()
	}
	for _, n := range networks {
		close(n.closed)
	}
	m.closeCoA()
	m.radiusMu.Lock()
	clients := slices.Collect(maps.Keys(m.retired))
	for _, t := range m.radius {
		if t.client != nil {
			clients = append(clients, t.client)
		}
	}
	m.radiusOver, m.radius = true, map[string]*radiusTenant{}
	m.radiusMu.Unlock()
	for _, c := range clients {
		c.Close()
	}
}
