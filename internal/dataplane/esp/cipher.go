package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"fmt"

	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/wipe"
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
const maxIVLen = aes.BlockSize

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

	aes  *multibuf.AES  // of AES-CBC
	hmac *multibuf.HMAC // of SHA-1 and SHA2-256
	mac  *mac           // of the other hashes

	cbc   cbcMode      // of 3DES
	block cipher.Block // which cbc refers to

	aead  cipher.AEAD    // of GCM
	nonce [nonceLen]byte // salt, then IV. Here and not on the stack, because it escapes through the interface
	aad   [aadLen]byte

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
	if err := c.setKeys(p, p.Key[:keyLen], mode); err != nil {
		c.wipe()
		return nil, err
	}
	return c, nil
}

// setKeys makes what the suite needs; key is that of the cipher without the salt.
func (c *crypto) setKeys(p *Params, key []byte, mode func(b cipher.Block, iv []byte) cipher.BlockMode) (err error) {
	switch p.Encryption {
	case esphdr.AESGCM16:
		copy(c.nonce[:saltLen], p.Key[len(key):])
		binary.BigEndian.PutUint32(c.aad[:], p.SPI)
		c.aead, err = newGCM(key)
		return err
	case esphdr.TripleDES:
		if c.block, err = des.NewTripleDESCipher(key); err != nil {
			return fmt.Errorf("make %v: %w", p.Encryption, err)
		}
		var iv [des.BlockSize]byte
		var ok bool
		if c.cbc, ok = mode(c.block, iv[:]).(cbcMode); !ok {
			return fmt.Errorf("%w: %v can't be used again", ErrParams, p.Encryption)
		}
	default:
		if c.aes, err = multibuf.NewAES(key); err != nil {
			return fmt.Errorf("make %v: %w", p.Encryption, err)
		}
	}
	switch p.Integrity {
	case esphdr.HMACSHA1_96:
		c.hmac, err = multibuf.NewHMAC(multibuf.SHA1, p.AuthKey)
	case esphdr.HMACSHA256_128:
		c.hmac, err = multibuf.NewHMAC(multibuf.SHA256, p.AuthKey)
	default:
		c.mac, err = newMAC(p.Integrity, p.AuthKey)
	}
	if err != nil {
		return fmt.Errorf("make HMAC with %v: %w", p.Integrity, err)
	}
	return nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make AES: %w", err)
	}
	defer wipe.Value(block) // GCM has a copy
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make GCM: %w", err)
	}
	return aead, nil
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

// tail is what HMAC authenticates behind the ciphertext of j, which keeps it.
func (c *crypto) tail(j *job) []byte {
	if !c.esn {
		return nil
	}
	binary.BigEndian.PutUint32(j.high[:], uint32(j.seq>>32))
	return j.high[:]
}

// wipe clears the keys and makes the SA exhausted.
func (c *crypto) wipe() {
	c.exhaust()
	clear(c.nonce[:])
	if c.aes != nil {
		c.aes.Wipe()
	}
	if c.hmac != nil {
		c.hmac.Wipe()
	}
	if c.mac != nil {
		c.mac.wipe()
	}
	wipe.Value(c.cbc)
	wipe.Value(c.block)
	wipe.Value(c.aead)
}
