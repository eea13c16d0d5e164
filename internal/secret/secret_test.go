package secret

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// place is a KeysetStore in memory. With taken set, another instance stores that keyset at the last moment.
type place struct {
	wrapped  []byte
	revision int64
	taken    []byte
}

func (p *place) LoadKeyset() ([]byte, int64, error) { return p.wrapped, p.revision, nil }

func (p *place) SwapKeyset(b []byte, revision int64) (bool, error) {
	if p.taken != nil {
		p.wrapped, p.taken = p.taken, nil
		p.revision++
	}
	if p.revision != revision {
		return false, nil
	}
	p.wrapped = bytes.Clone(b)
	p.revision++
	return true, nil
}

func mustOpen(t *testing.T, path string, p *place) *Sealer {
	t.Helper()
	s, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSealOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "master.key")
	p := &place{}
	s := mustOpen(t, path, p)
	const resource, field = "tenants/acme/users/alice", "password"
	sealed, err := s.Seal([]byte("correct horse"), resource, field)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("horse")) {
		t.Error("the ciphertext shows the plaintext")
	}
	again, err := s.Seal([]byte("correct horse"), resource, field)
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealing the same twice gives the same (%v)", err)
	}
	s = mustOpen(t, path, p) // after a restart
	if plain, err := s.Open(sealed, resource, field); err != nil || string(plain) != "correct horse" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	for _, tt := range []struct {
		name            string
		sealed          []byte
		resource, field string
	}{
		{"another user", sealed, "tenants/acme/users/bob", field},
		{"another tenant", sealed, "tenants/beta/users/alice", field},
		{"another field", sealed, resource, "passwor"},
		{"the border between name and field moved", sealed, resource + "p", "assword"},
		{"cut off", sealed[:len(sealed)-1], resource, field},
		{"empty", nil, resource, field},
		{"changed", append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), resource, field},
		{"plaintext", []byte("correct horse"), resource, field},
	} {
		if plain, err := s.Open(tt.sealed, tt.resource, tt.field); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: opened as %q, %v", tt.name, plain, err)
		}
	}
	other := mustOpen(t, filepath.Join(t.TempDir(), "k"), &place{})
	if _, err := other.Open(sealed, resource, field); !errors.Is(err, ErrSealed) {
		t.Errorf("another installation: %v, want ErrSealed", err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	p := &place{}
	mustOpen(t, path, p)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != keySize {
		t.Errorf("key file: mode %v, %d octets, %v; want 0600, %d", info.Mode(), info.Size(), err, keySize)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(p.wrapped, key) {
		t.Error("the keyset shows the key")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}

	write := func(content []byte, mode os.FileMode) func() {
		return func() {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		do   func()
		want error  // nil: any
		says string // "": is good
	}{
		{"group may read it", write(key, 0o640), nil, "has mode 0640"},
		{"others may write it", write(key, 0o602), nil, "has mode 0602"},
		{"too short", write(key[:31], 0o600), nil, "exactly 32 octets"},
		{"too long", write(append(bytes.Clone(key), '\n'), 0o600), nil, "exactly 32 octets"},
		{"empty", write(nil, 0o600), nil, "exactly 32 octets"},
		{"another key", write(bytes.Repeat([]byte{7}, keySize), 0o600), ErrWrongKey, "does not open the keyset"},
		{"owner may only read it, as with a systemd credential", write(key, 0o400), nil, ""},
		{"gone", func() { must(t, os.Remove(path)) }, ErrKeyMissing, "restore " + path},
		{"a directory", func() { must(t, os.Mkdir(path, 0o700)) }, nil, "not a regular file"},
	} {
		tt.do()
		_, err := Open(path, p)
		if tt.says == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want the path and %q", tt.name, err, tt.says)
		}
		if tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v is not %v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), string(key)) {
			t.Errorf("%s: the error shows the key", tt.name)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// A key file that was there before the store, from an operator, is used as it is.
func TestProvidedKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credential")
	key := bytes.Repeat([]byte{9}, keySize)
	if err := os.WriteFile(path, key, 0o400); err != nil {
		t.Fatal(err)
	}
	p := &place{}
	mustOpen(t, path, p)
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the key file was changed (%v)", err)
	}
	mustOpen(t, path, p)
}

// Two instances that start at once on one store end up with one keyset.
func TestKeysetRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	first := &place{}
	a := mustOpen(t, path, first)
	b := mustOpen(t, path, &place{taken: first.wrapped})
	sealed, err := a.Seal([]byte("x"), "r", "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(sealed, "r", "f"); err != nil {
		t.Errorf("the second instance can't read the first's: %v", err)
	}
}
