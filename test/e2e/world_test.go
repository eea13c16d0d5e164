package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	simike "concentrator/internal/simclient/ike"
	"concentrator/internal/simclient/ipsec"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// The usual furniture.
const (
	acme     = "tenants/acme"
	acmeKey  = "acme's key"
	password = "wonder-1"
	patience = 15 * time.Second
)

var (
	server = netip.MustParseAddr("198.51.100.1")
	inside = netip.MustParseAddr("192.0.2.9") // a host in the tenants' networks
)

// world is the product's inside with clients around it.
type world struct {
	t       *testing.T
	store   *store.Store
	plane   *dataplane.Dataplane
	pools   *ippool.Pools
	metrics *telemetry.Metrics
	m       *session.Manager
	stack   *ipsec.Stack
	opener  *opener
	stop    context.CancelFunc
	ran     chan error

	mu      sync.Mutex // guards what follows
	routes  map[netip.AddrPort]mapping
	hosts   map[netip.Addr]*client // that have a public address
	devices []*device
	nats    map[netip.Addr]uint16 // the port that each NAT gave out last
	marks   uint32
}

// mapping is what stands behind an outer address and port.
type mapping struct {
	c    *client
	port uint16 // the client's own
}

// newWorld starts everything, with the tenant acme and a listener. Worlds share nothing, and their tests mostly wait, so
// they run side by side.
func newWorld(t *testing.T) *world {
	return newWorldOn(t, func(p session.Plane) session.Plane { return p })
}

