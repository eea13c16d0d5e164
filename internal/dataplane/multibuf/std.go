package multibuf

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"hash"

	"concentrator/internal/wipe"
)

// cbcMode is a block mode that can be used again with another IV; those of the standard library can.
type cbcMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// stdAES is a key for the standard library.
type stdAES struct {
	enc, dec cbcMode
}

func newStdAES(key []byte) *stdAES {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("multibuf: " + err.Error()) // the caller looked at the length
	}
	defer wipe.Value(block)
	var iv [blockLen]byte
	return &stdAES{
		enc: cipher.NewCBCEncrypter(block, iv[:]).(cbcMode),
		dec: cipher.NewCBCDecrypter(block, iv[:]).(cbcMode),
	}
}

func (s *stdAES) encrypt(iv *[blockLen]byte, data []byte) {
	s.enc.SetIV(iv[:])
	data = data[:len(data)&^(blockLen-1)]
	s.enc.CryptBlocks(data, data)
}

func (s *stdAES) decrypt(iv *[blockLen]byte, data []byte) {
	s.dec.SetIV(iv[:])
	data = data[:len(data)&^(blockLen-1)]
	s.dec.CryptBlocks(data, data)
}

func (s *stdAES) wipe() {
	wipe.Value(s.enc)
	wipe.Value(s.dec)
}

// resumable is a hash that can go on from a state that it had.
type resumable interface {
	hash.Hash
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

func newResumable(h Hash) resumable {
	if h == SHA1 {
		return sha1.New().(resumable)
	}
	return sha256.New().(resumable)
}

// stdHMAC is a key for the standard library: the states of the hash behind the pads.
type stdHMAC struct {
	inner, outer []byte
}

func newStdHMAC(h Hash, key *[hashBlockLen]byte) *stdHMAC {
	return &stdHMAC{inner: stdState(h, padded(key, innerPad)), outer: stdState(h, padded(key, outerPad))}
}

// stdState is the state of the hash behind its first block.
func stdState(h Hash, block [hashBlockLen]byte) []byte {
	d := newResumable(h)
	defer wipe.Value(d)
	d.Write(block[:])
	state, err := d.MarshalBinary()
	if err != nil {
		panic("multibuf: " + err.Error()) // the standard library's hashes can
	}
	return state
}

func (s *stdHMAC) sum(op *MAC, x *Scratch) {
	d := x.hashes[op.Key.hash]
	restore(d, s.inner)
	d.Write(op.Message)
	d.Write(op.Tail)
	sum := d.Sum(x.digest[:0])
	restore(d, s.outer)
	d.Write(sum)
	copy(op.Sum[:], d.Sum(x.digest[:0]))
	d.Reset()
}

func restore(d resumable, state []byte) {
	if err := d.UnmarshalBinary(state); err != nil {
		panic("multibuf: a hash refuses its own state") // it was made by the same hash
	}
}

func (s *stdHMAC) wipe() {
	clear(s.inner)
	clear(s.outer)
}
