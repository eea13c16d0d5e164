package session

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ippool"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// The usual furniture of a test's world.
const (
	acme         = "tenants/acme"
	acmePool     = "tenants/acme/pools/main"
	mainListener = "listeners/main"
	mainAddr     = "192.0.2.1"
	clientFrom   = "198.51.100.7"
	alice        = "alice"
	password     = "wonder-1"
)

// world is a Manager with a real store, real pools and a real PPTP server over a fakePlane, and its clients.
//
// Most tests run in a bubble of testing/synctest, where control connections are made of memory and time is not the
// world's: a test of a timeout takes no time, "until" waits for no longer than something happens, and a goroutine that
// is left over at the end is a failure. Where the kernel's sockets matter, inReality runs the same thing over TCP on
// loopback.
type world struct {
	t      *testing.T
	bubble bool
	oneWay time.Duration
	lax    bool // clients do not check that what they may send is installed
	store  *store.Store
	plane  *fakePlane
	pools  *ippool.Pools
	m      *Manager
	errors *errorLog
	ledger *fakeLedger

	stopRun func()
	ran     chan error
	down    bool // Shutdown was called by the test
	nextID  uint16
	clients []*client
}

// inBubble runs a test in a bubble.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, true, 100)) })
}

// inBubbleOf is inBubble with so many slots.
func inBubbleOf(t *testing.T, slots int, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, true, slots)) })
}

// inReality runs a test with TCP and the real clock.
func inReality(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	test(t, newWorld(t, false, 100))
}

func newWorld(t *testing.T, bubble bool, slots int) *world { return newWorldOf(t, bubble, slots, New) }

// newWorldOf is newWorld with a Manager that make makes.
func newWorldOf(t *testing.T, bubble bool, slots int, make func(Config) *Manager) *world {
	w := &world{t: t, bubble: bubble, oneWay: oneWay, errors: &errorLog{}}
	if !bubble {
		w.oneWay = 0
		t.Cleanup(w.wantNoGoroutines)
	}
	w.store = storetest.Open(t)
	w.plane = newFakePlane(t, !bubble)
	w.pools = ippool.New()
	w.ledger = newFakeLedger()
	w.m = make(Config{
		Store: w.store, Plane: w.plane, Pools: w.pools, Metrics: telemetry.NewMetrics(), Log: slog.New(w.errors),
		MaxSessions: slots, Instance: "vpn", Version: "test", Ledger: w.ledger,
		Faults: telemetry.NewFaults(slog.New(slog.DiscardHandler), nil),
	})
	t.Cleanup(w.close)
	return w
}

