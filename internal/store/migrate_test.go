package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
)

// memory is as much of a KV as migrations need.
type memory struct {
	KV
	items map[string]Item
	rev   int64
}

func (m *memory) Get(_ context.Context, key string) (Item, error) {
	if item, ok := m.items[key]; ok {
		return item, nil
	}
	return Item{}, ErrNotFound
}

func (m *memory) Commit(_ context.Context, guards []Guard, ops []Op) (int64, bool, error) {
	for _, g := range guards {
		if m.items[g.Key].ModRev != g.ModRev {
			return m.rev, false, nil
		}
	}
	m.rev++
	for _, op := range ops {
		m.items[op.Key] = Item{Key: op.Key, Value: op.Value, ModRev: m.rev}
	}
	return m.rev, true, nil
}

func TestMigrate(t *testing.T) {
	kv := &memory{items: make(map[string]Item)}
	var ran []int
	step := func(n int) migration {
		return func(context.Context, KV) error { ran = append(ran, n); return nil }
	}
	steps := []migration{step(1), step(2), step(3)}
	if err := migrate(t.Context(), kv, steps[:1]); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), kv, steps); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), kv, steps); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ran, []int{1, 2, 3}) {
		t.Errorf("ran %v, want each once and in order", ran)
	}
	// The older program finds the newer one's schema.
	before := maps.Clone(kv.items)
	if err := migrate(t.Context(), kv, steps[:2]); !errors.Is(err, ErrSchemaTooNew) {
		t.Errorf("older program: %v, want ErrSchemaTooNew", err)
	}
	if !maps.EqualFunc(before, kv.items, func(a, b Item) bool { return a.ModRev == b.ModRev }) {
		t.Error("the older program changed something")
	}
	kv.items[schemaKey] = Item{Key: schemaKey, Value: []byte("x")}
	if err := migrate(t.Context(), kv, steps); !errors.Is(err, ErrCorrupt) {
		t.Errorf("schema x: %v, want ErrCorrupt", err)
	}
}

// A migration that fails is run again from its beginning; those before it are not.
func TestMigrateGoesOnWhereItStopped(t *testing.T) {
	kv := &memory{items: make(map[string]Item)}
	var ran []int
	fail := true
	errDisk := errors.New("disk full")
	steps := []migration{
		func(context.Context, KV) error { ran = append(ran, 1); return nil },
		func(context.Context, KV) error {
			ran = append(ran, 2)
			if fail {
				return errDisk
			}
			return nil
		},
	}
	if err := migrate(t.Context(), kv, steps); !errors.Is(err, errDisk) {
		t.Fatalf("%v, want the migration's error", err)
	}
	fail = false
	if err := migrate(t.Context(), kv, steps); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ran, []int{1, 2, 2}) {
		t.Errorf("ran %v", ran)
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "a": "b", "a/": "a0", "a\xff": "b", "\xff\xff": ""} {
		if got := PrefixEnd(prefix); got != want {
			t.Errorf("PrefixEnd(%q) = %q, want %q", prefix, got, want)
		}
	}
}
