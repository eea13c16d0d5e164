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

// Pads of HMAC, RFC 2104 section 2.
const (
	innerPad = 0x36
	outerPad = 0x5c
)

// state is that of a hash between two blocks. SHA-1 has five words.
type state [8]uint32

// initial are the states before the first block, FIPS 180-4 sections 5.3.1 and 5.3.3.
var initial = [SHA256 + 1]state{
	SHA1: {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0},
	SHA256: {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	},
}

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

// HMAC is a key of HMAC (RFC 2104), with its pads hashed already. One goroutine at a time may use it.
type HMAC struct {
	hash         Hash
	key          [hashBlockLen]byte
	inner, outer state    // behind the pads; as secret as the key. Only with kernels
	std          *stdHMAC // nil until it is needed
}

// NewHMAC takes a key of at most 64 octets, a hash's block, which it copies. The error is ErrKey.
func NewHMAC(h Hash, key []byte) (*HMAC, error) {
	if h.Size() == 0 || len(key) > hashBlockLen {
		return nil, fmt.Errorf("%w: HMAC of hash %d with %d octets", ErrKey, h, len(key))
	}
	k := &HMAC{hash: h}
	copy(k.key[:], key)
	if kernel := machine.hasher(h, 2); kernel != nil {
		k.expand(kernel)
	}
	if inUse().hasher(h, 2) == nil {
		k.portable()
	}
	return k, nil
}

// expand hashes the pads, in two lanes.
func (k *HMAC) expand(kernel *hasher) {
	v := newVectors()
	defer clear(v.pending[:])
	for i, pad := range []byte{innerPad, outerPad} {
		*(*[hashBlockLen]byte)(v.pending[i][:]) = padded(&k.key, pad)
		v.state[i] = initial[k.hash]
	}
	data := [maxHashLanes]*byte{&v.pending[0][0], &v.pending[1][0]}
	kernel.run(&v.state[0][0], &v.work[0], &data[0], 1)
	k.inner, k.outer = v.state[0], v.state[1]
	clear(v.state[:])
	clear(v.work[:])
}

func padded(key *[hashBlockLen]byte, pad byte) (block [hashBlockLen]byte) {
	for i := range block {
		block[i] = key[i] ^ pad
	}
	return block
}

// portable is the key for the standard library.
func (k *HMAC) portable() *stdHMAC {
	if k.std == nil {
		k.std = newStdHMAC(k.hash, &k.key)
	}
	return k.std
}

// Wipe clears the key. It can't be used any more.
func (k *HMAC) Wipe() {
	clear(k.key[:])
	clear(k.inner[:])
	clear(k.outer[:])
	if k.std != nil {
		k.std.wipe()
	}
}

// MAC is one packet to be authenticated: Message, and behind it Tail.
type MAC struct {
	Key           *HMAC
	Message, Tail []byte
	Sum           [sha256.Size]byte // the whole HMAC: its first 20 or 32 octets
}

// SumHMAC computes the packets' Sums.
func SumHMAC(ops []MAC, x *Scratch) {
	k := inUse()
	for len(ops) > 0 {
		n := min(len(ops), maxQueued)
		x.sum(k, ops[:n])
		ops = ops[n:]
	}
}
