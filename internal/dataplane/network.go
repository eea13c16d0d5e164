package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/telemetry"
)

// Bounds of a network's MTU in octets of inner IP packet: every host takes 576 (RFC 791 section 3.1), and a buffer holds
// no more than MaxMTU behind the virtio-net header.
const (
	DefaultMTU = 1500
	MinMTU     = 576
	MaxMTU     = pktbuf.MaxRead - tun.HeaderLen - 1 // a full buffer can't be told from a cut packet

	// minSessionMTU is what every link carries (RFC 791 section 3.2).
	minSessionMTU = 68
)

// NetworkSpec describes one tenant's network.
type NetworkSpec struct {
	Tenant         string
	Namespace      string         // "" is the daemon's own; another is made at /run/netns if it is missing
	Device         string         // of the TUN device, 1 to 15 octets
	MTU            int            // of the device; 0: DefaultMTU
	Gateways       []netip.Addr   // our addresses towards clients, /32 on the device; the first signs our ICMP messages
	Routes         []netip.Prefix // the pools' ranges, routed to the device
	ClientToClient bool           // false: packets between sessions of this network are dropped
	Masquerade     bool           // rewrite the sources of what leaves the namespace by another device
	ProxyARP       bool           // answer ARP for sessions' addresses on the namespace's other links
	Uplink         Uplink         // the zero value is none; in a namespace that we did not make it only warns
}

// Uplink is a link from a namespace that we made to the daemon's own.
type Uplink = tun.Uplink

func (s NetworkSpec) check() error {
	if s.MTU < MinMTU || s.MTU > MaxMTU {
		return fmt.Errorf("%w: MTU %d is not between %d and %d", ErrSpec, s.MTU, MinMTU, MaxMTU)
	}
	for _, g := range s.Gateways {
		if !isInner(g) {
			return fmt.Errorf("%w: gateway %v is not an IPv4 address", ErrSpec, g)
		}
	}
	for _, r := range s.Routes {
		if !r.IsValid() || !r.Addr().Is4() {
			return fmt.Errorf("%w: route %v is not an IPv4 prefix", ErrSpec, r)
		}
	}
	if s.Uplink != (Uplink{}) {
		return s.checkUplink()
	}
	return nil
}

func (s NetworkSpec) checkUplink() error {
	u := s.Uplink
	switch {
	case s.Namespace == "":
		return fmt.Errorf("%w: an uplink needs a namespace of its own", ErrSpec)
	case !isInner(u.Address.Addr()) || u.Address.Bits() > 31 || u.Address.Bits() < 1:
		return fmt.Errorf("%w: uplink address %v is not an IPv4 address with the length of its prefix", ErrSpec, u.Address)
	case !isInner(u.Gateway) || !u.Address.Contains(u.Gateway) || u.Gateway == u.Address.Addr():
		return fmt.Errorf("%w: uplink gateway %v is not another address in %v", ErrSpec, u.Gateway, u.Address.Masked())
	}
	for _, r := range s.Routes {
		if r.Overlaps(u.Address) {
			return fmt.Errorf("%w: uplink %v overlaps the pool's %v", ErrSpec, u.Address, r)
		}
	}
	return nil
}

func (s NetworkSpec) device() tun.Config {
	return tun.Config{
		MTU: s.MTU, Addresses: s.Gateways, Routes: s.Routes, Masquerade: s.Masquerade, ProxyARP: s.ProxyARP, Uplink: s.Uplink,
	}
}

// Network is one tenant's inner network: a TUN device and the sessions behind it. Its methods are safe for concurrent use
// and must not be called by a Sink.
type Network struct {
	d     *Dataplane
	dev   netio.Device
	space *space
	parts []*network // by shard; each belongs to its shard

	lost     chan struct{}
	loseOnce sync.Once

	busy        atomic.Bool // set by shards whose queue gave a full batch
	overflowing atomic.Bool // the kernel drops because a queue is full
	dropped     uint64      // by the kernel, as last read; watchOverflows'

	mu     sync.Mutex // guards all below; serialises changes of the device
	spec   NetworkSpec
	warned []string // as logged
	closed bool
}

// space is the control side's view of the inner addresses in one namespace: which session has which.
type space struct {
	namespace string
	refs      int // guarded by Dataplane.mu

	// opening serialises what makes and removes devices in the namespace, and the namespace. It is taken after
	// Dataplane.opening and before Dataplane.mu.
	opening sync.Mutex

	mu      sync.Mutex
	taken   map[netip.Prefix]taken
	lengths [33]int // of the prefixes that are taken, how many are so long
}

func (sp *space) take(p netip.Prefix, t taken) {
	if _, found := sp.taken[p]; !found {
		sp.lengths[p.Bits()]++
	}
	sp.taken[p] = t
}

