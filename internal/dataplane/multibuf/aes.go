package multibuf

import (
	"crypto/aes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// blockLen is the length of AES's block in octets.
const blockLen = aes.BlockSize

// Rounds of AES with the shortest and the longest key, FIPS 197 section 5.
const (
	minRounds = 10
	maxRounds = 14
)

// schedule is room for the round keys of the longest key.
type schedule [(maxRounds + 1) * blockLen]byte

// AES is a key, ready for both directions. One goroutine at a time may use it.
type AES struct {
	rounds   int
	enc, dec schedule // without kernels, only the key at the beginning of enc
	std      *stdAES  // nil until it is needed
}

// NewAES takes a key of 16, 24 or 32 octets, which it copies. The error is ErrKey.
func NewAES(key []byte) (*AES, error) {
	switch len(key) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("%w: AES with %d octets", ErrKey, len(key))
	}
	k := &AES{rounds: len(key)/4 + 6}
	copy(k.enc[:], key)
	if machine.substitute != nil {
		k.expand()
	}
	if inUse().substitute == nil {
		k.portable()
	}
	return k, nil
}

// expand makes the round keys, FIPS 197 section 5.2. The kernel that substitutes has no table, so time doesn't tell the key.
func (k *AES) expand() {
	n := k.rounds - 6 // words of the key
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(k.enc[4*i:]) }
	constant := uint32(1)
	for i := n; i < 4*(k.rounds+1); i++ {
		w := word(i - 1)
		switch {
		case i%n == 0:
			w = machine.substitute(bits.RotateLeft32(w, -8)) ^ constant
			constant <<= 1
			if constant > 0xff {
				constant ^= 0x11b
			}
		case n > 6 && i%n == 4:
			w = machine.substitute(w)
		}
		binary.LittleEndian.PutUint32(k.enc[4*i:], word(i-n)^w)
	}
	machine.invert(&k.dec[0], &k.enc[0], k.rounds)
}

// portable is the key for the standard library.
func (k *AES) portable() *stdAES {
	if k.std == nil {
		k.std = newStdAES(k.enc[:4*(k.rounds-6)])
	}
	return k.std
}

// Wipe clears the key. It can't be used any more.
func (k *AES) Wipe() {
	clear(k.enc[:])
	clear(k.dec[:])
	if k.std != nil {
		k.std.wipe()
	}
}
