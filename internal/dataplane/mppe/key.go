package mppe

import "crypto/sha1"

// key is a start, interim or session key; 56 and 40 bit keys use the first 8 octets.
type key [16]byte

// repeated is the first n octets of k, over and over: an RC4 key of 16 octets that does what one of n does. n is 16 or 8.
func (k *key) repeated(n int) key {
	whole := *k
	if n == 8 {
		copy(whole[8:], whole[:8])
	}
	return whole
}

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

// padLen is the length of both pads of RFC 3079 section 2.4.
const padLen = 40

// hashed is what the hash is taken of, for keys of 16 and of 8 octets: start key | 40 x 00 | session key | 40 x f2.
type hashed struct {
	key16 [16 + padLen + 16 + padLen]byte
	key8  [8 + padLen + 8 + padLen]byte
}

// newHashed has the pads in their places.
func newHashed() *hashed {
	h := &hashed{}
	for i := range padLen {
		h.key16[16+padLen+16+i], h.key8[8+padLen+8+i] = 0xf2, 0xf2
	}
	return h
}

// interim is GetNewKeyFromSHA of RFC 3079 section 3.4: SHA-1 over start key and session key.
func (s *schedule) interim(session *key, h *hashed) (k key) {
	b := h.key16[:]
	if s.n == 8 {
		b = h.key8[:]
	}
	copy(b, s.start[:s.n])
	copy(b[s.n+padLen:], session[:s.n])
	sum := sha1.Sum(b)
	copy(k[:], sum[:s.n])
	return k
}

// initial is the session key that a direction starts with.
func (s *schedule) initial() key {
	h := newHashed()
	defer h.wipe()
	k := s.interim(&s.start, h)
	copy(k[:], s.salt[:s.salted])
	return k
}

// change replaces the session key by the one after it (RFC 3078 section 7.3): the interim key, encrypted with itself.
func (s *schedule) change(session *key, x *Scratch) {
	x.KeyChanges++
	*session = s.interim(session, &x.hashed)
	x.rekey.init(session, s.n)
	var stream key
	x.rekey.stream(stream[:s.n])
	s.encrypt(session, stream[:])
}

// encrypt makes a session key of the interim key k, with the keystream that k makes.
func (s *schedule) encrypt(k *key, stream []byte) {
	for i := range s.n {
		k[i] ^= stream[i]
	}
	copy(k[:], s.salt[:s.salted])
}