func (sp *space) giveBack(p netip.Prefix) {
	if _, found := sp.taken[p]; found {
		sp.lengths[p.Bits()]--
		delete(sp.taken, p)
	}
}

// overlapping finds a prefix of another network than n that overlaps p, which is masked as all are. What p lies in is looked
// up length by length; for what lies in p all are gone through, which a single address, as nearly every session has, never
// needs.
func (sp *space) overlapping(n *Network, p netip.Prefix) (netip.Prefix, bool) {
	for bits, count := range sp.lengths[:p.Bits()+1] {
		if count == 0 {
			continue
		}
		q := netip.PrefixFrom(p.Addr(), bits).Masked()
		if t, found := sp.taken[q]; found && t.net != n {
			return q, true
		}
	}
	if p.IsSingleIP() {
		return netip.Prefix{}, false
	}
	for q, t := range sp.taken {
		if t.net != n && q.Overlaps(p) {
			return q, true
		}
	}
	return netip.Prefix{}, false
}

type taken struct {
	net  *Network
	call *Call
}

// OpenNetwork makes the TUN device, and the namespace if it is missing, with addresses, routes and masquerading, and
// brings it to the shards.
func (d *Dataplane) OpenNetwork(spec NetworkSpec) (*Network, error) {
	if spec.MTU == 0 {
		spec.MTU = DefaultMTU
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	d.opening.RLock()
	defer d.opening.RUnlock()
	d.mu.Lock()
	if d.stopped {
		d.mu.Unlock()
		return nil, ErrStopped
	}
	sp := d.spaces[spec.Namespace]
	if sp == nil {
		sp = &space{namespace: spec.Namespace, taken: map[netip.Prefix]taken{}}
		d.spaces[spec.Namespace] = sp
	}
	sp.refs++
	d.lastIndex++
	index := d.lastIndex
	d.mu.Unlock()
	sp.opening.Lock()
	defer sp.opening.Unlock()

	n := &Network{d: d, spec: spec, space: sp, lost: make(chan struct{})}
	if err := n.open(index); err != nil {
		if n.dev != nil {
			err = errors.Join(err, n.dev.Close())
		}
		return nil, errors.Join(fmt.Errorf("open network of %s: %w", spec.Tenant, err), n.leaveSpace())
	}
	d.mu.Lock()
	d.networks[n] = struct{}{}
	d.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.warn()
	return n, nil
}

// warn logs what the device warns of and was not logged yet. n.mu must be held.
func (n *Network) warn() {
	now := n.dev.Warnings()
	for _, w := range now {
		if !slices.Contains(n.warned, w) {
			n.d.log.Warn("network may not work",
				telemetry.Tenant, n.spec.Tenant, telemetry.Device, n.spec.Device, telemetry.Detail, w)
		}
	}
	n.warned = now
}

func (n *Network) open(index uint32) error {
	dev, err := n.d.opener.OpenTUN(tun.Spec{
		Namespace: n.spec.Namespace, Device: n.spec.Device, Queues: len(n.d.shards), MTU: n.spec.MTU,
		NoOffload: n.d.noOffload,
	})
	if err != nil {
		return err
	}
	n.dev = dev
	if err := dev.Configure(n.spec.device()); err != nil {
		return err
	}
	for i := range n.d.shards {
		n.parts = append(n.parts, &network{
			index: index, queue: tun.Queue{FD: dev.Queues()[i], Offloads: dev.Offloads()}, owner: n,
		})
	}
	errs := make([]error, len(n.d.shards))
	spec := n.spec
	err = n.d.onAll(func(s *shard) { errs[s.id] = s.addNetwork(n.parts[s.id], spec) })
	if err = errors.Join(err, errors.Join(errs...)); err != nil {
		return errors.Join(err, n.d.onAll(func(s *shard) { s.removeNetwork(n.parts[s.id]) }))
	}
	return nil
}

// leaveSpace gives up the network's part in its namespace. The last one removes the namespace, if we made it. space.opening
// must be held: who comes meanwhile waits for it, and makes the namespace anew.
func (n *Network) leaveSpace() (err error) {
	d, sp := n.d, n.space
	d.mu.Lock()
	sp.refs--
	last := sp.refs == 0
	d.mu.Unlock()
	if !last {
		return nil
	}
	if sp.namespace != "" {
		err = d.opener.RemoveNamespace(sp.namespace)
	}
	d.mu.Lock()
	if sp.refs == 0 {
		delete(d.spaces, sp.namespace)
	}
	d.mu.Unlock()
	return err
}

// Lost is closed when the TUN device was deleted under us. The network carries nothing any more; Close it and open
// another.
func (n *Network) Lost() <-chan struct{} { return n.lost }

// lose is called by shards when their queue is gone, each once.
func (n *Network) lose() {
	n.loseOnce.Do(func() {
		close(n.lost)
		// Not on the shard's thread: a log may block.
		go n.d.log.Error("TUN device is gone", telemetry.Tenant, n.spec.Tenant, telemetry.Device, n.spec.Device)
	})
}

// Update changes all but Namespace and Device, and disturbs no session. ErrFixed if these differ.
func (n *Network) Update(spec NetworkSpec) error {
	if spec.MTU == 0 {
		spec.MTU = DefaultMTU
	}
	if err := spec.check(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if spec.Namespace != n.spec.Namespace || spec.Device != n.spec.Device {
		return ErrFixed
	}
	spec.Tenant = n.spec.Tenant // what lose logs must not change under it
	if err := n.dev.Configure(spec.device()); err != nil {
		return fmt.Errorf("update network of %s: %w", spec.Tenant, err)
	}
	n.spec = spec
	n.warn()
	return n.d.onAll(func(s *shard) { n.parts[s.id].configure(spec) })
}

// Close detaches the network's sessions and removes the device with all that belongs to it and, with the last network in
// it, the namespace if we made it.
func (n *Network) Close() error {
	n.d.opening.RLock()
	defer n.d.opening.RUnlock()
	n.space.opening.Lock()
	defer n.space.opening.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	err := surely(func() error { return n.d.onAll(func(s *shard) { s.removeNetwork(n.parts[s.id]) }) })
	n.space.mu.Lock()
	for p, t := range n.space.taken {
		if t.net == n {
			n.space.giveBack(p)
		}
	}
	n.space.mu.Unlock()
	n.d.mu.Lock()
	delete(n.d.networks, n)
	n.d.mu.Unlock()
	err = errors.Join(err, n.dev.Close(), n.leaveSpace())
	if err != nil {
		return fmt.Errorf("close network of %s: %w", n.spec.Tenant, err)
	}
	return nil
}

// stop closes the device when the shards have ended.
func (n *Network) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if err := n.dev.Close(); err != nil {
		n.d.log.Error("can't close network", telemetry.Tenant, n.spec.Tenant, telemetry.Device, n.spec.Device,
			telemetry.Error, err)
	}
}

// claim takes the prefixes for c, all or none. n.mu must be held.
func (n *Network) claim(c *Call, ps []netip.Prefix) error {
	sp := n.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, p := range ps {
		for _, g := range n.spec.Gateways {
			if p.IsSingleIP() && p.Addr() == g {
				return fmt.Errorf("%w: %v is our own", ErrAddressInUse, g)
			}
		}
		if u := n.spec.Uplink.Address; u.IsValid() && p.Bits() >= u.Bits() && u.Contains(p.Addr()) {
			return fmt.Errorf("%w: %v is part of the uplink's %v", ErrAddressInUse, p, u.Masked())
		}
		if t, found := sp.taken[p]; found && t.call != c {
			return fmt.Errorf("%w: %v", ErrAddressInUse, p)
		}
		if q, found := sp.overlapping(n, p); found {
			return fmt.Errorf("%w: %v overlaps %v of another network in this namespace", ErrAddressInUse, p, q)
		}
	}
	for _, p := range ps {
		sp.take(p, taken{n, c})
	}
	return nil
}

// disclaim gives back what claim took.
func (n *Network) disclaim(c *Call, ps []netip.Prefix) {
	n.space.mu.Lock()
	defer n.space.mu.Unlock()
	for _, p := range ps {
		if n.space.taken[p].call == c {
			n.space.giveBack(p)
		}
	}
}

// network is a shard's part of a Network. It belongs to the shard.
type network struct {
	index          uint32
	owner          *Network
	queue          tun.Queue
	slot           int // in shard.sources
	gone           bool
	clientToClient bool
	gateway        [4]byte   // signs ICMP
	table          *prefixes // of the namespace
}

// configure takes over what may change. It runs on the shard.
func (p *network) configure(spec NetworkSpec) {
	p.clientToClient = spec.ClientToClient
	p.gateway = [4]byte{}
	if len(spec.Gateways) > 0 {
		p.gateway = spec.Gateways[0].As4()
	}
}

// prefixesOf lists what leads to a session: its address and its routes, without repetition.
func prefixesOf(s SessionSpec) []netip.Prefix {
	ps := []netip.Prefix{netip.PrefixFrom(s.Address, 32)}
	for _, r := range s.Routes {
		if r = r.Masked(); !slices.Contains(ps, r) {
			ps = append(ps, r)
		}
	}
	return ps
}
