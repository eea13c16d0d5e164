package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"concentrator/internal/secret"
)

// ErrUnreadable is returned by Reencrypt for secrets that do not open, so that they can't be sealed anew.
var ErrUnreadable = errors.New("secrets can't be read")

// UnreadableError names them, at most the first ten, each as in "password of tenants/acme/users/alice". It is ErrUnreadable.
type UnreadableError struct{ Secrets []string }

// Error implements error.
func (e *UnreadableError) Error() string {
	return ErrUnreadable.Error() + ": " + strings.Join(e.Secrets, ", ")
}

// Is implements the interface of errors.Is.
func (*UnreadableError) Is(target error) bool { return target == ErrUnreadable }

const (
	// resealBytes bounds the values of one commit of Reencrypt, but for a single larger one: etcd takes 1.5 MiB.
	resealBytes = 1 << 20
	// maxUnreadable is how many secrets an UnreadableError names.
	maxUnreadable = 10
)

// Reencryption is what a Reencrypt did.
type Reencryption struct {
	Records  int // that hold secrets
	Resealed int // of these, by this call; what was sealed with the new key already is left alone
}

// Reencrypt changes the key that seals secrets: it adds a key to the keyset, seals with it what others sealed, in
// commits of many records, and drops the others. Records stay readable and writable all the time and keep their etags;
// Watch gives each as changed. Cut off anywhere, by ctx or by the death of the process, it leaves a store that is whole,
// and the next call goes on. After each page of records
// note, if not nil, is told how many were looked at so far, of Records.
//
// It returns an UnreadableError, with everything else sealed anew but the old keys kept, when there is a secret that does not
// open; ErrConflict when another call took over.
func (s *Store) Reencrypt(ctx context.Context, note func(seen int)) (Reencryption, error) {
	revision, err := s.sealer.AddKey()
	if err != nil {
		return Reencryption{}, fmt.Errorf("reencrypt: %w", err)
	}
	p := resealing{s: s, revision: revision, note: note}
	if err := p.run(ctx); err != nil {
		return p.done, fmt.Errorf("reencrypt: %w", err)
	}
	if err := p.checkKeyset(); err != nil {
		return p.done, fmt.Errorf("reencrypt: %w", err)
	}
	if len(p.unreadable) > 0 {
		return p.done, fmt.Errorf("reencrypt: %w", &UnreadableError{p.unreadable})
	}
	if err := s.sealer.DropOldKeys(revision); err != nil {
		if errors.Is(err, secret.ErrRotated) {
			err = ErrConflict
		}
		return p.done, fmt.Errorf("reencrypt: %w", err)
	}
	return p.done, nil
}

// Reencrypting says whether a Reencrypt is under way, or was broken off.
func (s *Store) Reencrypting() bool { return s.sealer.Keys() > 1 }

// resealing is one pass over all records. From the moment that the new key is there, nobody commits a record that an old
// key sealed (see encode): so each record that needs it is met once, wherever it is written meanwhile.
type resealing struct {
	s        *Store
	revision int64 // of the keyset that the pass is for

	guards     []Guard
	ops        []Op // waiting to be committed, each under the guard of its index
	bytes      int
	done       Reencryption
	unreadable []string
	note       func(seen int)
}

func (p *resealing) run(ctx context.Context) error {
	seen := 0
	if err := p.s.pages(ctx, func(items []Item) error {
		for _, item := range items {
			if err := p.add(ctx, item); err != nil {
				return err
			}
		}
		seen += len(items)
		if p.note != nil {
			p.note(seen)
		}
		return nil
	}); err != nil {
		return err
	}
	return p.flush(ctx)
}

// Records counts the records of all kinds.
func (s *Store) Records(ctx context.Context) (n int, err error) {
	err = s.pages(ctx, func(items []Item) error {
		n += len(items)
		return nil
	})
	return n, err
}

// pages calls do with all records, a page at a time.
func (s *Store) pages(ctx context.Context, do func([]Item) error) error {
	r := Range{Start: recordPrefix, End: PrefixEnd(recordPrefix), Limit: MaxOps}
	for more := true; more; {
		var items []Item
		var err error
		if items, _, more, err = s.kv.List(ctx, r); err != nil {
			return err
		}
		if len(items) > 0 {
			r.Start = items[len(items)-1].Key + "\x00"
		}
		if err := do(items); err != nil {
			return err
		}
	}
	return nil
}

// add seals a record anew, if it is to be.
func (p *resealing) add(ctx context.Context, item Item) error {
	value, err := p.reseal(item)
	if err != nil || value == nil {
		return err
	}
	if len(p.ops) == MaxOps || p.bytes+len(value) > resealBytes {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	p.guards = append(p.guards, Guard{Key: item.Key, ModRev: item.ModRev})
	p.ops = append(p.ops, Op{Key: item.Key, Value: value})
	p.bytes += len(value)
	return nil
}

// reseal returns what to put in an item's place; nil if it is to stay.
func (p *resealing) reseal(item Item) ([]byte, error) {
	_, name, ok := splitKey(item.Key)
	if !ok {
		return nil, fmt.Errorf("%w: key %q", ErrCorrupt, item.Key)
	}
	var e envelope
	if err := json.Unmarshal(item.Value, &e); err != nil {
		return nil, fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	if e.Version > recordVersion {
		return nil, fmt.Errorf("record %s has version %d, this program knows up to %d: %w", name, e.Version, recordVersion, ErrSchemaTooNew)
	}
	if len(e.Secrets) == 0 {
		return nil, nil
	}
	p.done.Records++
	stale := false
	for _, field := range slices.Sorted(maps.Keys(e.Secrets)) {
		sealed := e.Secrets[field]
		if p.s.sealer.Fresh(sealed) {
			continue
		}
		plain, err := p.s.sealer.Open(sealed, name, field)
		if err != nil {
			if len(p.unreadable) < maxUnreadable {
				p.unreadable = append(p.unreadable, field+" of "+name)
			}
			continue
		}
		if e.Secrets[field], err = p.s.sealer.Seal(plain, name, field); err != nil {
			return nil, fmt.Errorf("seal %s of %s: %w", field, name, err)
		}
		stale = true
	}
	if !stale {
		return nil, nil
	}
	e.Changed = e.changed(item)
	return json.Marshal(e)
}

// flush commits what waits. When a record of them was changed meanwhile, who did that has sealed it with the new key,
// and the others go one by one.
func (p *resealing) flush(ctx context.Context) error {
	if len(p.ops) == 0 {
		return nil
	}
	ok, err := p.commit(ctx, p.guards, p.ops)
	for i := 0; err == nil && !ok && i < len(p.ops); i++ {
		_, err = p.commit(ctx, p.guards[i:i+1], p.ops[i:i+1])
	}
	clear(p.ops) // the values can go
	p.guards, p.ops, p.bytes = p.guards[:0], p.ops[:0], 0
	return err
}

// commit needs no guard on the keyset: before another pass drops the key that sealed ops, it has changed their records.
func (p *resealing) commit(ctx context.Context, guards []Guard, ops []Op) (bool, error) {
	_, ok, err := p.s.kv.Commit(ctx, guards, ops)
	if err != nil {
		return false, err
	}
	if ok {
		p.done.Resealed += len(ops)
		return true, nil
	}
	return false, p.checkKeyset()
}

// checkKeyset returns ErrConflict when the keyset is no longer the one that the pass is for.
func (p *resealing) checkKeyset() error {
	if err := p.s.sealer.Refresh(); err != nil {
		return err
	}
	if p.s.sealer.Revision() != p.revision {
		return ErrConflict
	}
	return nil
}