// close ends everything and checks that nothing is left.
func (w *world) close() {
	if !w.down {
		w.shutdown(time.Minute)
	}
	if w.stopRun != nil {
		w.stopRun()
		if err := <-w.ran; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
	for _, c := range w.clients {
		c.line.Abort()
		<-c.done
	}
	w.wantClean()
	w.plane.mu.Lock()
	defer w.plane.mu.Unlock()
	for ns, n := range w.plane.gre {
		if n != 0 {
			w.t.Errorf("GRE of %q is still open %d times", ns, n)
		}
	}
	if n := len(w.plane.datagrams) + len(w.plane.peers) + len(w.plane.tunnelIDs); n != 0 {
		w.t.Errorf("left: %d UDP faces, %d peers, %d tunnel IDs", len(w.plane.datagrams), len(w.plane.peers), len(w.plane.tunnelIDs))
	}
	if len(w.plane.listeners) != 0 { // networks are the plane's own to stop
		w.t.Errorf("%d listeners are still open", len(w.plane.listeners))
	}
	for _, line := range w.errors.take() {
		w.t.Errorf("logged: %s", line)
	}
	for _, line := range w.ledger.bad {
		w.t.Errorf("accounting: %s", line)
	}
	for id := range w.ledger.open {
		w.t.Errorf("accounting: the account %s was never closed", id)
	}
}

// shutdown is Manager.Shutdown, bounded. It returns how long it took.
func (w *world) shutdown(bound time.Duration) time.Duration {
	w.t.Helper()
	w.down = true
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	began := time.Now()
	if err := w.m.Shutdown(ctx); err != nil {
		w.t.Errorf("Shutdown: %v", err)
	}
	return time.Since(began)
}

// wantClean fails the test if anything of any session is left.
func (w *world) wantClean() {
	w.t.Helper()
	w.m.mu.Lock()
	sessions, byCall := len(w.m.sessions), len(w.m.byCall)
	pools := make([]string, 0, len(w.m.pools))
	for name := range w.m.pools {
		pools = append(pools, name)
	}
	w.m.mu.Unlock()
	if sessions != 0 || byCall != 0 || w.m.slots.slots() != 0 || w.plane.openCalls() != 0 {
		w.t.Errorf("left: %d sessions, %d calls listed, %d slots, %d calls in the plane",
			sessions, byCall, w.m.slots.slots(), w.plane.openCalls())
	}
	for _, p := range pools {
		if u := w.pools.Usage(p); u.Leased != 0 {
			w.t.Errorf("left: %d leases of %s", u.Leased, p)
		}
	}
}

// wantNoGoroutines is for reality; a bubble sees to it by itself.
func (w *world) wantNoGoroutines() {
	var left []string
	for range 200 {
		buf := make([]byte, 1<<20)
		left = nil
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "concentrator/internal/") && !strings.Contains(g, "testing.tRunner") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Errorf("goroutines left behind:\n%s", strings.Join(left, "\n\n"))
}

// create stores a record.
func create[T store.Record](w *world, r *T) {
	w.t.Helper()
	if err := store.Create(w.store, r); err != nil {
		w.t.Fatal(err)
	}
}

// alter changes a stored record.
func alter[T store.Record](w *world, name string, f func(r *T)) {
	w.t.Helper()
	r, err := store.Get[T](w.store, name)
	if err != nil {
		w.t.Fatal(err)
	}
	f(r)
	if err := store.Update(w.store, r); err != nil {
		w.t.Fatal(err)
	}
}

func remove[T store.Record](w *world, name string) {
	w.t.Helper()
	if err := store.Delete[T](w.store, name, ""); err != nil {
		w.t.Fatal(err)
	}
}

func named(name string) store.Meta { return store.Meta{Name: name} }

// furnish makes the tenant acme with a pool of the addresses .2 to .6, the user alice, and a listener.
func (w *world) furnish() {
	w.t.Helper()
	w.addTenant("acme", "10.7.0.0/29")
	w.addUser("acme", alice, nil)
	w.addListener("main", mainAddr, "acme")
}

// addTenant makes a tenant with one pool. Its default profile gives two DNS servers; all else is the product's default.
func (w *world) addTenant(id, pool string) {
	w.t.Helper()
	create(w, &store.Tenant{Meta: named("tenants/" + id)})
	create(w, &store.Pool{Meta: named("tenants/" + id + "/pools/main"), Ranges: []string{pool}})
	create(w, &store.Profile{
		Meta:       named("tenants/" + id + "/profiles/default"),
		DNSServers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
	})
}

func (w *world) addUser(tenantID, login string, set func(u *store.User)) {
	w.t.Helper()
	u := &store.User{Meta: named("tenants/" + tenantID + "/users/" + tenant.EncodeUser(login)), Password: tenant.Secret(password)}
	if set != nil {
		set(u)
	}
	create(w, u)
}

// addListener makes a PPTP listener; the first tenant is the default one.
func (w *world) addListener(id, addr string, tenants ...string) {
	w.t.Helper()
	l := &store.Listener{Meta: named("listeners/" + id), Address: addr, Protocols: []tenant.Protocol{tenant.ProtocolPPTP}}
	for _, t := range tenants {
		l.Tenants = append(l.Tenants, "tenants/"+t)
	}
	l.DefaultTenant = l.Tenants[0]
	create(w, l)
}

// start runs the Manager and returns when its first pass is done.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	w.stopRun, w.ran = cancel, make(chan error, 1)
	go func() { w.ran <- w.m.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-w.ran:
		w.t.Fatalf("Run: %v", err)
	}
}

// ready is furnish and start.
func (w *world) ready() {
	w.t.Helper()
	w.furnish()
	w.start()
}

// settle waits until the reconciler has taken notice of what was stored.
func (w *world) settle() {
	if w.bubble {
		synctest.Wait()
	}
	time.Sleep(5 * settle)
	if w.bubble {
		synctest.Wait()
	}
}

// until waits for a condition.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	step, tries := 10*time.Millisecond, 30000 // five minutes that take no time
	if !w.bubble {
		step, tries = time.Millisecond, 10000
	}
	for range tries {
		if w.bubble {
			synctest.Wait()
		}
		if cond() {
			return
		}
		time.Sleep(step)
	}
	w.t.Fatalf("it never came about that %s", what)
}

// tryDial makes a client with a call at the listener on addr, from an outer address.
func (w *world) tryDial(addr, from string, cfg simppp.Config) (*client, error) {
	w.t.Helper()
	nc, err := w.plane.dial("", addr, from)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ctl, err := simpptp.NewClient(ctx, nc, simpptp.Config{Start: simpptp.WindowsStart(), EchoInterval: -1})
	if err != nil {
		return nil, err
	}
	w.nextID++
	call, err := ctl.Call(ctx, simpptp.WindowsCall(w.nextID, w.nextID, [16]byte{}))
	if err != nil {
		ctl.Abort()
		return nil, err
	}
	return w.client(pptpLine{ctl, call}, call.PeerID(), cfg), nil
}

// client begins PPP on a call that the server has given an ID.
func (w *world) client(l line, id uint16, cfg simppp.Config) *client {
	w.t.Helper()
	c := &client{w: w, line: l, do: make(chan func(time.Time)), done: make(chan struct{})}
	if c.fc = w.plane.call(id); c.fc == nil {
		w.t.Fatalf("the reply names call %d, which is not in the plane", id)
	}
	c.m = simppp.NewMachine(cfg, clientEvents{c})
	w.clients = append(w.clients, c)
	go c.run()
	return c
}

