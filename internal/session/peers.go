package session

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
	wirel2tp "concentrator/internal/wire/l2tp"
)

const (
	// silence is for how long a peer must have sent nothing before another one may take over its tunnels.
	silence = 2 * time.Second
	// waitingPerSource is how many peers of one address may be without a tunnel at a time, unless the tenant's
	// halfOpenPerSource is higher or off. They hold keys and have proved one, so it is more than for calls: all clients
	// behind a NAT may come at once.
	waitingPerSource = 64
)

// peerKey is what makes a peer: who it is and where it is.
type peerKey struct {
	face     *udpFace
	tenant   string
	identity string
	remote   netip.AddrPort
}

// peers are the IPsec peers of the instance. It is safe for concurrent use.
type peers struct {
	m *Manager

	mu    sync.Mutex // taken before ipsecPeer.mu
	all   map[*ipsecPeer]peerKey
	byKey map[peerKey]*ipsecPeer
	fresh map[*ipsecPeer]struct{} // all that wait for their first tunnel, and some that have waited for it

	ending sync.WaitGroup // ends that timers and others have begun; Add is called under ipsecPeer.mu
}

func newPeers(m *Manager) *peers {
	return &peers{m: m, all: make(map[*ipsecPeer]peerKey), byKey: make(map[peerKey]*ipsecPeer), fresh: make(map[*ipsecPeer]struct{})}
}

// established finds or makes the peer of an ISAKMP SA. The same tenant, identity, address and port is the same peer:
// macOS makes a new ISAKMP SA every 48 minutes while its ESP SAs live on.
func (ps *peers) established(f *udpFace, sa ikev1.SA) (*ipsecPeer, error) {
	key := peerKey{f, sa.Tenant, sa.Identity.String(), sa.Path.Remote}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !f.welcome() { // asked under mu, so that who closes it sees all that came before
		return nil, &ikev1.RefusedError{Reason: tenant.ReasonDraining, Detail: f.name + " closes"}
	}
	if p := ps.byKey[key]; p != nil && p.established() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.path, p.nat = sa.Path, sa.NAT
		return p, nil
	}
	if ps.m.draining.Load() && !ps.known(key) {
		return nil, &ikev1.RefusedError{Reason: tenant.ReasonDraining, Detail: drained}
	}
	if err := ps.room(key); err != nil {
		return nil, err
	}
	p := &ipsecPeer{
		m: ps.m, face: f, tenant: sa.Tenant, identity: key.identity, subject: sa.Authentication != wireike.AuthPSK,
		path: sa.Path, nat: sa.NAT, tunnels: make(map[uint16]struct{}), held: make(map[*ipsecPeer]struct{}),
	}
	var err error
	p.plane, err = ps.m.cfg.Plane.OpenPeer(f.datagrams(), dataplane.PeerSpec{
		Local: sa.Path.Local.Addr(), Remote: sa.Path.Remote, Shard: p.shard(ps.m.cfg.Plane.Shards()), Sink: p,
	})
	if err != nil {
		return nil, fmt.Errorf("open peer: %w", err)
	}
	p.established()
	ps.all[p], ps.byKey[key], ps.fresh[p] = key, p, struct{}{}
	ps.m.reach(p.tenant, tenant.ProtocolL2TPIPsec, sa.Path.Remote, tenant.StageIKEMainMode)
	ps.m.log.Debug("peer", telemetry.Tenant, p.tenant, telemetry.Peer, sa.Path.Remote, telemetry.Identity, p.identity,
		telemetry.Listener, f.name, telemetry.Shard, p.plane.Shard())
	return p, nil
}

// shard is where the peer lives. Peers that may be merged live on one.
func (p *ipsecPeer) shard(shards int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.tenant + "\x00" + p.identity)) // never fails
	if !p.subject {
		_, _ = h.Write(p.path.Remote.Addr().AsSlice())
	}
	return int(h.Sum32() % uint32(shards))
}

