package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"concentrator/internal/store"
)

// full is an engine whose disk the test fills.
type full struct {
	store.KV
	err error
}

func (f *full) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	if f.err != nil {
		return 0, false, f.err
	}
	return f.KV.Commit(ctx, guards, ops)
}

// A write that fails shows, until a write goes well again; reading alone writes nothing.
func TestHealth(t *testing.T) {
	v := newVault(t)
	kv := &full{KV: v.kv}
	s := v.open(t, kv)
	rev, err := s.Revision()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("at first: %v", err)
	}
	if now, err := s.Revision(); err != nil || now != rev {
		t.Errorf("it has written something (%v)", err)
	}
	kv.err = errors.New("no space left on device")
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("before anybody has written: %v", err)
	}
	for range 2 {
		if err := store.Create(s, &store.Tenant{Meta: named(acme)}); !errors.Is(err, kv.err) {
			t.Fatal(err)
		}
		if err := s.Health(t.Context()); !errors.Is(err, kv.err) {
			t.Errorf("after a write that failed: %v", err)
		}
	}
	kv.err = nil
	if err := s.Health(t.Context()); err == nil {
		t.Error("it was tried again at once")
	}
	time.Sleep(1100 * time.Millisecond)
	for range 2 {
		if err := s.Health(t.Context()); err != nil {
			t.Errorf("when there is space again: %v", err)
		}
	}
	create(t, s, &store.Tenant{Meta: named(acme)})
	if err := store.Create(s, &store.Tenant{Meta: named(acme)}); !errors.Is(err, store.ErrExists) || s.Health(t.Context()) != nil {
		t.Errorf("a refused write is no fault of the store: %v", err)
	}
	if err := v.kv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
