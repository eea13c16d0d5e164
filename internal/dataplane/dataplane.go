package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/steer"
	"concentrator/internal/telemetry"
)

// reportInterval is how often the drops since the last time are logged.
const reportInterval = time.Minute

// atOnce is how many devices Stop closes at a time, each on a thread of its own.
const atOnce = 16

// Errors of the control side.
var (
	// ErrStopped is returned by everything after Stop.
	ErrStopped = errors.New("dataplane: stopped")
	// ErrTooManyCalls is returned by OpenCall when MaxSessions calls are open.
	ErrTooManyCalls = errors.New("dataplane: too many calls")
	// ErrNoCallID is returned by OpenCall when every call ID is in use.
	ErrNoCallID = errors.New("dataplane: no free call ID")
	// ErrNoTunnelID is returned by NewTunnelID when every L2TP tunnel ID of the shard is in use.
	ErrNoTunnelID = errors.New("dataplane: no free tunnel ID")
	// ErrNoSPI is returned by Peer.NewSPI when every SPI of its shard is in use.
	ErrNoSPI = errors.New("dataplane: no free SPI")
	// ErrNoGRE is returned by OpenCall and CloseGRE for a namespace without OpenGRE.
	ErrNoGRE = errors.New("dataplane: GRE is not open in this namespace")
	// ErrClosed is returned by methods of a closed Network, Call or Peer.
	ErrClosed = errors.New("dataplane: closed")
	// ErrAddressInUse is returned by Attach when the address or a route is another session's, or our own.
	ErrAddressInUse = errors.New("dataplane: inner address in use")
	// ErrSpec is returned for a specification that can't be right.
	ErrSpec = errors.New("dataplane: bad specification")
	// ErrFixed is returned by Network.Update for a change that only a new network can make.
	ErrFixed = errors.New("dataplane: namespace and device can't be changed")
)

// Config says how to start.
type Config struct {
	Shards      int               // 0: one for each CPU; at most 16
	MaxSessions int               // 0: as many as there are call IDs
	Opener      netio.Opener      // nil: netio.Linux
	NoOffload   bool              // packet by packet through the kernel, without its segmentation offloads
	Log         *slog.Logger      // nil: slog.Default
	Faults      *telemetry.Faults // where what is wrong is told; nil: nowhere but in the log
}

// Dataplane is a set of running shards. Its methods are safe for concurrent use and must not be called by a Sink.
type Dataplane struct {
	opener      netio.Opener
	log         *slog.Logger
	faults      *telemetry.Faults
	reports     reports // of shards that panicked
	maxSessions int
	noOffload   bool
	shards      []*shard
	reporter    sync.WaitGroup
	stop        context.CancelFunc
	someBusy    chan struct{} // wakes watchOverflows; holds one

	// opening serialises what makes and removes sockets, devices and namespaces, which takes milliseconds. Networks share it,
	// and those of one namespace then wait for each other (space.opening). It is taken before mu.
	opening sync.RWMutex

	merging sync.Mutex // serialises Peer.Merge, which takes the locks of two peers

	mu        sync.Mutex // guards all below; held for no system call that waits
	stopped   bool
	raw       map[rawKey]*rawFaces
	datagrams map[*Datagrams]struct{}
	spaces    map[string]*space // by namespace
	networks  map[*Network]struct{}
	ids       []*idQueue  // of calls and L2TP sessions, by shard
	tunnelIDs []*idQueue  // by shard
	spis      []*spiQueue // by shard
	load      []int       // calls, by shard
	calls     int
	lastIndex uint32                 // of faces and networks
	refused   map[faceKind][]refused // by shard, of closed sockets
}

// refused counts what the kernel kept away from a shard.
type refused struct{ unknown, malformed uint64 }

// rawKey names the raw sockets of one protocol in one namespace.
type rawKey struct {
	kind      faceKind
	namespace string
}

// rawFaces are raw sockets, one for each shard. Two that match both get a copy, so that there is one set for all
// listeners of the namespace.
type rawFaces struct {
	refs  int
	faces []*face
}

