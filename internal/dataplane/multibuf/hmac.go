package multibuf

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrKey is the error of a key that has no length of its algorithm's, or of no algorithm at all.
var ErrKey = errors.New("multibuf: key")

// Hash is what an HMAC is made of.
type Hash uint8

// The hashes.
const (
	SHA1 Hash = iota + 1
	SHA256
)

// hashBlockLen is the length of both hashes' block in octets.
const hashBlockLen = 64

// Size is the length of the hash in octets, 0 of one that is none.
func (h Hash) Size() int {
	switch h {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	default:
		return 0
	}
}

// HMAC is a key of HMAC (RFC 2104) with its pads hashed already.
type HMAC struct {
	hash Hash
	std  *stdHMAC
}

// NewHMAC takes a key of at most 64 octets, a hash's block.
func NewHMAC(h Hash, key []byte) (*HMAC, error) {
	if h.Size() == 0 || len(key) > hashBlockLen {
		return nil, fmt.Errorf("%w: HMAC of hash %d with %d octets", ErrKey, h, len(key))
	}
	return &HMAC{hash: h, std: newStdHMAC(h, key)}, nil
}

// Wipe clears the key. It can't be used any more.
func (k *HMAC) Wipe() {
	k.std.wipe()
}

// MAC is one packet to be authenticated: Message, and behind it Tail.
type MAC struct {
	Key           *HMAC
	Message, Tail []byte
	Sum           [sha256.Size]byte // the whole HMAC: its first 20 or 32 octets
}

// SumHMAC computes the packets' Sums.
func SumHMAC(ops []MAC, x *Scratch) {
	for i := range ops {
		op := &ops[i]
		op.Key.std.sum(op, x)
	}
}
