package dataplane

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/dataplane/steer"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/telemetry"
)

const (
	batchSize = netio.BatchSize
	// heldBufs is how many early GRE packets all calls of a shard may keep together.
	heldBufs = 512
	// spareBufs is how many packets a shard may make itself between two flushes: fragments, acknowledgements, control
	// frames, and copies of what the ring brings.
	spareBufs = 4 * batchSize
	// shapedBufs is how many packets all sessions of a shard may have waiting for their rates.
	shapedBufs = 1024
	// maxIn and maxOut are how many packets of a batch are on their way in and out at most: what was read, what the ring
	// brought, and what the shard made.
	maxIn  = batchSize + batchSize
	maxOut = batchSize + spareBufs
	// shapeGrain is how late a packet may be that waits for its rate, in nanoseconds.
	shapeGrain = int64(time.Millisecond)
	// timerGrain is how late a timer may fire, in nanoseconds: many calls then share one look.
	timerGrain = int64(5 * time.Millisecond)
	// maxEvents is how many ready descriptors one wait returns.
	maxEvents = 64
)

// source is what a shard waits on: its bell (both nil), a socket or a TUN queue.
type source struct {
	face *face
	net  *network
}

// shard is one core's part of the dataplane. All but inbox, ring, stopped and the fields set before run belongs to its
// goroutine.
type shard struct {
	id      int
	cpu     int // to pin to; -1: none
	epoch   time.Time
	log     *slog.Logger
	peers   []*shard // all shards, by id
	inbox   inbox
	ring    *ring
	stopped chan struct{} // closed when the goroutine ends

	epoll      int
	events     [maxEvents]unix.EpollEvent
	again      int // how many of events are to be served again
	blind      int // how often that was done without a look at the others
	moderation moderation
	sources    []source // by slot; the bell's is 0
	freeSlots  []int

	todo       *command // taken from the inbox and not yet begun
	at         blame    // for whom the shard works just now
	commanding bool     // it does so by a command
	careful    bool     // batches are of one packet: a panic was not long ago
	panics     int      // none of them calm after the one before
	lastPanic  int64
	reports    reports
	faults     *telemetry.Faults
	refusal    unix.Errno // the last that stats.SendRefused has counted

	stopping bool
	now      int64 // nanoseconds since epoch, as of the last wait or batch
	faces    map[uint32]*face
	networks map[uint32]*network
	tables   map[*space]*tableRef
	calls    [idsPerShard]*call // by call or L2TP session ID without the shard bits
	sas      [spisPerShard]*sa  // by the slot in their SPI
	born     uint64             // of the last of them
	timed    []*call            // calls with a deadline
	nextDue  int64              // when to look through timed; only if it is not empty
	dirty    []*face            // with messages pending
	stats    ShardStats

	// A batch is what is read between two flushes, from any sources and both ways.
	in         []pktbuf.Buf     // what it is read into
	used       int              // of in
	areas      [][]byte         // where in is read to
	sizes      []int            // of what a raw socket gave
	datagrams  []netio.Datagram // sizes of a UDP socket's part, and whose they are
	train      *tun.Train       // what a TUN queue gave in one piece, to be cut into in
	held       *pktbuf.Pool     // for the GRE sessions
	spare      *pktbuf.Pool     // for packets that the shard makes
	shaped     *pktbuf.Pool     // for packets that wait for their session's rate
	lent       []loan           // of these, until the flush
	items      []inboundItem
	opens      []mppe.OpenOp
	espItems   []espItem
	espOpens   []esp.OpenOp
	outs       []outboundItem
	seals      []mppe.SealOp
	espOuts    []espOut
	espSeals   []esp.SealOp
	coalescer  *tun.Coalescer // what goes to TUN devices
	tunOuts    []tunOut       // whose it is
	flushing   bool
	scratch    *mppe.Scratch
	espScratch *esp.Scratch
	copyIn     func(*ringItem) // copyPassed: once, because a method value allocates
	passed     passed          // what has been copied
	passedIn   *pktbuf.Buf     // nil: there was no room for it

	controlTaps []controlTap // of L2TP in clear, of all shards' sessions

	shaping         []*call // with packets that wait for their rate
	nextShaped      int64   // when to look through shaping; only if it is not empty
	fairIn, fairOut policy.Fair
}

// loan is a buffer of a pool that is taken back by the flush.
type loan struct {
	buf *pktbuf.Buf
	of  *pktbuf.Pool
}

// tableRef counts the networks that use a namespace's table.
type tableRef struct {
	table prefixes
	refs  int
}

