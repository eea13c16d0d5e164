package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
)

// feedEvents is how many changes a Feed keeps for watchers that come back (contract: 16 384).
const feedEvents = 16384

// Feed is the stream of changes to live sessions: a ring in memory with a revision for each change. Publishing never
// waits for a watcher; one that falls behind by more than the ring gets ErrExpired. It is safe for concurrent use.
type Feed struct {
	epoch uint64 // of this run: a token of an earlier one means nothing here

	mu    sync.Mutex
	ring  []change // of change n stands at n%cap once the ring is full
	next  int64    // revision of the next change; the first is 1
	woken chan struct{}
}

type change struct {
	info    *Info
	removed string
}

func (c change) name() string {
	if c.info != nil {
		return c.info.Name
	}
	return c.removed
}

// newFeed makes an empty feed with an epoch of its own.
func newFeed() *Feed {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return &Feed{epoch: binary.BigEndian.Uint64(b[:]), next: 1, woken: make(chan struct{})}
}

func (f *Feed) upsert(i Info)       { f.publish(change{info: &i}) }
func (f *Feed) remove(name string)  { f.publish(change{removed: name}) }
func (f *Feed) slot(rev int64) int  { return int((rev - 1) % feedEvents) }
func (f *Feed) oldest() (rev int64) { return max(1, f.next-feedEvents) }

func (f *Feed) publish(c change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ring) < feedEvents {
		f.ring = append(f.ring, c)
	} else {
		f.ring[f.slot(f.next)] = c
	}
	f.next++
	close(f.woken)
	f.woken = make(chan struct{})
}

// read returns up to one batch of changes from revision rev on, or a channel that closes when there are any.
func (f *Feed) read(rev int64) (batch []change, wait <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rev < f.oldest() || rev > f.next {
		return nil, nil, ErrExpired
	}
	if rev == f.next {
		return nil, f.woken, nil
	}
	for ; rev < f.next && len(batch) < 256; rev++ {
		batch = append(batch, f.ring[f.slot(rev)])
	}
	return batch, nil, nil
}

// watch calls fn with every live session that list returns, one SnapshotDone, and then each change, until ctx ends or
// fn fails. With the token of an event that fn has seen it goes on after that event instead. It returns ErrExpired for
// a token that is too old or of another run, and to a watcher that was too slow.
func (f *Feed) watch(ctx context.Context, token string, match func(name string) bool, list func() []Info, fn func(Event) error) error {
	rev, snapshot, err := f.start(token)
	if err != nil {
		return err
	}
	if snapshot {
		for _, i := range list() {
			if err := fn(Event{Upsert: &i, Revision: f.token(snapshotToken)}); err != nil {
				return err
			}
		}
		if err := fn(Event{SnapshotDone: true, Revision: f.token(rev - 1)}); err != nil {
			return err
		}
	}
	for {
		batch, wait, err := f.read(rev)
		if err != nil {
			return err
		}
		if wait != nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wait:
			}
			continue
		}
		for _, c := range batch {
			if match(c.name()) {
				if err := fn(Event{Upsert: c.info, Removed: c.removed, Revision: f.token(rev)}); err != nil {
					return err
				}
			}
			rev++
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// snapshotToken marks an event of a snapshot that was not finished: a watch that resumes after it starts anew.
const snapshotToken = -1

// start says at which revision a watch with this token begins and whether it begins with a snapshot.
func (f *Feed) start(token string) (rev int64, snapshot bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token == "" {
		return f.next, true, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != 16 || binary.BigEndian.Uint64(raw) != f.epoch {
		return 0, false, ErrExpired
	}
	after := int64(binary.BigEndian.Uint64(raw[8:]))
	if after == snapshotToken {
		return f.next, true, nil
	}
	if after < f.oldest()-1 || after >= f.next {
		return 0, false, ErrExpired
	}
	return after + 1, false, nil
}

// token names the event at revision rev: the epoch and the revision, opaque to clients.
func (f *Feed) token(rev int64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], f.epoch)
	binary.BigEndian.PutUint64(b[8:], uint64(rev))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// inTenant matches the names below one tenant; an empty tenant or "tenants/-" matches all.
func inTenant(tenant string) func(name string) bool {
	if tenant == "" || tenant == "tenants/-" {
		return func(string) bool { return true }
	}
	return func(name string) bool { return strings.HasPrefix(name, tenant+"/") }
}
