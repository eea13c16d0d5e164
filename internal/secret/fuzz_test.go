package secret

import (
	"bytes"
	"path/filepath"
	"testing"

	"concentrator/internal/corpus"
)

// FuzzOpen: nothing opens but what was sealed, where it was sealed, unchanged; nor does a keyset that is not ours.
func FuzzOpen(f *testing.F) {
	corpus.Add(f)
	path := filepath.Join(f.TempDir(), "master.key")
	p := &place{}
	s, err := Open(path, p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("secret"), "tenants/acme/users/alice", "password", 3, byte(1))
	f.Add([]byte{}, "a\x00b", "c", 0, byte(0))
	f.Add([]byte("x"), "a", "b\x00c", -1, byte(0x80))
	f.Fuzz(func(t *testing.T, plain []byte, resource, field string, at int, flip byte) {
		if got, err := s.Open(plain, resource, field); err == nil {
			t.Fatalf("%x opens as %x", plain, got)
		}
		sealed, err := s.Seal(plain, resource, field)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Open(sealed, resource, field); err != nil || !bytes.Equal(got, plain) || !s.Fresh(sealed) {
			t.Fatalf("%x became %x, %v", plain, got, err)
		}
		if _, err := s.Open(sealed, resource+"x", field); err == nil {
			t.Error("it opens elsewhere")
		}
		if _, err := s.Open(sealed, resource, field+"x"); err == nil {
			t.Error("it opens in another field")
		}
		if flip != 0 {
			changed := bytes.Clone(sealed)
			changed[uint(at)%uint(len(changed))] ^= flip
			if got, err := s.Open(changed, resource, field); err == nil {
				t.Errorf("changed, it opens as %x", got)
			}
		}
		if _, err := Open(path, &place{wrapped: append([]byte{1}, plain...), revision: 1}); err == nil {
			t.Error("a keyset of any octets opens")
		}
	})
}