func newShard(id int, epoch time.Time, log *slog.Logger) (*shard, error) {
	s := &shard{
		id: id, epoch: epoch, log: log, ring: newRing(), stopped: make(chan struct{}), epoll: -1,
		faces: map[uint32]*face{}, networks: map[uint32]*network{}, tables: map[*space]*tableRef{},
		in: make([]pktbuf.Buf, batchSize), sizes: make([]int, batchSize),
		datagrams: make([]netio.Datagram, batchSize), train: tun.NewTrain(),
		held: pktbuf.NewPool(heldBufs), spare: pktbuf.NewPool(spareBufs), shaped: pktbuf.NewPool(shapedBufs),
		lent:  make([]loan, 0, heldBufs+spareBufs+shapedBufs),
		items: make([]inboundItem, 0, maxIn), opens: make([]mppe.OpenOp, 0, maxIn),
		espItems: make([]espItem, 0, maxIn), espOpens: make([]esp.OpenOp, 0, maxIn),
		outs: make([]outboundItem, 0, maxOut), seals: make([]mppe.SealOp, 0, maxOut),
		espOuts: make([]espOut, 0, maxOut), espSeals: make([]esp.SealOp, 0, maxOut),
		coalescer: tun.NewCoalescer(), scratch: mppe.NewScratch(), espScratch: esp.NewScratch(),
	}
	s.copyIn = s.copyPassed
	for i := range s.in {
		s.areas = append(s.areas, s.in[i].ReadArea())
	}
	var err error
	if s.inbox.bell, err = newBell(); err != nil {
		return nil, err
	}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if _, err := s.watch(s.inbox.fd, source{}); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// release gives back the descriptors of a shard that doesn't run.
func (s *shard) release() {
	if s.epoll >= 0 {
		if err := unix.Close(s.epoll); err != nil {
			s.log.Error("can't close epoll", telemetry.Shard, s.id, telemetry.Error, err)
		}
		s.epoll = -1
	}
}

// do runs f on the shard and waits until it has run. ErrStopped if it never will, ErrPanic if it did not come to its end.
func (s *shard) do(f func(*shard)) error { return s.doFor(blame{}, f) }

// doFor is do for a call or a peer of the shard.
func (s *shard) doFor(of blame, f func(*shard)) error {
	done := make(chan error, 1)
	s.inbox.pushFor(of, answering(done, f))
	select {
	case err := <-done:
		return err
	case <-s.stopped:
	}
	select {
	case err := <-done: // it was among the last
		return err
	default:
		return ErrStopped
	}
}

// answering is a command that does f and says at its end, whatever that is, how it went.
func answering(done chan<- error, f func(*shard)) func(*shard) {
	return func(s *shard) {
		err := ErrPanic
		defer func() { done <- err }()
		f(s)
		err = nil
	}
}

// run is the shard's goroutine. It never unlocks its thread, which is pinned and must not serve others.
func (s *shard) run() {
	defer close(s.stopped)
	runtime.LockOSThread()
	s.pin()
	if err := sharpen(); err != nil {
		s.log.Warn("can't make short sleeps exact", telemetry.Shard, s.id, telemetry.Error, err)
	}
	debug.SetPanicOnFault(true) // a bad address is no end of the process either
	s.tick()
	for !s.stopping {
		s.loop()
	}
}

// loop goes round until the shard is to stop, or something panics.
func (s *shard) loop() {
	defer s.contain()
	for {
		s.runCommands() // what the control plane asked for, in order
		if s.stopping {
			return
		}
		s.runRing()   // what came to the wrong shard
		s.runTimers() // reorder windows and acknowledgements
		s.runShapers()
		s.flush()
		n := s.wait()
		s.tick()
		s.again = 0
		for i := range n {
			if s.serve(&s.events[i]) { // up to a batch from each that is ready
				s.events[s.again] = s.events[i]
				s.again++
			}
		}
		s.flush() // all of it at once: the more packets, the cheaper each
		if n > 0 {
			s.moderate()
		}
		if s.careful {
			s.careful = s.now-s.lastPanic <= calm
		}
	}
}

func (s *shard) pin() {
	if s.cpu < 0 {
		s.stats.CPU = -1
		return
	}
	var set unix.CPUSet
	set.Set(s.cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		s.log.Warn("can't pin shard to its CPU", telemetry.Shard, s.id, telemetry.Error, err)
		s.cpu = -1
	}
	s.stats.CPU = s.cpu
}

func (s *shard) tick() { s.now = int64(time.Since(s.epoch)) }

func (s *shard) runCommands() {
	if s.todo == nil {
		s.todo = s.inbox.take()
	}
	if s.todo == nil {
		return
	}
	s.commanding = true
	for s.todo != nil {
		c := s.todo
		s.todo = c.next // first: it is not run again if it panics, and those behind it are
		s.at = c.of
		c.run(s)
		if s.careful {
			s.flush()
		}
	}
	s.at, s.commanding = blame{}, false
}

// runRing takes up to a batch of packets that other shards passed on.
func (s *shard) runRing() {
	for range batchSize {
		if s.spare.Free() == 0 || len(s.items) == cap(s.items) || len(s.espItems) == cap(s.espItems) {
			s.flush()
		}
		if !s.ring.take(s.copyIn) {
			return
		}
		s.takePassed()
	}
}

// serve takes up to a batch from what is ready and says whether it was one, so that more may be there.
func (s *shard) serve(e *unix.EpollEvent) (full bool) {
	src := &s.sources[e.Fd]
	switch {
	case src.face != nil:
		return s.readWire(src.face)
	case src.net != nil:
		if e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			s.loseNetwork(src.net)
			return false
		}
		return s.readTUN(src.net)
	case e.Fd == bellSlot:
		s.inbox.silence()
	}
	return false
}

