package accounting

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Errors of a Ledger.
var (
	// ErrUnknownSession is returned for a session that has not begun, or has ended.
	ErrUnknownSession = errors.New("accounting: no such session")
	// ErrKnownSession is returned by Start for a session that has begun already.
	ErrKnownSession = errors.New("accounting: the session has begun already")
)

// Config is what a Ledger is opened with.
type Config struct {
	Storage Storage
	// Sink returns who takes the records of a tenant; false: nobody does for now, they wait for Poke, or at most a minute.
	// It is called before each record, from several goroutines, and must not block.
	Sink func(tenant string) (Sink, bool)
	Log  *slog.Logger
	// MaxBytes is how many octets of records may wait, of all tenants together; 0 means 256 MiB. A record has some 500. What
	// is over is taken from the tenant that has the most, its oldest Interims first. Nothing but Interims is ever dropped.
	MaxBytes    int64
	Concurrency int              // records of one tenant under way at once; 0: 32
	Now         func() time.Time // nil: time.Now
}

const (
	defaultMaxBytes    = 256 << 20
	defaultConcurrency = 32
)

// Ledger keeps records until they are acknowledged. All its methods are safe for concurrent use. Those that write
// return when what they wrote is durable: they block for one or two commits of the Storage, and for no Sink.
type Ledger struct {
	cfg Config

	// turn is held, by its one place, by whoever commits. It orders the commits, so that the memory below is changed in the
	// order of the storage.
	turn       chan struct{}
	checkpoint chan struct{} // held by the Checkpoint under way, as are the next two

	chunksBegin, chunksEnd int // numbers of the checkpoint items that the storage may have

	mu       sync.Mutex // taken after turn, if both are; never held in a call to Storage or Sink
	queue    []*request // wait for a commit, in order
	live     map[string]*liveSession
	stopping map[string]stopArgs // Stops that the storage has not taken, by session
	queues   map[string]*queue   // by tenant
	bytes    int64               // of all records
	nextID   uint64
	reserved uint64 // stored: no ID at or above it has been used
	runner   *runner
	changed  chan struct{} // closed, and made anew, when the schedule of a tenant has changed
}

// liveSession is a session that has begun and not ended.
type liveSession struct {
	session  Session
	counters Counters // as of at, and durable
	at       time.Time
	age      time.Duration // of the session at at, however the clock was set meanwhile
}

// queue is the records of one tenant that are stored.
type queue struct {
	tenant string
	chains map[chainKey]*chain
	sched  *schedule
	newest entry         // the last record, also when it has gone
	wake   chan struct{} // of one place: the schedule has changed
	runs   bool          // a goroutine of Run looks after it
	nobody bool          // there was no Sink when it was looked for last

	live            int
	unsent          int
	bytes           int64
	interims        int // that are stored
	dropped         uint64
	sent, failures  uint64
	lastError       string
	lastSent        time.Time
	lastDropLog     time.Time
	droppedUnlogged int
}

// tenantQueue returns the queue of a tenant. The caller holds mu.
func (l *Ledger) tenantQueue(tenant string) *queue {
	q := l.queues[tenant]
	if q == nil {
		q = &queue{
			tenant: tenant, chains: make(map[chainKey]*chain), sched: newSchedule(l.cfg.Concurrency), wake: make(chan struct{}, 1),
		}
		l.queues[tenant] = q
	}
	return q
}

// add takes a record that is stored into the index, as the youngest of its chain. The caller holds mu.
func (l *Ledger) add(key recordKey, size int) {
	q := l.tenantQueue(key.tenant)
	e := entry{id: key.id, size: uint32(size), status: key.status}
	l.count(q, e)
	if c := q.chains[key.chain()]; c != nil {
		c.entries = append(c.entries, e)
	} else {
		c = &chain{key: key.chain(), entries: []entry{e}}
		q.chains[c.key] = c
		q.sched.put(c, l.now())
	}
	l.look(q)
}

// count takes a record that is stored into the counts. The caller holds mu.
func (l *Ledger) count(q *queue, e entry) {
	q.unsent++
	q.bytes += int64(e.size)
	l.bytes += int64(e.size)
	if e.status == Interim {
		q.interims++
	}
	q.newest = e
}

// forget takes a record that is no longer stored out of the counts. The caller holds mu.
func (l *Ledger) forget(q *queue, e entry) {
	q.unsent--
	q.bytes -= int64(e.size)
	l.bytes -= int64(e.size)
	if e.status == Interim {
		q.interims--
	}
}

// look makes whoever looks after q, or waits for it, look again. The caller holds mu.
func (l *Ledger) look(q *queue) {
	if l.runner != nil && !q.runs {
		l.runner.begin(q)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	l.tell()
}

// tell makes whoever waits for a change look again. The caller holds mu.
func (l *Ledger) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// key is where the record e of the chain c is stored.
func (q *queue) key(c *chain, e entry) recordKey {
	return recordKey{id: e.id, status: e.status, tenant: q.tenant, session: c.key.session}
}

// size is what a record counts for in MaxBytes: its key and its value.
func size(item Item) int { return len(item.Key) + len(item.Value) }

// tenantName is the resource name of a tenant, for log lines.
func tenantName(id string) string { return "tenants/" + id }
