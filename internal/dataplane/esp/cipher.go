package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"reflect"

	"concentrator/internal/wire/esphdr"
)

// Lengths of GCM in ESP, RFC 4106, in octets.
const (
	saltLen  = 4
	nonceLen = 12
	// aadLen is SPI and sequence number, extended (section 5).
	aadLen = 12
)

// maxIVLen is the length of AES's block.
const maxIVLen = 16

// cbcMode is a block mode that can be used again with another IV; those of the standard library can.
type cbcMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// sizes are a suite's lengths in octets.
type sizes struct {
	iv, icv, align int
}

// crypto is what both directions have in common.
type crypto struct {
	sizes
	spi uint32
	esn bool

	// With GCM:
	aead  cipher.AEAD
	nonce [nonceLen]byte // salt, then IV. Here and not on the stack, because it escapes through the interface
	aad   [aadLen]byte

	// Otherwise:
	cbc   cbcMode
	block cipher.Block // of 3DES, which cbc refers to; AES's modes have a copy of their own
	mac   *mac
	high  [4]byte // of the extended sequence number, RFC 4303 section 2.2.1

	limits
}

func newCrypto(p *Params, mode func(b cipher.Block, iv []byte) cipher.BlockMode) (*crypto, error) {
	keyLen := len(p.Key) - p.Encryption.SaltLen()
	if !esphdr.Valid(p.Encryption, keyLen, p.Integrity) || len(p.AuthKey) != p.Integrity.KeyLen() || p.SPI < esphdr.MinSPI {
		return nil, fmt.Errorf("%w: SPI %#x, %v with %d octets of key, %v with %d",
			ErrParams, p.SPI, p.Encryption, len(p.Key), p.Integrity, len(p.AuthKey))
	}
	c := &crypto{
		sizes: sizes{
			iv: p.Encryption.IVLen(), icv: esphdr.ICVLen(p.Encryption, p.Integrity), align: p.Encryption.Align(),
		},
		spi: p.SPI, esn: p.ESN, limits: newLimits(p),
	}
	block, err := newBlock(p.Encryption, p.Key[:keyLen])
	if err != nil {
		return nil, err
	}
	if p.Encryption == esphdr.TripleDES {
		c.block = block
	} else {
		defer wipe(block)
	}
	if p.Encryption.AEAD() {
		copy(c.nonce[:saltLen], p.Key[keyLen:])
		binary.BigEndian.PutUint32(c.aad[:], p.SPI)
		if c.aead, err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("make GCM: %w", err)
		}
		return c, nil
	}
	var iv [maxIVLen]byte
	var ok bool
	if c.cbc, ok = mode(block, iv[:block.BlockSize()]).(cbcMode); !ok {
		return nil, fmt.Errorf("%w: %v can't be used again", ErrParams, p.Encryption)
	}
	if c.mac, err = newMAC(p.Integrity, p.AuthKey); err != nil {
		return nil, err
	}
	return c, nil
}

func newBlock(e esphdr.Encryption, key []byte) (block cipher.Block, err error) {
	if e == esphdr.TripleDES {
		block, err = des.NewTripleDESCipher(key)
	} else {
		block, err = aes.NewCipher(key)
	}
	if err != nil {
		return nil, fmt.Errorf("make %v: %w", e, err)
	}
	return block, nil
}

// authenticated is what GCM authenticates besides the ciphertext of packet number seq.
func (c *crypto) authenticated(seq uint64) []byte {
	if c.esn {
		binary.BigEndian.PutUint64(c.aad[4:], seq)
		return c.aad[:]
	}
	binary.BigEndian.PutUint32(c.aad[4:], uint32(seq))
	return c.aad[:esphdr.HeaderLen]
}

// check computes the HMAC of packet number seq, from its header to the end of the ciphertext.
func (c *crypto) check(packet []byte, seq uint64) []byte {
	if c.esn {
		binary.BigEndian.PutUint32(c.high[:], uint32(seq>>32))
		return c.mac.compute(packet, c.high[:])
	}
	return c.mac.compute(packet, nil)
}

// wipe clears the keys and makes the SA exhausted.
func (c *crypto) wipe() {
	c.exhaust()
	clear(c.nonce[:])
	if c.mac != nil {
		c.mac.wipe()
		wipe(c.cbc)
	}
	if c.block != nil {
		wipe(c.block)
	}
	if c.aead != nil {
		wipe(c.aead)
	}
}

// wipe clears what v points to, key schedules of the standard library, which offers no other way.
func wipe(v any) {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		p.Elem().SetZero()
	}
}

// ivSource makes initialisation vectors that nobody can predict (RFC 3602 section 3): a counter, encrypted with a random
// key of its own.
type ivSource struct {
	block   cipher.Block
	counter [aes.BlockSize]byte
	iv      [aes.BlockSize]byte
}

func newIVSource() (*ivSource, error) {
	var key [16]byte
	defer clear(key[:])
	rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("make IV source: %w", err)
	}
	return &ivSource{block: block}, nil
}

// next fills dst, of at most 16 octets.
func (s *ivSource) next(dst []byte) {
	binary.LittleEndian.PutUint64(s.counter[:], binary.LittleEndian.Uint64(s.counter[:])+1)
	s.block.Encrypt(s.iv[:], s.counter[:])
	copy(dst, s.iv[:])
}