// newWorldOn is newWorld where another Plane may stand before the real one.
func newWorldOn(t *testing.T, before func(session.Plane) session.Plane) *world {
	t.Parallel()
	w := &world{
		t: t, store: storetest.Open(t), pools: ippool.New(), metrics: telemetry.NewMetrics(), opener: newOpener(),
		routes: map[netip.AddrPort]mapping{}, hosts: map[netip.Addr]*client{}, nats: map[netip.Addr]uint16{}, ran: make(chan error, 1),
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.opener.arrive, w.opener.inside = w.arrive, w.answer
	w.opener.lost = func(where string, err error) { t.Errorf("lost %s: %v", where, err) }
	var err error
	w.plane, err = dataplane.Start(dataplane.Config{Shards: 2, MaxSessions: 200, Opener: w.opener, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.m = session.New(session.Config{
		Store: w.store, Plane: before(session.Planed(w.plane)), Pools: w.pools, Metrics: w.metrics, Log: log, MaxSessions: 200,
		Instance: "vpn", Version: "test",
	})
	w.stack = ipsec.NewStack(nil)
	t.Cleanup(w.close)
	w.tenant("acme", acmeKey, "10.7.0.0/24")
	w.create(&store.Listener{
		Meta: store.Meta{Name: "listeners/main"}, Address: server.String(), DefaultTenant: acme,
		Protocols: []tenant.Protocol{tenant.ProtocolL2TPIPsec}, Tenants: []string{acme},
	})
	return w
}

// tenant makes a tenant with one pool, without a limit for its source addresses.
func (w *world) tenant(id, key, pool string) {
	w.t.Helper()
	off := 0
	name := "tenants/" + id
	w.create(&store.Tenant{
		Meta: store.Meta{Name: name}, Realms: []string{id + ".example"}, RealmStripping: true,
		Limits: tenant.Limits{HalfOpenPerSource: &off},
		IPsec:  store.IPsec{PSKs: []store.PSK{{ID: "main", Secret: tenant.Secret(key)}}, LegacyClients: true},
	})
	w.create(&store.Pool{Meta: store.Meta{Name: name + "/pools/main"}, Ranges: []string{pool}})
	w.create(&store.Profile{Meta: store.Meta{Name: name + "/profiles/default"}})
}

// create stores a record.
func (w *world) create(r any) {
	w.t.Helper()
	var err error
	switch r := r.(type) {
	case *store.Tenant:
		err = store.Create(w.store, r)
	case *store.Pool:
		err = store.Create(w.store, r)
	case *store.Profile:
		err = store.Create(w.store, r)
	case *store.Listener:
		err = store.Create(w.store, r)
	case *store.User:
		err = store.Create(w.store, r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// user makes a user of a tenant.
func (w *world) user(tenantName, login string) {
	w.create(&store.User{
		Meta: store.Meta{Name: tenantName + "/users/" + tenant.EncodeUser(login)}, Password: tenant.Secret(password),
	})
}

// start runs the manager and returns when it listens.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	ready := make(chan struct{})
	go func() { w.ran <- w.m.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-w.ran:
		w.t.Fatalf("Run: %v", err)
	}
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.stack.Close(ctx); err != nil {
		w.t.Errorf("the clients' IKE: %v", err)
	}
	// A client that died can't be told, and is waited for in vain.
	bound, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := w.m.Shutdown(bound); err != nil {
		w.t.Errorf("Shutdown: %v", err)
	}
	if w.stop != nil {
		w.stop()
		if err := <-w.ran; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
	w.plane.Stop()
	w.opener.close()
}

// arrive brings a datagram of the server to the client that it is for, by the NAT's mapping if there is one.
func (w *world) arrive(f frame) {
	w.mu.Lock()
	to, ok := w.routes[f.client]
	if !ok {
		if c := w.hosts[f.client.Addr()]; c != nil {
			to, ok = mapping{c, f.port}, true
		}
	}
	w.mu.Unlock()
	if ok {
		to.c.Receive(to.port, f.data)
	}
}

// answer plays the host inside: it answers echo requests.
func (w *world) answer(d *device, packet []byte) {
	w.mu.Lock()
	known := len(w.devices) > 0 && w.devices[len(w.devices)-1] == d
	if !known {
		w.devices = append(w.devices, d)
	}
	w.mu.Unlock()
	if reply := answer(packet); reply != nil {
		d.write(reply)
	}
}

// client is a simulated client at its place.
type client struct {
	*ipsec.Client
	w    *world
	own  netip.Addr
	nat  netip.Addr // invalid: it has a public address
	mark uint32

	mu      sync.Mutex // guards what follows
	ports   map[uint16]uint16
	replies map[uint16]chan struct{}
	strange []string // packets that it should not have got
	pushed  int      // packets from inside that it did not ask for
	seq     uint16
}

// spec says which client comes from where.
type spec struct {
	ike  simike.Client
	l2tp siml2tp.Config
	ppp  simppp.Config
	own  string
	nat  string // outer address; empty: none
	key  string
	// shortICV: it cuts the check values of HMAC-SHA2-256.
	shortICV bool
	// like is the client whose mappings it has, as it is the same host; nil: new ones.
	like *client
}

// come makes a client; Connect is the caller's.
func (w *world) come(s spec) *client {
	c := &client{w: w, own: netip.MustParseAddr(s.own), ports: map[uint16]uint16{}, replies: map[uint16]chan struct{}{}}
	if s.nat != "" {
		c.nat = netip.MustParseAddr(s.nat)
	}
	if s.key == "" {
		s.key = acmeKey
	}
	w.mu.Lock()
	w.marks++
	c.mark = w.marks
	w.mu.Unlock()
	c.Client = w.stack.New(ipsec.Config{
		IKE: s.ike, L2TP: s.l2tp, PPP: s.ppp, PSK: tenant.Secret(s.key), Own: c.own, Server: server,
		Send: c.send, Received: c.received, ShortICV: s.shortICV,
	})
	switch {
	case s.like != nil:
		s.like.mu.Lock()
		for own, outer := range s.like.ports {
			c.ports[own] = outer
		}
		s.like.mu.Unlock()
		w.route(c)
	case !c.nat.IsValid():
		w.mu.Lock()
		w.hosts[c.own] = c
		w.mu.Unlock()
	}
	return c
}

// route makes a client's mappings its own.
func (w *world) route(c *client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.nat.IsValid() {
		w.hosts[c.own] = c
	}
	for own, outer := range c.ports {
		w.routes[netip.AddrPortFrom(c.nat, outer)] = mapping{c, own}
	}
}

// remap makes the NAT forget a client's mappings, and give new ones to what it sends next.
func (w *world) remap(c *client) {
	c.mu.Lock()
	old := c.ports
	c.ports = map[uint16]uint16{}
	c.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, outer := range old {
		delete(w.routes, netip.AddrPortFrom(c.nat, outer))
	}
}

// send puts a datagram of the client onto the outside, through its NAT.
func (c *client) send(port uint16, b []byte) {
	from := netip.AddrPortFrom(c.own, port)
	if c.nat.IsValid() {
		if port == ipsec.ESP {
			return // a NAT does not translate ESP
		}
		from = netip.AddrPortFrom(c.nat, c.outer(port))
	}
	c.w.opener.send(frame{port: port, client: from, server: server, data: b})
}

// outer is the port that the NAT has for one of the client's.
func (c *client) outer(port uint16) uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if outer, ok := c.ports[port]; ok {
		return outer
	}
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nats[c.nat] = max(w.nats[c.nat], 20000) + 1
	outer := w.nats[c.nat]
	c.ports[port] = outer
	w.routes[netip.AddrPortFrom(c.nat, outer)] = mapping{c, port}
	return outer
}

// received takes an inner packet.
func (c *client) received(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) < 32 || p[9] != 1 || binary.BigEndian.Uint32(p[28:]) != c.mark {
		c.strange = append(c.strange, fmt.Sprintf("% x", p))
		return
	}
	seq := binary.BigEndian.Uint16(p[26:])
	if p[20] != echoReply {
		c.pushed++
		return
	}
	if done := c.replies[seq]; done != nil {
		delete(c.replies, seq)
		close(done)
	}
}

// ping sends one echo request and waits for its answer.
func (c *client) ping(ctx context.Context) error {
	done := make(chan struct{})
	c.mu.Lock()
	c.seq++
	seq := c.seq
	c.replies[seq] = done
	c.mu.Unlock()
	if err := c.Send(echo(echoRequest, c.Address(), inside, c.mark, seq)); err != nil {
		return fmt.Errorf("ping %d: %w", seq, err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ping %d of %v: %w", seq, c.Address(), ctx.Err())
	}
}

// check fails the test if the client got what was not for it.
func (c *client) check() {
	c.w.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.strange {
		c.w.t.Errorf("%v got %s", c.own, p)
	}
	if n := c.Lost(); n != 0 {
		c.w.t.Errorf("%v could not open %d packets", c.own, n)
	}
}

// patient is a context for one step.
func (w *world) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.t.Context(), patience)
}

// connected makes a client that is in and has traffic.
func (w *world) connected(s spec) *client {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	c := w.come(s)
	if err := c.Connect(ctx); err != nil {
		w.t.Fatalf("%s: %v; logins: %+v", s.ike.Name, err, w.m.Logins(session.LoginFilter{Outcome: session.OutcomeRefused}))
	}
	if err := c.reach(ctx); err != nil {
		w.t.Fatalf("%s: %v; drops %v", s.ike.Name, err, w.drops())
	}
	return c
}

// reach pings until there is an answer. The host inside answers in no time: the first answers may come before the server
// has seen the client's last message of IPCP, and packets for a session that is not open are dropped.
func (c *client) reach(ctx context.Context) error {
	const pause = 200 * time.Millisecond
	for {
		once, cancel := context.WithTimeout(ctx, pause)
		err := c.ping(once)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// all runs f for each client at once and fails the test for every error.
func (w *world) all(clients []*client, what string, f func(ctx context.Context, i int, c *client) error) {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			if err := f(ctx, i, c); err != nil {
				w.t.Errorf("%s: client %d (%v): %v", what, i, c.own, err)
			}
		})
	}
	wg.Wait()
	w.t.Logf("%s: %d clients, %v", what, len(clients), time.Since(began).Round(time.Millisecond))
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// until waits for a condition.
func (w *world) until(what string, cond func() error) {
	w.t.Helper()
	err := errors.New("not looked at")
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
		if err = cond(); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// gauge sums up a metric over its labels.
func (w *world) gauge(name string) float64 {
	w.t.Helper()
	all, err := w.metrics.Gatherer().Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := 0.0 // a metric by tenant has no sample when no tenant has any
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// left says what there is of sessions, leases, tunnels, peers and SAs.
func (w *world) left() error {
	var errs []error
	if n := len(w.m.Sessions("")); n != 0 {
		errs = append(errs, fmt.Errorf("%d sessions", n))
	}
	if _, n := w.m.PoolUsage(acme + "/pools/main"); n != 0 {
		errs = append(errs, fmt.Errorf("%d leases", n))
	}
	for _, name := range []string{
		"concentrator_ike_half_open", "concentrator_ike_sas", "concentrator_esp_sas", "concentrator_ipsec_peers",
		"concentrator_l2tp_tunnels",
	} {
		if n := w.gauge(name); n != 0 {
			errs = append(errs, fmt.Errorf("%v of %s", n, name))
		}
	}
	if st := w.stack.Stats(); st.SAs != 0 || st.Peers != 0 {
		errs = append(errs, fmt.Errorf("of the clients %d SAs, %d peers", st.SAs, st.Peers))
	}
	return errors.Join(errs...)
}

// drops are the counted drops of the shards, by reason, and the packets that came to the wrong one.
func (w *world) drops() map[string]uint64 {
	out := map[string]uint64{}
	for _, st := range w.plane.ShardStats() {
		for d, n := range st.Drops.Map() {
			out[d] += n
		}
		if st.WrongShard != 0 {
			out["wrong shard"] += st.WrongShard
		}
	}
	return out
}