// Start starts the shards. It raises GOMAXPROCS to the number of shards + 2, because shards never yield and the control
// side's timers must fire in time.
func Start(cfg Config) (*Dataplane, error) {
	n := cfg.Shards
	if n == 0 {
		n = min(runtime.NumCPU(), steer.MaxShards)
	}
	if n < 0 || n > steer.MaxShards {
		return nil, fmt.Errorf("%w: %d shards; 0 to %d are possible", ErrSpec, n, steer.MaxShards)
	}
	if runtime.GOMAXPROCS(0) < n+2 {
		runtime.GOMAXPROCS(n + 2)
	}
	d := &Dataplane{
		opener: cfg.Opener, log: cfg.Log, faults: cfg.Faults, reports: make(reports, maxReports), maxSessions: cfg.MaxSessions, noOffload: cfg.NoOffload,
		raw: map[rawKey]*rawFaces{}, datagrams: map[*Datagrams]struct{}{},
		spaces: map[string]*space{}, networks: map[*Network]struct{}{},
		load: make([]int, n), someBusy: make(chan struct{}, 1),
		refused: map[faceKind][]refused{faceGRE: make([]refused, n), faceESP: make([]refused, n)},
	}
	if d.opener == nil {
		d.opener = netio.Linux{NoOffload: cfg.NoOffload}
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	if d.maxSessions <= 0 {
		d.maxSessions = n * idsPerShard
	}
	epoch := time.Now()
	cpus := allowedCPUs()
	for i := range n {
		s, err := newShard(i, epoch, d.log)
		if err != nil {
			for _, s := range d.shards {
				s.release()
			}
			return nil, fmt.Errorf("shard %d: %w", i, err)
		}
		s.cpu = -1
		if len(cpus) > 0 {
			s.cpu = cpus[i%len(cpus)]
		}
		d.shards = append(d.shards, s)
		d.ids = append(d.ids, newIDQueue(i))
		d.tunnelIDs = append(d.tunnelIDs, newIDQueue(i))
		d.spis = append(d.spis, newSPIQueue(i))
	}
	for _, s := range d.shards {
		s.peers, s.reports, s.faults = d.shards, d.reports, d.faults
		go s.run()
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.reporter.Go(func() { d.reportDrops(ctx) })
	d.reporter.Go(func() { d.watchOverflows(ctx) })
	d.reporter.Go(func() { d.tellPanics(ctx) })
	d.reporter.Go(func() { d.watchSending(ctx) })
	return d, nil
}

// allowedCPUs lists the CPUs that this process may use; nil if the kernel won't say.
func allowedCPUs() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// Shards is how many there are.
func (d *Dataplane) Shards() int { return len(d.shards) }

// Stop ends the shards and gives back sockets and devices. Namespaces that were made stay and are known as ours at the
// next start; Network.Close removes them. Calls and networks are of no use afterwards.
func (d *Dataplane) Stop() {
	d.opening.Lock()
	defer d.opening.Unlock()
	d.mu.Lock()
	again := d.stopped
	d.stopped = true
	networks := d.networks
	d.networks = map[*Network]struct{}{}
	d.mu.Unlock()
	if again {
		return
	}
	d.stop()
	d.reporter.Wait()
	for _, s := range d.shards {
		s.inbox.push(func(s *shard) { s.stopping = true })
	}
	for _, s := range d.shards {
		<-s.stopped
		s.release()
	}
	for _, g := range d.raw {
		d.closeFaces(g.faces)
	}
	for g := range d.datagrams {
		for _, faces := range [][]*face{g.ike, g.natt, g.plain} {
			d.closeFaces(faces)
		}
	}
	// The kernel waits for all its CPUs before it lets a device go: many wait together.
	var wg sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for n := range networks {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			n.stop()
		})
	}
	wg.Wait()
}

