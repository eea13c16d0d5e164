package esp

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding"
	"fmt"
	"hash"

	"concentrator/internal/wipe"
	"concentrator/internal/wire/esphdr"
)

// Pads of HMAC, RFC 2104 section 2.
const (
	innerPad = 0x36
	outerPad = 0x5c
)

// mac is HMAC (RFC 2104) with the hashes that multibuf has not, by the standard library with the pads hashed once.
// crypto/hmac does the same, but its copies of the key can't be wiped.
type mac struct {
	hash interface {
		hash.Hash
		encoding.BinaryUnmarshaler
	}
	inner, outer []byte // states of the hash behind the pads, as secret as the key
	sum          [sha512.Size]byte
}

// newMAC makes the HMAC of SHA2-384, SHA2-512 or MD5; of anything else ErrParams. The key must have the algorithm's length, so it is never longer than a
// block.
func newMAC(i esphdr.Integrity, key []byte) (*mac, error) {
	var h hash.Hash
	switch i {
	case esphdr.HMACSHA384_192:
		h = sha512.New384()
	case esphdr.HMACSHA512_256:
		h = sha512.New()
	case esphdr.HMACMD5_96:
		h = md5.New()
	default:
		return nil, fmt.Errorf("%w: integrity %v", ErrParams, i)
	}
	m := &mac{}
	var err error
	if m.inner, err = padded(h, key, innerPad); err != nil {
		return nil, err
	}
	if m.outer, err = padded(h, key, outerPad); err != nil {
		return nil, err
	}
	h.Reset()
	var ok bool
	if m.hash, ok = h.(interface {
		hash.Hash
		encoding.BinaryUnmarshaler
	}); !ok {
		return nil, fmt.Errorf("%w: %v can't keep its state", ErrParams, i)
	}
	return m, nil
}

// padded is the state of h behind the key and pad.
func padded(h hash.Hash, key []byte, pad byte) ([]byte, error) {
	block := make([]byte, h.BlockSize())
	copy(block, key)
	for i := range block {
		block[i] ^= pad
	}
	h.Reset()
	h.Write(block)
	clear(block)
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("%w: a hash that can't keep its state", ErrParams)
	}
	state, err := m.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("keep state of hash: %w", err)
	}
	return state, nil
}

// compute is the HMAC of message and tail, borrowed until the next.
func (m *mac) compute(message, tail []byte) []byte {
	m.restore(m.inner)
	m.hash.Write(message)
	m.hash.Write(tail)
	sum := m.hash.Sum(m.sum[:0])
	m.restore(m.outer)
	m.hash.Write(sum)
	return m.hash.Sum(m.sum[:0])
}

func (m *mac) restore(state []byte) {
	if err := m.hash.UnmarshalBinary(state); err != nil {
		panic("esp: a hash refuses its own state") // it was made by the same hash
	}
}

// wipe clears the key. The mac can't be used any more.
func (m *mac) wipe() {
	clear(m.inner)
	clear(m.outer)
	wipe.Value(m.hash)
	clear(m.sum[:])
}