// bellSlot is the slot of the inbox's bell.
const bellSlot = 0

// watch adds a descriptor to what wait waits for and returns its slot.
func (s *shard) watch(fd int, src source) (int, error) {
	slot := len(s.sources)
	if n := len(s.freeSlots); n > 0 {
		slot = s.freeSlots[n-1]
	}
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return 0, fmt.Errorf("wait for descriptor: %w", err)
	}
	if slot == len(s.sources) {
		s.sources = append(s.sources, src)
	} else {
		s.freeSlots = s.freeSlots[:len(s.freeSlots)-1]
		s.sources[slot] = src
	}
	return slot, nil
}

// unwatch undoes watch. Events of the descriptor that wait has already returned find an empty slot.
func (s *shard) unwatch(fd, slot int) {
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		s.log.Error("can't stop waiting for descriptor", telemetry.Shard, s.id, telemetry.Error, err)
	}
	s.sources[slot] = source{}
	s.freeSlots = append(s.freeSlots, slot)
}

func (s *shard) addNetwork(n *network, spec NetworkSpec) error {
	sp := n.owner.space
	ref := s.tables[sp]
	if ref == nil {
		ref = &tableRef{}
		s.tables[sp] = ref
	}
	ref.refs++
	n.table, n.gone = &ref.table, true
	n.configure(spec)
	s.networks[n.index] = n
	slot, err := s.watch(n.queue.FD, source{net: n})
	if err != nil {
		return err
	}
	n.slot, n.gone = slot, false
	return nil
}

// removeNetwork lets go of the queue and detaches the network's sessions.
func (s *shard) removeNetwork(n *network) {
	if s.networks[n.index] != n {
		return
	}
	if !n.gone {
		n.gone = true
		s.unwatch(n.queue.FD, n.slot)
	}
	delete(s.networks, n.index)
	n.table.unsetNetwork(n)
	for _, c := range s.calls {
		if c != nil && c.net == n {
			c.detach()
		}
	}
	ref := s.tables[n.owner.space]
	if ref.refs--; ref.refs == 0 {
		delete(s.tables, n.owner.space)
	}
}

// loseNetwork is for a device that was deleted under us: its queue would be "ready" for ever.
func (s *shard) loseNetwork(n *network) {
	if n.gone {
		return
	}
	n.gone = true
	s.unwatch(n.queue.FD, n.slot)
	n.owner.lose()
}

func (s *shard) addCall(c *call) {
	c.opened = s.now
	c.lastInbound, c.lastActivity = s.now, s.now
	s.calls[c.id>>steer.ShardBits] = c
	s.stats.Calls++
	if c.l2tp != nil {
		c.l2tp.peer.carry(c)
	}
}

// removeCall takes the call out. What it had pending is sent first, because it points to it.
func (s *shard) removeCall(c *call) {
	if c.removed {
		return
	}
	s.flush()
	s.unlink(c)
	if c.timed {
		s.untime(c)
	}
	s.giveBack(c)
	s.conclude(c)
}

// unlink makes a call one that nothing finds any more. It says whether it was not so yet.
func (s *shard) unlink(c *call) bool {
	if c.removed {
		return false
	}
	c.removed, c.open, c.hears = true, false, false
	if at := &s.calls[c.id>>steer.ShardBits]; *at == c {
		*at = nil
		s.stats.Calls--
	}
	return true
}

// giveBack returns the buffers that a call keeps.
func (s *shard) giveBack(c *call) {
	if c.gre != nil {
		c.gre.Close()
	}
	s.setRates(c, 0, 0)
}

