package keymat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	wireike "concentrator/internal/wire/ike"
)

// ErrCiphertext is returned for an encrypted body that is empty or no whole number of blocks.
var ErrCiphertext = errors.New("keymat: encrypted body is no whole number of blocks")

// Cipher is a negotiated cipher of phase 1, in CBC mode (RFC 2409 appendix B, RFC 3602). The zero Cipher is not usable;
// CipherByID returns the others. Ciphers compare with ==.
type Cipher struct {
	id     wireike.EncryptionID
	keyLen int // octets
}

// CipherByID returns the cipher of an Encryption-Algorithm and a Key-Length attribute in bits, or false for one that is
// not supported. AES needs 128, 192 or 256; 3DES has a fixed key and needs 0, the attribute left out.
func CipherByID(id wireike.EncryptionID, keyBits int) (Cipher, bool) {
	switch {
	case id == wireike.EncryptionAESCBC && (keyBits == 128 || keyBits == 192 || keyBits == 256):
		return Cipher{id, keyBits / 8}, true
	case id == wireike.Encryption3DES && keyBits == 0:
		return Cipher{id, 24}, true
	}
	return Cipher{}, false
}

// ID returns the cipher's number on the wire.
func (c Cipher) ID() wireike.EncryptionID { return c.id }

// Legacy says whether the cipher needs a tenant's legacy switch: 3DES.
func (c Cipher) Legacy() bool { return c.id == wireike.Encryption3DES }

// KeyLen is the length of a key in octets.
func (c Cipher) KeyLen() int { return c.keyLen }

// BlockSize is the length of a block and of an IV in octets.
func (c Cipher) BlockSize() int {
	if c.id == wireike.Encryption3DES {
		return des.BlockSize
	}
	return aes.BlockSize
}

// block returns the keyed block cipher. The key has KeyLen octets.
func (c Cipher) block(key []byte) cipher.Block {
	var b cipher.Block
	var err error
	if c.id == wireike.Encryption3DES {
		b, err = des.NewTripleDESCipher(key)
	} else {
		b, err = aes.NewCipher(key)
	}
	if err != nil {
		panic(err) // only a key of a wrong length, which this package made
	}
	return b
}

// IV is a place in the CBC chain of one exchange: a value, copied by assignment. Encrypt and Decrypt take one and return
// the next. The zero IV is no place in any chain.
type IV struct{ block [aes.BlockSize]byte }

// makeIV cuts b to one block of the cipher.
func (c Cipher) makeIV(b []byte) (iv IV) {
	copy(iv.block[:c.BlockSize()], b)
	return iv
}

// ExchangeIV is the first IV of an exchange in phase 2, Quick Mode or Informational: hash(last phase 1 block | M-ID), RFC
// 2409 appendix B. last is what the last message of phase 1 left.
func (k *Keys) ExchangeIV(last IV, messageID uint32) IV {
	id := binary.BigEndian.AppendUint32(nil, messageID)
	return k.cipher.makeIV(k.hash.sum(last.block[:k.cipher.BlockSize()], id))
}

// Encrypt pads the payloads of a message with zeros to whole blocks and encrypts them, RFC 2409 appendix B. It returns
// the encrypted body, which is new memory, and the IV of the exchange's next message. A retransmission sends the same
// body again and takes no further step. CBC is written out, here and in Decrypt, because the standard library's copies the
// key schedule for each message.
func (k *Keys) Encrypt(iv IV, payloads []byte) (body []byte, next IV) {
	size := k.cipher.BlockSize()
	body = make([]byte, (len(payloads)+size-1)/size*size)
	copy(body, payloads)
	for at := 0; at < len(body); at += size {
		b := body[at : at+size]
		subtle.XORBytes(b, b, iv.block[:size])
		k.block.Encrypt(b, b)
		copy(iv.block[:], b)
	}
	return body, iv
}

// Decrypt decrypts the body of a message. It returns the payloads with the padding behind them, in new memory, and the IV
// of the exchange's next message. The caller takes that step only when the payloads have proved genuine, so that a
// forged or repeated message does not move the chain. The only error is ErrCiphertext: a wrong key or IV shows in the
// payloads.
func (k *Keys) Decrypt(iv IV, body []byte) (payloads []byte, next IV, err error) {
	size := k.cipher.BlockSize()
	if len(body) == 0 || len(body)%size != 0 {
		return nil, iv, ErrCiphertext
	}
	payloads = make([]byte, len(body))
	for at := 0; at < len(body); at += size {
		k.block.Decrypt(payloads[at:], body[at:at+size])
		subtle.XORBytes(payloads[at:], payloads[at:at+size], iv.block[:size])
		copy(iv.block[:], body[at:at+size])
	}
	return payloads, iv, nil
}
