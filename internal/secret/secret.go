package secret

import (
	"bytes"
	"errors"
	"fmt"

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
	// LoadKeyset returns the wrapped keyset, or nil when there is none.
	LoadKeyset() ([]byte, error)
	// CreateKeyset stores the first one. It returns false, and changes nothing, when there is one.
	CreateKeyset(wrapped []byte) (bool, error)
}

// Sealer seals and opens secrets. It is safe for concurrent use.
type Sealer struct {
	aead tink.AEAD
}

// Open reads the key file and the keyset. When neither exists both are made; a key file alone, such as an operator or
// systemd provides, gets a new keyset.
func Open(keyFile string, keysets KeysetStore) (*Sealer, error) {
	wrapped, err := keysets.LoadKeyset()
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
	if wrapped == nil {
		if wrapped, err = createKeyset(keysets, wrapping); err != nil {
			return nil, err
		}
	}
	handle, err := keyset.ReadWithAssociatedData(
		keyset.NewBinaryReader(bytes.NewReader(wrapped)), wrapping, []byte(keysetLabel))
	if err != nil {
		return nil, fmt.Errorf("key file %s %w: %w", keyFile, ErrWrongKey, err)
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use keyset: %w", err)
	}
	return &Sealer{aead: a}, nil
}

func createKeyset(keysets KeysetStore, wrapping tink.AEAD) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make keyset: %w", err)
	}
	var b bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), wrapping, []byte(keysetLabel)); err != nil {
		return nil, fmt.Errorf("wrap keyset: %w", err)
	}
	ok, err := keysets.CreateKeyset(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("store keyset: %w", err)
	}
	if ok {
		return b.Bytes(), nil
	}
	// Another instance on the same store was faster; its keyset counts.
	wrapped, err := keysets.LoadKeyset()
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	return wrapped, nil
}

// Seal encrypts plain for one field of one resource.
func (s *Sealer) Seal(plain []byte, resource, field string) ([]byte, error) {
	return s.aead.Encrypt(plain, binding(resource, field))
}

// Open is the reverse of Seal. It returns ErrSealed unless resource and field are those given to Seal.
func (s *Sealer) Open(sealed []byte, resource, field string) ([]byte, error) {
	plain, err := s.aead.Decrypt(sealed, binding(resource, field))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// binding is the associated data of a ciphertext. A resource name holds no NUL, so no two places share one.
func binding(resource, field string) []byte {
	return []byte(resource + "\x00" + field)
}