// known says whether a peer may be one that is here already, behind another port: its way through a NAT may have changed.
// mu must be held.
func (ps *peers) known(key peerKey) bool {
	for _, k := range ps.all {
		if k.face == key.face && k.tenant == key.tenant && k.identity == key.identity && k.remote.Addr() == key.remote.Addr() {
			return true
		}
	}
	return false
}

// room refuses a new peer where there are too many. mu must be held.
func (ps *peers) room(key peerKey) error {
	if most := 2*ps.m.cfg.MaxSessions + waitingPerSource; len(ps.all) >= most {
		return &ikev1.RefusedError{Reason: tenant.ReasonInstanceLimit, Detail: fmt.Sprintf("%d IPsec peers are connected", len(ps.all))}
	}
	most := waitingPerSource
	if t, err := store.Shared[store.Tenant](ps.m.cfg.Store, key.tenant); err == nil && t.Limits.HalfOpenPerSource != nil {
		if *t.Limits.HalfOpenPerSource == 0 {
			return nil
		}
		most = max(most, *t.Limits.HalfOpenPerSource)
	}
	waiting := 0
	for p := range ps.fresh {
		if !p.waiting() {
			delete(ps.fresh, p)
		} else if ps.all[p].remote.Addr() == key.remote.Addr() {
			waiting++
		}
	}
	if waiting >= most {
		return &ikev1.RefusedError{
			Reason: tenant.ReasonInstanceLimit,
			Detail: fmt.Sprintf("%d IPsec peers of %s have made no tunnel yet", waiting, key.remote.Addr()),
		}
	}
	return nil
}

// waiting says whether the peer has had no tunnel yet.
func (p *ipsecPeer) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.life.tunnel
}

// move notes where a peer is now.
func (ps *peers) move(p *ipsecPeer, path ikev1.Path) {
	ps.mu.Lock()
	key, listed := ps.all[p]
	p.mu.Lock()
	changed := p.path.Remote != path.Remote
	p.path = path
	p.mu.Unlock()
	if listed && changed {
		if ps.byKey[key] == p {
			delete(ps.byKey, key)
		}
		// Another peer may be known there still; the NAT has given its place to this one.
		key.remote = path.Remote
		ps.all[p], ps.byKey[key] = key, p
	}
	ps.mu.Unlock()
	if changed {
		ps.m.clientMoved(p, path.Remote)
	}
}

// remove takes a peer that ended out of the lists.
func (ps *peers) remove(p *ipsecPeer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := ps.all[p]
	delete(ps.all, p)
	delete(ps.fresh, p)
	if ps.byKey[key] == p {
		delete(ps.byKey, key)
	}
}

// at returns the peers, or those that match.
func (ps *peers) at(match func(*ipsecPeer) bool) (out []*ipsecPeer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for p := range ps.all {
		if match(p) {
			out = append(out, p)
		}
	}
	return out
}

// receive takes an L2TP control message of a peer, on the errand goroutine.
func (ps *peers) receive(p *ipsecPeer, port uint16, msg []byte) {
	if h, _, err := wirel2tp.ParseHeader(msg); err == nil && h.TunnelID != 0 && !p.owns(h.TunnelID) {
		p = ps.follow(p, port, h.TunnelID)
	}
	ps.m.l2tp.Receive(p, port, msg)
}

func (p *ipsecPeer) owns(tunnelID uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.tunnels[tunnelID]
	return ok
}

// follow merges a peer into the one whose tunnel it names, if it is the same client with another NAT mapping. It returns
// the peer that stands for p afterwards.
func (ps *peers) follow(p *ipsecPeer, port, tunnelID uint16) *ipsecPeer {
	owner, ownerPort, ok := ps.m.l2tp.Lookup(tunnelID)
	if !ok {
		return p
	}
	old, ok := owner.(*ipsecPeer)
	if !ok {
		return p
	}
	old = old.now()
	if old == p || !old.succeeds(p) || ownerPort != port || old.Idle() < silence {
		return p
	}
	if err := ps.merge(p, old); err != nil {
		ps.m.log.Error("peers not merged", telemetry.Tenant, p.tenant, telemetry.Peer, p.Remote(), telemetry.Error, err)
		return p
	}
	return old
}

