package secret

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrWrongKey is returned by Open when the key file does not open the keyset.
	ErrWrongKey = errors.New("does not open the keyset of this state")
	// ErrKeyMissing is returned by Open when there is a keyset but no key file. A new key would make every stored
	// secret unreadable, so none is made.
	ErrKeyMissing = errors.New("key file is missing, but secrets were sealed with it")
	// ErrSealed is returned by Sealer.Open for a ciphertext that was changed, moved to another resource or field, or
	// sealed under another keyset.
	ErrSealed = errors.New("secret: ciphertext does not open here")
)

// keysetLabel binds the wrapped keyset to its purpose.
const keysetLabel = "concentrator keyset"

// KeysetStore is where the wrapped keyset lies.
type KeysetStore interface {
	// LoadKeyset returns the wrapped keyset and its revision, or nil and 0 when there is none.
	LoadKeyset() (wrapped []byte, revision int64, err error)
	// SwapKeyset puts another one in the place of that of a revision, the first one in that of revision 0. It returns
	// false, and changes nothing, when another one lies there.
	SwapKeyset(wrapped []byte, revision int64) (bool, error)
}

// Sealer seals and opens secrets. It is safe for concurrent use.
type Sealer struct {
	keyFile  string
	keysets  KeysetStore
	wrapping tink.AEAD

	changing sync.Mutex // held by who brings in another keyset
	now      atomic.Pointer[keys]
}

// keys is the keyset of one revision. It does not change.
type keys struct {
	revision int64
	handle   *keyset.Handle
	aead     tink.AEAD
	primary  uint32 // ID of the key that seals
}

// Open reads the key file and the keyset. When neither exists both are made; a key file alone, such as an operator or
// systemd provides, gets a new keyset.
func Open(keyFile string, keysets KeysetStore) (*Sealer, error) {
	wrapped, _, err := keysets.LoadKeyset()
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	key, err := loadKey(keyFile, wrapped == nil)
	if err != nil {
		return nil, err
	}
	wrapping, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", keyFile, err)
	}
	s := &Sealer{keyFile: keyFile, keysets: keysets, wrapping: wrapping}
	if wrapped == nil {
		handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			return nil, fmt.Errorf("make keyset: %w", err)
		}
		// Should another instance on the same store have been faster, its keyset counts.
		if _, err := s.swap(handle, 0); err != nil {
			return nil, err
		}
	}
	if err := s.Refresh(); err != nil {
		return nil, err
	}
	return s, nil
}

// Refresh takes over the keyset that lies in the store now, if it is another one than that in use.
func (s *Sealer) Refresh() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.refresh()
}

// refresh is Refresh with changing held.
func (s *Sealer) refresh() error {
	wrapped, revision, err := s.keysets.LoadKeyset()
	if err != nil {
		return fmt.Errorf("load keyset: %w", err)
	}
	if have := s.now.Load(); have != nil && have.revision == revision {
		return nil
	}
	handle, err := keyset.ReadWithAssociatedData(
		keyset.NewBinaryReader(bytes.NewReader(wrapped)), s.wrapping, []byte(keysetLabel))
	if err != nil {
		return fmt.Errorf("key file %s %w: %w", s.keyFile, ErrWrongKey, err)
	}
	a, err := aead.New(handle)
	if err != nil {
		return fmt.Errorf("use keyset: %w", err)
	}
	primary, err := handle.Primary()
	if err != nil {
		return fmt.Errorf("use keyset: %w", err)
	}
	s.now.Store(&keys{revision: revision, handle: handle, aead: a, primary: primary.KeyID()})
	return nil
}

// swap wraps a keyset and stores it in the place of that of a revision; false when another one lies there.
func (s *Sealer) swap(handle *keyset.Handle, revision int64) (bool, error) {
	var b bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), s.wrapping, []byte(keysetLabel)); err != nil {
		return false, fmt.Errorf("wrap keyset: %w", err)
	}
	ok, err := s.keysets.SwapKeyset(b.Bytes(), revision)
	if err != nil {
		return false, fmt.Errorf("store keyset: %w", err)
	}
	return ok, nil
}

// Seal encrypts plain for one field of one resource.
func (s *Sealer) Seal(plain []byte, resource, field string) ([]byte, error) {
	return s.now.Load().aead.Encrypt(plain, binding(resource, field))
}

// Open is the reverse of Seal. It returns ErrSealed unless resource and field are those given to Seal.
func (s *Sealer) Open(sealed []byte, resource, field string) ([]byte, error) {
	plain, err := s.now.Load().aead.Decrypt(sealed, binding(resource, field))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// binding is the associated data of a ciphertext. A resource name holds no NUL, so no two places share one.
func binding(resource, field string) []byte {
	return []byte(resource + "\x00" + field)
}
