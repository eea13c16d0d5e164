package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"time"

	"concentrator/internal/wire/esphdr"
	"concentrator/test/bench/rawio"
)

// stdBatch is a path's crypto with the standard library as it is meant to be used: one packet after the other, each made ready
// once. It is there for comparison only.
func stdBatch(p path, d direction) (batch, error) {
	var packet func([]byte)
	var err error
	switch p.carrier {
	case plainL2TP:
		return nil, nil
	case pptp:
		packet = stdMPPE()
	default:
		packet, err = stdESP(p, d)
	}
	if err != nil {
		return nil, err
	}
	bufs := make([][]byte, rawio.Batch)
	for i := range bufs {
		bufs[i] = make([]byte, bufStride)
	}
	return func() (time.Duration, error) {
		begin := rawio.ThreadTime()
		for _, b := range bufs {
			packet(b)
		}
		return rawio.ThreadTime() - begin, nil
	}, nil
}

// bufStride keeps neighbours out of the same cache sets.
const bufStride = 2048 + 192

func stdESP(p path, d direction) (func([]byte), error) {
	k := key(p.keyLen, useUp)
	if p.encryption == esphdr.AESGCM16 {
		block, err := aes.NewCipher(k[:p.keyLen-p.encryption.SaltLen()])
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		nonce, head := make([]byte, aead.NonceSize()), make([]byte, esphdr.HeaderLen)
		n := padded(p)
		if d == down {
			return func(b []byte) { aead.Seal(b[:0], nonce, b[:n], head) }, nil
		}
		sealed := aead.Seal(nil, nonce, make([]byte, n), head)
		out := make([]byte, 0, n)
		// Out of place: what has been opened can't be opened again.
		return func([]byte) { out, _ = aead.Open(out[:0], nonce, sealed, head) }, nil
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	newHash := sha1.New
	if p.integrity == esphdr.HMACSHA256_128 {
		newHash = sha256.New
	}
	mac, iv := hmac.New(newHash, key(p.integrity.KeyLen(), useUp)), make([]byte, aes.BlockSize)
	n, sum := padded(p), make([]byte, 0, sha256.Size)
	check := func(m hash.Hash, b []byte) {
		m.Reset()
		m.Write(b[:esphdr.HeaderLen+len(iv)+n])
		sum = m.Sum(sum[:0])
	}
	if d == down {
		return func(b []byte) {
			cipher.NewCBCEncrypter(block, iv).CryptBlocks(b[:n], b[:n])
			check(mac, b)
		}, nil
	}
	return func(b []byte) {
		check(mac, b)
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(b[:n], b[:n])
	}, nil
}

// padded is the length of what ESP encrypts of a packet.
func padded(p path) int {
	n, align := len(espPayload())+esphdr.TrailerLen, p.encryption.Align()
	return (n + align - 1) / align * align
}

// stdMPPE changes the key and encrypts; decrypting is the same.
func stdMPPE() func([]byte) {
	start, session := key(16, useUp), key(16, useDown)
	var pad1, pad2 [40]byte
	for i := range pad2 {
		pad2[i] = 0xf2
	}
	n, out := len(mppePayload()), make([]byte, bufStride)
	return func(b []byte) {
		h := sha1.New() // RFC 3078 section 7.3
		h.Write(start)
		h.Write(pad1[:])
		h.Write(session)
		h.Write(pad2[:])
		interim := h.Sum(nil)[:16]
		c, err := rc4.NewCipher(interim)
		if err != nil {
			return
		}
		c.XORKeyStream(session, interim)
		if c, err = rc4.NewCipher(session); err != nil {
			return
		}
		c.XORKeyStream(out[:n], b[:n]) // into another buffer: in place it is half as fast
	}
}