func (w *world) dial(cfg simppp.Config) *client {
	w.t.Helper()
	c, err := w.tryDial(mainAddr, clientFrom, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// login dials and waits until the client carries IP, and the session too.
func (w *world) login(cfg simppp.Config) *client {
	w.t.Helper()
	c := w.dial(cfg)
	w.wantOpen(c)
	return c
}

func (w *world) wantOpen(c *client) {
	w.t.Helper()
	w.until("the client is in", func() bool { return c.isOpen() && c.fc.isOpen() || c.ended() })
	if !c.isOpen() || !c.fc.isOpen() {
		w.t.Fatalf("the client did not get in: %v; call: %q; logins: %+v", c.lastError(), c.fc.history(), w.m.Logins(LoginFilter{}))
	}
	if !w.bubble { // the session goes on with that when the client is in already
		w.until("the login is on record", func() bool { return len(w.m.Logins(LoginFilter{Outcome: OutcomeAccepted})) >= w.openings() })
	}
}

// openings is how many clients have been let in.
func (w *world) openings() (n int) {
	for _, c := range w.clients {
		c.mu.Lock()
		if c.opens > 0 {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// wantRefused waits until the client has given up or was sent away, and everything it had is free.
func (w *world) wantRefused(c *client) {
	w.t.Helper()
	w.until("the client is out", func() bool { return c.ended() && w.m.byCallID(c.fc.id) == nil })
	c.mu.Lock()
	opens := c.opens
	c.mu.Unlock()
	if opens != 0 {
		w.t.Error("the client was let in")
	}
	c.stop()
}

func (m *Manager) byCallID(id uint16) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byCall[id]
}

// session returns the one live session of a tenant.
func (w *world) session(tenantName string) Info {
	w.t.Helper()
	list := w.m.Sessions(tenantName)
	if len(list) != 1 {
		w.t.Fatalf("%d sessions of %q, want 1: %+v", len(list), tenantName, list)
	}
	return list[0]
}

// attempts returns the login attempts so far in short, the oldest first: "alice REFUSED AUTHENTICATION WRONG_CREDENTIALS".
func (w *world) attempts() (out []string) {
	for _, a := range slices.Backward(w.m.Logins(LoginFilter{})) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", a.User, a.Outcome, a.Stage, a.Reason)))
	}
	return out
}

func (w *world) wantAttempts(want ...string) {
	w.t.Helper()
	// In reality a client hears a moment before it is noted.
	for end := time.Now().Add(5 * time.Second); !w.bubble && !slices.Equal(w.attempts(), want) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if got := w.attempts(); !slices.Equal(got, want) {
		w.t.Errorf("login attempts %q, want %q", got, want)
		for _, a := range w.m.Logins(LoginFilter{}) {
			w.t.Logf("%+v", a)
		}
	}
}

// leased is how many addresses of a pool are held.
func (w *world) leased(pool string) int { return w.pools.Usage(pool).Leased }

// watcher collects a watch of the sessions.
type watcher struct {
	mu     sync.Mutex
	lines  []string
	cancel context.CancelFunc
	done   chan struct{}
}

// watch follows a tenant's sessions: "+STATE" for each change of state, "-" for a removal, "." for the snapshot's end.
func (w *world) watch(tenantName string) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	o := &watcher{cancel: cancel, done: make(chan struct{})}
	w.t.Cleanup(func() { o.stop() })
	add := func(line string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.lines) == 0 || o.lines[len(o.lines)-1] != line {
			o.lines = append(o.lines, line)
		}
	}
	go func() {
		defer close(o.done)
		_ = follow(ctx, w.m.SessionFeed(), inTenant(tenantName), func(c Change[Info], snapshot bool) {
			switch {
			case c.Value != nil:
				add("+" + string(c.Value.State))
			case snapshot:
				add(".")
			default:
				add("-")
			}
		})
	}()
	w.until("the watch has begun", func() bool { return len(o.seen()) > 0 })
	return o
}

// follow calls fn with what a feed has, then with no change for the end of that, and then with each change until ctx ends.
func follow[T any](ctx context.Context, f *Feed[T], match func(string) bool, fn func(c Change[T], snapshot bool)) error {
	all, at := f.Snapshot(match)
	for _, c := range all {
		fn(c, true)
	}
	fn(Change[T]{}, true)
	for {
		batch, later, err := f.Read(at)
		if err != nil {
			return err
		}
		for _, c := range batch {
			if at = c.Revision; match(c.Name) {
				fn(c, false)
			}
		}
		if later == nil {
			continue
		}
		select {
		case <-later:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *watcher) seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

func (o *watcher) stop() {
	o.cancel()
	<-o.done
}

// errorLog is a log handler that keeps what is logged as an error: someone must act on that, so a test must expect it.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (*errorLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (h *errorLog) WithAttrs([]slog.Attr) slog.Handler         { return h }
func (h *errorLog) WithGroup(string) slog.Handler              { return h }

func (h *errorLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, b.String())
	return nil
}

// take returns the errors so far and forgets them.
func (h *errorLog) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.lines
	h.lines = nil
	return out
}
