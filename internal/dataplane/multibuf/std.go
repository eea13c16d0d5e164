package multibuf

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"hash"
	"reflect"
)

// Pads of HMAC, RFC 2104 section 2.
const (
	innerPad = 0x36
	outerPad = 0x5c
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
	defer wipe(block)
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
	wipe(s.enc)
	wipe(s.dec)
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

func newStdHMAC(h Hash, key []byte) *stdHMAC {
	return &stdHMAC{inner: padded(h, key, innerPad), outer: padded(h, key, outerPad)}
}

// padded is the state of the hash behind the key and pad.
func padded(h Hash, key []byte, pad byte) []byte {
	var block [hashBlockLen]byte
	defer clear(block[:])
	copy(block[:], key)
	for i := range block {
		block[i] ^= pad
	}
	d := newResumable(h)
	defer wipe(d)
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
	sum := d.Sum(x.sum[:0])
	restore(d, s.outer)
	d.Write(sum)
	copy(op.Sum[:], d.Sum(x.sum[:0]))
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

// wipe clears what v points to, key schedules of the standard library, which offers no other way.
func wipe(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		p.Elem().SetZero()
	}
}
