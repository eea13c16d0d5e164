package keymat

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"

	"concentrator/internal/wipe"
	wireike "concentrator/internal/wire/ike"
)

// Hash is a negotiated hash algorithm; its HMAC is the prf (RFC 2409 section 4). The zero Hash is not usable; HashByID
// returns the others. Hashes compare with ==.
type Hash struct{ id wireike.HashID }

// HashByID returns the hash of a number, or false for one that is not supported.
func HashByID(id wireike.HashID) (Hash, bool) {
	h := Hash{id}
	return h, h.maker() != nil
}

// maker returns the constructor of the hash, nil if it is not supported.
func (h Hash) maker() func() hash.Hash {
	switch h.id {
	case wireike.HashMD5:
		return md5.New
	case wireike.HashSHA1:
		return sha1.New
	case wireike.HashSHA256:
		return sha256.New
	case wireike.HashSHA384:
		return sha512.New384
	case wireike.HashSHA512:
		return sha512.New
	}
	return nil
}

// ID returns the hash's number on the wire.
func (h Hash) ID() wireike.HashID { return h.id }

// Legacy says whether the hash needs a tenant's legacy switch: MD5.
func (h Hash) Legacy() bool { return h.id == wireike.HashMD5 }

// Size is the length of the hash, of the prf's output and of the SKEYIDs, in octets.
func (h Hash) Size() int { return h.maker()().Size() }

// sum is hash(parts[0] | parts[1] | ...).
func (h Hash) sum(parts ...[]byte) []byte {
	s := h.maker()()
	for _, p := range parts {
		s.Write(p)
	}
	return s.Sum(nil)
}

// Pads of HMAC, RFC 2104 section 2.
const (
	innerPad = 0x36
	outerPad = 0x5c
)

// prf is prf(key, parts[0] | parts[1] | ...), the HMAC of RFC 2104. It is written out because crypto/hmac keeps copies of
// the key that nobody can clear.
func (h Hash) prf(key []byte, parts ...[]byte) []byte {
	s := h.maker()()
	defer wipe.Value(s)
	var room [sha512.BlockSize]byte // the largest of all
	block := room[:s.BlockSize()]
	defer clear(room[:])
	if len(key) > len(block) {
		s.Write(key)
		s.Sum(block[:0])
	} else {
		copy(block, key)
	}
	pad := func(with byte) {
		for i := range block {
			block[i] ^= with
		}
		s.Reset()
		s.Write(block)
	}
	pad(innerPad)
	for _, p := range parts {
		s.Write(p)
	}
	sum := s.Sum(nil)
	pad(innerPad ^ outerPad)
	s.Write(sum)
	return s.Sum(sum[:0])
}

// Cookies are the two cookies of an ISAKMP SA, RFC 2408 section 2.5.3.
type Cookies struct{ Initiator, Responder [8]byte }

// NATD is the NAT discovery hash of an address and port, HASH(CKY-I | CKY-R | IP | Port), RFC 3947 section 3.2. An IPv4
// address in IPv6 form is hashed as IPv4.
func (h Hash) NATD(c Cookies, a netip.AddrPort) []byte {
	return h.sum(c.Initiator[:], c.Responder[:], a.Addr().Unmap().AsSlice(), binary.BigEndian.AppendUint16(nil, a.Port()))
}

// Equal compares two hashes in constant time. Different lengths are not equal.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
