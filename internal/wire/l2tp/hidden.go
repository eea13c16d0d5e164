package l2tp

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
)

// ChallengeResponseLen is the length in octets of a Challenge Response.
const ChallengeResponseLen = md5.Size

// ChallengeResponse proves that the sender of the message t knows the tunnel secret, RFC 2661 section 5.1.1: t is the
// message that carries the response, SCCRP or SCCCN.
func ChallengeResponse(t Type, secret, challenge []byte) [ChallengeResponseLen]byte {
	b := make([]byte, 0, 1+len(secret)+len(challenge))
	b = append(b, byte(t))
	b = append(b, secret...)
	return md5.Sum(append(b, challenge...))
}

// CheckChallengeResponse says, in constant time, whether response is the right one.
func CheckChallengeResponse(t Type, secret, challenge, response []byte) bool {
	want := ChallengeResponse(t, secret, challenge)
	return subtle.ConstantTimeCompare(want[:], response) == 1
}

// Hiding says how AVPs of a message are hidden, RFC 2661 section 4.3. The message carries Vector as its Random Vector.
type Hiding struct {
	Secret []byte
	Vector []byte // of at least 16 octets, new for each message
	// Hide says which attributes are hidden. Message Type never is.
	Hide func(Attribute) bool
	// Padding is appended to each value to hide its length, octets.
	Padding int
}

// hide enciphers the value of a.
func (h *Hiding) hide(a AVP) AVP {
	plain := make([]byte, 2, 2+len(a.Value)+h.Padding)
	binary.BigEndian.PutUint16(plain, uint16(len(a.Value)))
	plain = append(plain, a.Value...)
	plain = append(plain, make([]byte, h.Padding)...)
	mask := firstMask(a.Attribute, h.Secret, h.Vector)
	for off := 0; off < len(plain); off += md5.Size {
		block := plain[off:min(off+md5.Size, len(plain))]
		subtle.XORBytes(block, block, mask[:])
		mask = nextMask(h.Secret, block)
	}
	a.Hidden, a.Value = true, plain
	return a
}

// reveal deciphers the value of a. It returns false if what comes out can't be a value: the original length in its first
// two octets is random when the secrets differ, so it is checked against what is there.
func reveal(a AVP, secret, vector []byte) (AVP, bool) {
	if len(a.Value) < 2 {
		return a, false
	}
	plain := make([]byte, len(a.Value))
	mask := firstMask(a.Attribute, secret, vector)
	for off := 0; off < len(plain); off += md5.Size {
		block := a.Value[off:min(off+md5.Size, len(plain))]
		subtle.XORBytes(plain[off:], block, mask[:])
		mask = nextMask(secret, block)
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-2 {
		return a, false
	}
	a.Hidden, a.Value = false, plain[2:2+n:2+n]
	return a, true
}

// firstMask is b1 of RFC 2661 section 4.3.
func firstMask(a Attribute, secret, vector []byte) [md5.Size]byte {
	b := make([]byte, 2, 2+len(secret)+len(vector))
	binary.BigEndian.PutUint16(b, uint16(a))
	b = append(b, secret...)
	return md5.Sum(append(b, vector...))
}

// nextMask is what follows the cipher text block.
func nextMask(secret, block []byte) [md5.Size]byte {
	b := make([]byte, 0, len(secret)+len(block))
	b = append(b, secret...)
	return md5.Sum(append(b, block...))
}
