package multibuf

import (
	"crypto/aes"
	"fmt"
)

// blockLen is the length of AES's block in octets.
const blockLen = aes.BlockSize

// AES is a key, ready for both directions. Any number of goroutines may use it at once, but for Wipe.
type AES struct {
	key [32]byte
	len int
	std *stdAES
}

// NewAES takes a key of 16, 24 or 32 octets, which it copies.
func NewAES(key []byte) (*AES, error) {
	switch len(key) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("%w: AES with %d octets of key", ErrKey, len(key))
	}
	k := &AES{len: len(key)}
	copy(k.key[:], key)
	k.std = newStdAES(key)
	return k, nil
}

// Wipe clears the key. It can't be used any more.
func (k *AES) Wipe() {
	clear(k.key[:])
	k.std.wipe()
}
