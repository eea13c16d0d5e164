package secret

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// ErrRotated is returned by DropOldKeys when the keyset is no longer the one that the caller sealed everything with.
var ErrRotated = errors.New("secret: the keyset was changed by another")

// Revision is that of the keyset in use. Taken before Seal, it is at most that of the keyset that Seal then uses: who
// stores the ciphertext only if the store's keyset still has this revision, stores none that a key seals which is about
// to go.
func (s *Sealer) Revision() int64 { return s.now.Load().revision }

// Keys is how many keys there are: more than one while a rotation is under way, or was broken off.
func (s *Sealer) Keys() int { return s.now.Load().handle.Len() }

// AddKey adds a key to the keyset, which from now on seals, and returns the revision of the keyset with it. With more
// than one key in the keyset already none is added: a rotation that was broken off is to be finished first.
func (s *Sealer) AddKey() (revision int64, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	for {
		if err := s.refresh(); err != nil {
			return 0, err
		}
		now := s.now.Load()
		if now.handle.Len() > 1 {
			return now.revision, nil
		}
		m := keyset.NewManagerFromHandle(now.handle)
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		if err == nil {
			err = m.SetPrimary(id)
		}
		if err != nil {
			return 0, fmt.Errorf("add key: %w", err)
		}
		if err := s.change(m, now.revision); err != nil && !errors.Is(err, ErrRotated) {
			return 0, err
		}
	}
}

// DropOldKeys leaves only the key that seals in the keyset. What another one sealed is lost. It returns ErrRotated, and
// drops nothing, unless the keyset has the revision that AddKey returned.
func (s *Sealer) DropOldKeys(revision int64) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.refresh(); err != nil {
		return err
	}
	now := s.now.Load()
	m := keyset.NewManagerFromHandle(now.handle)
	for i := range now.handle.Len() {
		e, err := now.handle.Entry(i)
		if err == nil && e.KeyID() != now.primary {
			err = m.Delete(e.KeyID())
		}
		if err != nil {
			return fmt.Errorf("drop key: %w", err)
		}
	}
	if err := s.change(m, revision); err != nil { // ErrRotated too if that is not now's
		return err
	}
	return s.refresh()
}

// change stores what m made of the keyset of a revision; ErrRotated when another one lies there.
func (s *Sealer) change(m *keyset.Manager, revision int64) error {
	handle, err := m.Handle()
	if err != nil {
		return fmt.Errorf("change keyset: %w", err)
	}
	ok, err := s.swap(handle, revision)
	if err == nil && !ok {
		err = ErrRotated
	}
	return err
}

// Fresh says whether a ciphertext names the key that seals now. Whether it opens is for Open to say.
func (s *Sealer) Fresh(sealed []byte) bool {
	// A Tink ciphertext begins with a 1 and the ID of its key.
	return bytes.HasPrefix(sealed, binary.BigEndian.AppendUint32([]byte{1}, s.now.Load().primary))
}
