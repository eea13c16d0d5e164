package secret

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	p := &place{}
	s := mustOpen(t, path, p)
	other := mustOpen(t, path, p) // another instance on the same store
	old, err := s.Seal([]byte("x"), "r", "f")
	must(t, err)
	before := s.Revision()
	if !s.Fresh(old) || s.Keys() != 1 {
		t.Errorf("before: fresh %t, %d keys", s.Fresh(old), s.Keys())
	}

	rev, err := s.AddKey()
	must(t, err)
	if rev <= before || s.Revision() != rev || s.Keys() != 2 {
		t.Errorf("after AddKey: revision %d, was %d; %d keys", rev, before, s.Keys())
	}
	if s.Fresh(old) || s.Fresh(nil) || s.Fresh([]byte{1}) {
		t.Error("what the old key sealed is called fresh")
	}
	fresh, err := s.Seal([]byte("x"), "r", "f")
	must(t, err)
	if !s.Fresh(fresh) {
		t.Error("the new key does not seal")
	}
	for _, sealed := range [][]byte{old, fresh} {
		if plain, err := s.Open(sealed, "r", "f"); err != nil || string(plain) != "x" {
			t.Errorf("Open = %q, %v", plain, err)
		}
	}

	// A rotation that was broken off is gone on with, after a restart too.
	if again, err := mustOpen(t, path, p).AddKey(); again != rev || err != nil {
		t.Errorf("second AddKey: %d, %v; want %d again", again, err, rev)
	}
	// The other instance has to look.
	if _, err := other.Open(fresh, "r", "f"); !errors.Is(err, ErrSealed) {
		t.Errorf("opened with a keyset that has not the key: %v", err)
	}
	must(t, other.Refresh())
	if _, err := other.Open(fresh, "r", "f"); err != nil {
		t.Error(err)
	}

	if err := s.DropOldKeys(before); !errors.Is(err, ErrRotated) || s.Keys() != 2 {
		t.Errorf("DropOldKeys of another revision: %v, %d keys", err, s.Keys())
	}
	must(t, s.DropOldKeys(rev))
	if s.Keys() != 1 || !s.Fresh(fresh) {
		t.Errorf("after DropOldKeys: %d keys, fresh %t", s.Keys(), s.Fresh(fresh))
	}
	for _, s := range []*Sealer{s, mustOpen(t, path, p)} {
		if _, err := s.Open(old, "r", "f"); !errors.Is(err, ErrSealed) {
			t.Errorf("the old key still opens: %v", err)
		}
		if plain, err := s.Open(fresh, "r", "f"); err != nil || string(plain) != "x" {
			t.Errorf("Open = %q, %v", plain, err)
		}
	}
	if err := other.DropOldKeys(rev); !errors.Is(err, ErrRotated) {
		t.Errorf("dropped by both instances: %v", err)
	}
}

// Two instances that add a key at once end up with one new key.
func TestAddKeyRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	first := &place{}
	a := mustOpen(t, path, first)
	second := &place{wrapped: bytes.Clone(first.wrapped), revision: first.revision}
	b := mustOpen(t, path, second)
	_, err := a.AddKey()
	must(t, err)
	second.taken = first.wrapped
	_, err = b.AddKey()
	must(t, err)
	sealed, err := b.Seal([]byte("x"), "r", "f")
	must(t, err)
	if !a.Fresh(sealed) || b.Keys() != 2 {
		t.Errorf("fresh for the first: %t; the second has %d keys", a.Fresh(sealed), b.Keys())
	}
}