func (d *Dataplane) closeFaces(faces []*face) {
	for _, f := range faces {
		if err := f.wire().Close(); err != nil {
			d.log.Error("can't close socket", telemetry.Protocol, f.kind.String(), telemetry.Error, err)
		}
	}
}

// watchFaces brings sockets to their shards, all or none; if none, they are closed.
func (d *Dataplane) watchFaces(faces []*face) error {
	errs := make([]error, len(d.shards))
	err := d.onAll(func(s *shard) { errs[s.id] = s.addFace(faces[s.id]) })
	if err = errors.Join(err, errors.Join(errs...)); err != nil {
		err = errors.Join(err, d.unwatchFaces(faces))
		d.closeFaces(faces)
	}
	return err
}

// unwatchFaces makes the shards let go of sockets.
func (d *Dataplane) unwatchFaces(faces []*face) error {
	return surely(func() error { return d.onAll(func(s *shard) { s.removeFace(faces[s.id]) }) })
}

// onAll runs f on every shard and waits until all have. Errors as of do.
func (d *Dataplane) onAll(f func(*shard)) error {
	done := make(chan error, len(d.shards))
	for _, s := range d.shards {
		s.inbox.push(answering(done, f))
	}
	var failed error
	for _, s := range d.shards {
		select {
		case err := <-done:
			failed = errors.Join(failed, err)
		case <-s.stopped:
			return ErrStopped
		}
	}
	return failed
}

// ShardStats asks every shard for its numbers; nil after Stop.
func (d *Dataplane) ShardStats() []ShardStats {
	all := make([]ShardStats, len(d.shards))
	if err := d.onAll(func(s *shard) { all[s.id] = s.snapshot() }); err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range all {
		gre, esp := d.refusedBy(faceGRE, i), d.refusedBy(faceESP, i)
		all[i].Drops[DropGREUnknownCall] += gre.unknown
		all[i].Drops[DropGREMalformed] += gre.malformed
		all[i].Drops[DropESPUnknownSPI] += esp.unknown
		all[i].Drops[DropESPMalformed] += esp.malformed
	}
	return all
}

// refusedBy sums up what the kernel kept away from a shard's sockets of one kind. d.mu must be held.
func (d *Dataplane) refusedBy(kind faceKind, shard int) refused {
	sum := d.refused[kind][shard]
	for key, g := range d.raw {
		if key.kind == kind {
			sum.add(g.faces[shard], d.log)
		}
	}
	return sum
}

// add adds what the kernel kept away from f's socket.
func (r *refused) add(f *face, log *slog.Logger) {
	unknown, malformed, err := f.sock.Refused()
	if err != nil {
		log.Error("can't read the counters of a filter", telemetry.Protocol, f.kind.String(), telemetry.Error, err)
	}
	r.unknown += unknown
	r.malformed += malformed
}

// reportDrops logs once a minute what was dropped and why: a shard counts and never logs a packet.
func (d *Dataplane) reportDrops(ctx context.Context) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	last := make([]ShardStats, len(d.shards))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i, now := range d.ShardStats() {
			for drop, n := range now.Drops {
				if more := n - last[i].Drops[drop]; more != 0 {
					d.log.Info("packets dropped", telemetry.Shard, i, telemetry.Drop, Drop(drop).String(), telemetry.Count, more)
				}
			}
			last[i] = now
		}
	}
}

// OpenGRE opens the raw GRE sockets of a namespace that exists, "" being the daemon's. Each OpenGRE wants its CloseGRE;
// the sockets close with the last.
func (d *Dataplane) OpenGRE(namespace string) error {
	d.opening.Lock()
	defer d.opening.Unlock()
	if _, err := d.openRaw(faceGRE, namespace); err != nil {
		return fmt.Errorf("open GRE: %w", err)
	}
	return nil
}

// CloseGRE undoes one OpenGRE. Calls of the namespace that are still open get no more packets once the last is undone.
func (d *Dataplane) CloseGRE(namespace string) error {
	d.opening.Lock()
	defer d.opening.Unlock()
	return d.closeRaw(faceGRE, namespace)
}

