package mppe

import (
	"bytes"
	"crypto/sha1"
)

// key is a start, interim or session key; 56 and 40 bit keys use the first 8 octets.
type key [16]byte

// schedule says how one direction of one session derives its keys (RFC 3079 section 3).
type schedule struct {
	start key
	// n is the length of the keys in octets: 16, or 8 for 56 and 40 bits.
	n int
	// salt replaces the first octets of 56 and 40 bit session keys; salted of them.
	salt   [3]byte
	salted int
}

// newSchedule returns the schedule of p. Any Bits but 56 and 40 mean 128.
func newSchedule(p Params) schedule {
	s := schedule{start: p.StartKey, n: 16}
	switch p.Bits {
	case 56:
		s.n, s.salt, s.salted = 8, [3]byte{0xd1}, 1
	case 40:
		s.n, s.salt, s.salted = 8, [3]byte{0xd1, 0x26, 0x9e}, 3
	}
	return s
}

// Scratch is the working memory of one shard, shared by all its sessions: about 5 KiB.
type Scratch struct {
	// KeyChanges counts key changes (a SHA-1, an RC4 key schedule, RFC 3079 section 3.4) and KeySetups the key
	// schedules that packets were tried with: what forged packets cost can be read from them.
	KeyChanges, KeySetups uint64

	rc4    rc4
	rekey  rc4
	hash16 [16 + padLen + 16 + padLen]byte
	hash8  [8 + padLen + 8 + padLen]byte
	stream [streamLen]byte
	head   [HeadLen]byte
}

// padLen is the length of both pads of RFC 3079 section 2.4.
const padLen = 40

// NewScratch returns a Scratch.
func NewScratch() *Scratch {
	x := &Scratch{}
	fillPads(x.hash16[:], 16)
	fillPads(x.hash8[:], 8)
	return x
}

// fillPads writes what is the same in every hash: start key | 40 x 00 | session key | 40 x f2.
func fillPads(b []byte, n int) {
	copy(b[n+padLen+n:], bytes.Repeat([]byte{0xf2}, padLen))
}

// interim is GetNewKeyFromSHA of RFC 3079 section 3.4: SHA-1 over start key and session key.
func (s *schedule) interim(session *key, x *Scratch) (k key) {
	b := x.hash16[:]
	if s.n == 8 {
		b = x.hash8[:]
	}
	copy(b, s.start[:s.n])
	copy(b[s.n+padLen:], session[:s.n])
	sum := sha1.Sum(b)
	copy(k[:], sum[:s.n])
	return k
}

// initial is the session key that a direction starts with.
func (s *schedule) initial(x *Scratch) key {
	k := s.interim(&s.start, x)
	copy(k[:], s.salt[:s.salted])
	return k
}

// change replaces the session key by the one after it (RFC 3078 section 7.3): the interim key, encrypted with itself.
func (s *schedule) change(session *key, x *Scratch) {
	x.KeyChanges++
	k := s.interim(session, x)
	x.rekey.init(&k, s.n)
	var stream key
	x.rekey.stream(stream[:s.n])
	for i := range s.n {
		session[i] = k[i] ^ stream[i]
	}
	copy(session[:], s.salt[:s.salted])
}
