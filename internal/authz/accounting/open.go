package accounting

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// crashDetail tells operators of a session that got its Stop from Open.
const crashDetail = "the concentrator ended without ending the session; time and counters are what was last stored of it"

// Open reads what the storage holds, and writes a Stop for each session that was alive when the process before ended: with
// Crash, and what was last known of it. A session's Stop and its end are one commit, so however often Open is cut off,
// there is one Stop. An item that can't be right is an error that names it and wraps ErrCorrupt, or ErrTooNew: nothing is
// thrown away for it.
//
// Nothing is sent before Run. There is nothing to close: the Storage is the caller's.
func Open(cfg Config) (*Ledger, error) {
	if cfg.Storage == nil || cfg.Sink == nil || cfg.Log == nil {
		return nil, errors.New("accounting: Config lacks Storage, Sink or Log")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Ledger{
		cfg: cfg, turn: make(chan struct{}, 1), checkpoint: make(chan struct{}, 1),
		live: make(map[string]*liveSession), stopping: make(map[string]stopArgs), queues: make(map[string]*queue),
		changed: make(chan struct{}), nextID: 1, reserved: 1,
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	if err := l.stopDead(); err != nil {
		return nil, err
	}
	return l, l.trim()
}

// loading is what load has found.
type loading struct {
	records     []loaded
	live        map[string]*liveSession
	checkpoints []checkpointForm
}

// loaded is a record that load has found.
type loaded struct {
	chain *chain
	queue *queue
	entry entry
}

// load fills the index.
func (l *Ledger) load() error {
	in := &loading{live: l.live}
	err := l.cfg.Storage.Load(func(key string, value []byte) error {
		if err := l.loadItem(in, key, value); err != nil {
			return fmt.Errorf("item %q of the accounting store: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the accounting store: %w", err)
	}
	for _, f := range in.checkpoints {
		for _, e := range f.Sessions {
			if live := l.live[string(e.ID)]; live != nil {
				live.learn(Counters(e.Counters), e.Time, cmp.Or(e.Age, live.session.age(e.Time)))
			}
		}
	}
	for _, live := range l.live {
		l.tenantQueue(live.session.Tenant).live++
	}
	l.index(in.records)
	return nil
}

func (l *Ledger) loadItem(in *loading, key string, value []byte) error {
	switch {
	case strings.HasPrefix(key, recordPrefix):
		k, err := parseRecordKey(key)
		if err != nil {
			return err
		}
		if _, err := check(value); err != nil {
			return err
		}
		in.records = append(in.records, l.loadRecord(k, len(key)+len(value)))
	case strings.HasPrefix(key, livePrefix):
		var f liveForm
		if err := open(value, &f); err != nil {
			return err
		}
		s := *f.Session.session()
		if liveKey(s.SessionID) != key || checkNames(s.Tenant, s.SessionID, false) != nil {
			return fmt.Errorf("%w: it holds another session", ErrCorrupt)
		}
		in.live[s.SessionID] = &liveSession{session: s, counters: Counters(f.Counters), at: f.Time, age: cmp.Or(f.Age, s.age(f.Time))}
	case strings.HasPrefix(key, checkpointPrefix):
		var f checkpointForm
		if err := open(value, &f); err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(key, checkpointPrefix))
		if err != nil || n < 0 || checkpointKey(n) != key {
			return fmt.Errorf("%w: wrong key", ErrCorrupt)
		}
		if len(in.checkpoints) == 0 {
			l.chunksBegin = n
		}
		l.chunksBegin, l.chunksEnd = min(l.chunksBegin, n), max(l.chunksEnd, n+1)
		in.checkpoints = append(in.checkpoints, f)
	case key == metaKey:
		var f metaForm
		if err := open(value, &f); err != nil {
			return err
		}
		l.reserved = max(l.reserved, f.NextID)
		l.nextID = max(l.nextID, f.NextID)
	default:
		return fmt.Errorf("%w: unknown key", ErrCorrupt)
	}
	return nil
}

// loadRecord finds, or makes, the chain of a record.
func (l *Ledger) loadRecord(k recordKey, size int) loaded {
	q := l.tenantQueue(k.tenant)
	c := q.chains[k.chain()]
	if c == nil {
		c = &chain{key: k.chain()}
		q.chains[c.key] = c
	}
	l.nextID = max(l.nextID, k.id+1)
	return loaded{chain: c, queue: q, entry: entry{id: k.id, size: uint32(size), status: k.status}}
}

// index puts the records that load has found in order.
func (l *Ledger) index(records []loaded) {
	slices.SortFunc(records, func(a, b loaded) int { return cmp.Compare(a.entry.id, b.entry.id) })
	for _, r := range records {
		r.chain.entries = append(r.chain.entries, r.entry)
		l.count(r.queue, r.entry)
	}
	now := l.now()
	for _, r := range records {
		if r.chain.place == nowhere {
			r.queue.sched.put(r.chain, now)
		}
	}
}

// stopDead writes the Stop of each session that the process before has left alive.
func (l *Ledger) stopDead() error {
	dead := make([]*liveSession, 0, len(l.live))
	for _, s := range l.live {
		dead = append(dead, s)
	}
	slices.SortFunc(dead, func(a, b *liveSession) int {
		return cmp.Or(a.session.Started.Compare(b.session.Started), cmp.Compare(a.session.SessionID, b.session.SessionID))
	})
	var requests []*request
	for _, s := range dead {
		args := stopArgs{id: s.session.SessionID, counters: s.counters, detail: crashDetail, at: s.at, age: s.age, crash: true}
		requests = append(requests, l.stop(args, func() bool { return true }))
	}
	l.queue = append(l.queue, requests...) // all of them first, so that each commit takes as many as it can
	for _, r := range requests {
		for !r.finished {
			_ = l.commitBatch() // it is in r.err
		}
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

// trim drops what is over MaxBytes, which may have been more.
func (l *Ledger) trim() error {
	for before := int64(0); l.bytes > l.cfg.MaxBytes && l.bytes != before; {
		before = l.bytes
		if err := l.commitBatch(); err != nil {
			return err
		}
	}
	return nil
}