// openRaw returns the raw sockets of a namespace, opened if nobody has them yet. d.opening must be held.
func (d *Dataplane) openRaw(kind faceKind, namespace string) ([]*face, error) {
	key := rawKey{kind, namespace}
	d.mu.Lock()
	if d.stopped {
		d.mu.Unlock()
		return nil, ErrStopped
	}
	if g := d.raw[key]; g != nil {
		g.refs++
		d.mu.Unlock()
		return g.faces, nil
	}
	d.lastIndex++
	index := d.lastIndex
	d.mu.Unlock()

	open := d.opener.OpenGRE
	if kind == faceESP {
		open = d.opener.OpenESP
	}
	g := &rawFaces{refs: 1}
	for i := range d.shards {
		sock, err := open(namespace, i, len(d.shards))
		if err != nil {
			d.closeFaces(g.faces)
			return nil, err
		}
		g.faces = append(g.faces, &face{kind: kind, index: index, sock: sock})
	}
	if err := d.watchFaces(g.faces); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.raw[key] = g
	return g.faces, nil
}

// closeRaw undoes one openRaw. d.opening must be held.
func (d *Dataplane) closeRaw(kind faceKind, namespace string) error {
	key := rawKey{kind, namespace}
	d.mu.Lock()
	g := d.raw[key]
	if g == nil {
		d.mu.Unlock()
		return fmt.Errorf("%w: %q", ErrNoGRE, namespace)
	}
	g.refs--
	if g.refs > 0 {
		d.mu.Unlock()
		return nil
	}
	delete(d.raw, key)
	for i, f := range g.faces {
		d.refused[kind][i].add(f, d.log)
	}
	d.mu.Unlock()
	if err := d.unwatchFaces(g.faces); err != nil {
		return err // Stop closes, or has closed, the sockets
	}
	d.closeFaces(g.faces)
	return nil
}

// Counters asks for the counters of several calls, with one command for each shard. A call that is closed keeps its
// last.
func (d *Dataplane) Counters(calls []*Call) []Counters {
	all := make([]Counters, len(calls))
	// After Stop there is nobody to ask, and what is not told is zero.
	_ = d.onAll(func(s *shard) {
		for i, c := range calls {
			if c.shard == s {
				all[i] = s.countersOf(c.call)
			}
		}
	})
	return all
}

// newID takes a slot and a call ID: on that shard, or if it is negative on the one with the fewest calls.
func (d *Dataplane) newID(shard int) (uint16, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return 0, ErrStopped
	}
	if d.calls >= d.maxSessions {
		return 0, fmt.Errorf("%w: %d", ErrTooManyCalls, d.calls)
	}
	best := -1
	for i, q := range d.ids {
		if q.n > 0 && (shard < 0 || shard == i) && (best < 0 || d.load[i] < d.load[best]) {
			best = i
		}
	}
	if best < 0 {
		return 0, ErrNoCallID
	}
	id, _ := d.ids[best].take()
	d.load[best]++
	d.calls++
	return id, nil
}

// freeID gives back what newID took.
func (d *Dataplane) freeID(id uint16) {
	shard := shardOfID(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids[shard].put(id)
	d.load[shard]--
	d.calls--
}

// shardOfID is the shard that an ID of ours carries.
func shardOfID(id uint16) int { return int(id) % steer.MaxShards }

func (d *Dataplane) shardOf(id uint16) *shard { return d.shards[shardOfID(id)] }

// newSPI takes an SPI of a shard.
func (d *Dataplane) newSPI(shard int) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return 0, ErrStopped
	}
	spi, ok := d.spis[shard].take()
	if !ok {
		return 0, ErrNoSPI
	}
	return spi, nil
}

// freeSPI gives back what newSPI took.
func (d *Dataplane) freeSPI(spi uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spis[spi%steer.MaxShards].put(spi)
}

// isInner says whether a can be an inner address: IPv4, one host's.
func isInner(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}