// succeeds says whether p may be what has become of the client that old was: the same identity at the same address. A
// certificate's subject is proved for each client, so its address may have changed too.
func (old *ipsecPeer) succeeds(p *ipsecPeer) bool {
	return old.face == p.face && old.tenant == p.tenant && old.identity == p.identity && old.subject == p.subject &&
		(p.subject || old.Remote().Addr() == p.Remote().Addr())
}

// merge makes everything of from into's, which lives on at from's place. It runs on the errand goroutine, so that two
// merges never cross.
func (ps *peers) merge(from, into *ipsecPeer) error {
	from.sas.Lock()
	defer from.sas.Unlock()
	into.sas.Lock()
	defer into.sas.Unlock()
	if err := from.plane.Merge(into.plane); err != nil {
		return fmt.Errorf("merge %s into %s: %w", from.where().Remote, into.where().Remote, err)
	}
	into.children = append(into.children, from.children...)
	from.children = nil

	from.mu.Lock()
	path, nat, current, tunnels, held, l := from.path, from.nat, from.current, from.tunnels, from.held, from.life
	from.disarm()
	if l.keepalive != nil {
		l.keepalive.Stop()
	}
	from.into, from.tunnels, from.held, from.life.closed, from.life.freed = into, nil, nil, true, true
	from.mu.Unlock()

	into.mu.Lock()
	into.nat = nat
	if current != nil {
		into.current = current
	}
	maps.Copy(into.tunnels, tunnels)
	maps.Copy(into.held, held)
	into.life.open += l.open
	into.life.empty = len(into.held) == 0
	into.wait()
	into.mu.Unlock()

	ps.remove(from)
	ps.move(into, path)
	ps.m.ike.Merge(from, into)
	ps.m.l2tp.Merge(from, into)
	ps.m.rebase(from, into)
	ps.m.log.Info("client has moved", telemetry.Tenant, into.tenant, telemetry.Peer, path.Remote, telemetry.Identity, into.identity)
	return nil
}

// dropWhere ends the peers that match, with their tunnels.
func (ps *peers) dropWhere(match func(*ipsecPeer) bool, reason tenant.Reason, detail string) {
	for _, p := range ps.at(match) {
		p.drop(reason, detail)
	}
}

// closeAll ends what is left of the peers when engine and server have stopped.
func (ps *peers) closeAll() {
	for _, p := range ps.at(func(*ipsecPeer) bool { return true }) {
		p.end(tenant.ReasonShutdown, "the server shuts down")
		p.mu.Lock()
		closed := p.life.freed
		p.life.freed = true
		p.mu.Unlock()
		if !closed {
			p.plane.Close()
		}
	}
	ps.ending.Wait()
}

// sessionsOf lists the sessions that a peer carries.
func (m *Manager) sessionsOf(p *ipsecPeer) []*session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.byPeer[p])
}

// rebase hands the sessions of a peer to the one that it was merged into.
func (m *Manager) rebase(from, into *ipsecPeer) {
	m.mu.Lock()
	for _, s := range m.byPeer[from] {
		s.carrier.peer, s.carrier.name.peer = into, into
		m.byPeer.add(into, s)
	}
	delete(m.byPeer, from)
	m.mu.Unlock()
	m.carrierChanged(into)
}

// clientMoved shows where the sessions' client is now.
func (m *Manager) clientMoved(p *ipsecPeer, remote netip.AddrPort) {
	for _, s := range m.sessionsOf(p) {
		s.update(func(i *Info) { i.ClientAddress = remote })
	}
}

// carrierChanged tells the sessions of a peer that another SA carries them, which may need more room or have another
// name.
func (m *Manager) carrierChanged(p *ipsecPeer) {
	for _, s := range m.sessionsOf(p) {
		s.tell(event{carrier: true})
	}
}