// conclude is the rest of a call's end on its shard.
func (s *shard) conclude(c *call) {
	c.endTaps(s)
	if c.l2tp != nil {
		c.l2tp.peer.letGo(c)
	}
	c.counters.Lost = c.lost()
	s.wipeKeys(c)
}

func (s *shard) countersOf(c *call) Counters {
	now := int64(time.Since(s.epoch))
	k := c.counters
	if !c.removed {
		k.Lost = c.lost()
	}
	k.LastInbound = time.Duration(now - c.lastInbound)
	k.LastActivity = time.Duration(now - c.lastActivity)
	return k
}

func (s *shard) snapshot() ShardStats {
	st := s.stats
	st.Shard = s.id
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err == nil {
		st.CPUTime = time.Duration(ts.Nano())
	}
	return st
}

// drop counts a packet that goes no further; c may be nil.
func (s *shard) drop(c *call, d Drop) {
	s.stats.Drops[d]++
	if c != nil {
		c.counters.Drops[d]++
	}
}

// makeRoom flushes unless at least half a batch can still be read.
func (s *shard) makeRoom() {
	if s.used > batchSize/2 {
		s.flush()
	}
}

// extend makes a list of a batch longer by an element, which is zero, for the caller to fill in where it is: one that is made
// elsewhere and copied costs several times as much.
func extend[T any](list *[]T) *T {
	n := len(*list)
	if n == cap(*list) {
		*list = append(*list, *new(T))
	} else {
		*list = (*list)[:n+1]
	}
	return &(*list)[n]
}

// lend notes a buffer that its pool gets back at the next flush.
func (s *shard) lend(b *pktbuf.Buf, of *pktbuf.Pool) { s.lent = append(s.lent, loan{b, of}) }

// buf lends a buffer of the shard's own until the next flush; nil when none is left.
func (s *shard) buf() *pktbuf.Buf {
	b := s.spare.Get()
	if b != nil {
		s.lend(b, s.spare)
	}
	return b
}

// flush carries all that has been read to where it goes, and takes the buffers back.
func (s *shard) flush() {
	if s.flushing {
		return // a control message that what is flushed has brought about
	}
	s.flushing = true
	before := s.at
	s.at = blame{}
	s.deliverAll()
	s.openESP()
	s.sendAll()
	s.flushTUN()
	for _, f := range s.dirty {
		s.write(f) // 8
		f.dirty = false
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	for _, l := range s.lent {
		l.of.Put(l.buf)
	}
	clear(s.lent)
	s.lent = s.lent[:0]
	s.used = 0
	s.flushing = false
	s.at = before
}

// pass gives a packet that belongs to another shard to that one.
func (s *shard) pass(to int, inner bool, source uint32, packet []byte) {
	s.stats.WrongShard++
	peer := s.peers[to]
	if !peer.ring.put(inner, source, packet) {
		s.drop(nil, DropRingFull)
		return
	}
	peer.inbox.ring()
}

// passDatagram is pass for what came by UDP, which has no IP header that would tell from whom.
func (s *shard) passDatagram(to int, f *face, d *netio.Datagram, packet []byte) {
	s.stats.WrongShard++
	peer := s.peers[to]
	if !peer.ring.putDatagram(f.index, d, packet) {
		s.drop(nil, DropRingFull)
		return
	}
	peer.inbox.ring()
}

// copyPassed copies a packet out of the ring, whose slot is free then, whatever becomes of the packet.
func (s *shard) copyPassed(it *ringItem) {
	s.passed, s.passedIn = it.passed, s.buf()
	if s.passedIn != nil && !s.passedIn.SetBytes(it.data[:it.size]) {
		s.passedIn = nil
	}
}

// takePassed carries on with a packet that another shard passed on.
func (s *shard) takePassed() {
	s.at = blame{} // until it is known
	if s.passedIn == nil {
		s.drop(nil, DropNoRoom)
		return
	}
	s.takeOver(&s.passed, s.passedIn)
	s.at = blame{}
	if s.careful {
		s.flush()
	}
}

// takeOver does what is to be done with it.
func (s *shard) takeOver(it *passed, b *pktbuf.Buf) {
	if it.inner {
		if n := s.networks[it.source]; n != nil {
			s.route(n, b, true)
		}
		return
	}
	f := s.faces[it.source]
	if f == nil {
		return
	}
	switch f.kind {
	case faceGRE:
		s.find(f, b, true)
	case faceESP:
		s.rawESP(f, b, true)
	default:
		d := netio.Datagram{Size: it.size, From: it.from, FromPort: it.fromPort, To: it.to, TOS: it.tos}
		s.datagram(f, b, &d, true)
	}
}
