package mschap

import (
	"crypto/des"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/md4" //nolint:staticcheck // RFC 2759 section 8.3 prescribes MD4

	"concentrator/internal/wipe"
)

// Lengths in octets.
const (
	ChallengeLen  = 16 // authenticator and peer challenge
	HashLen       = 16 // password hash
	NTResponseLen = 24
)

// StripDomain takes a "DOMAIN\" prefix off a login name: the challenge hash covers the rest only (RFC 2759 section 4).
// A "@realm" behind the name stays, it is part of what the peer hashed.
func StripDomain(name string) string { return name[strings.LastIndexByte(name, '\\')+1:] }

// NTPasswordHash is MD4 of the password in UTF-16, little endian (RFC 2759 section 8.3). The password is UTF-8; octets
// that are none count as U+FFFD.
func NTPasswordHash[P ~string | ~[]byte](password P) [HashLen]byte {
	b := utf16LE([]byte(password))
	defer clear(b)
	h := md4.New()
	h.Write(b)
	return sumOf(h)
}

// utf16LE is the password as the protocol has it. The caller clears it.
func utf16LE(password []byte) []byte {
	units := make([]uint16, 0, len(password)) // enough for all, so that it need not move
	for len(password) > 0 {
		r, n := utf8.DecodeRune(password)
		units, password = utf16.AppendRune(units, r), password[n:]
	}
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	clear(units)
	return b
}

// sumOf is the beginning of a hash's sum. The hash, which may have a secret in it, can't be used any more.
func sumOf(h hash.Hash) [HashLen]byte {
	sum := h.Sum(nil)
	defer clear(sum)
	wipe.Value(h)
	return [HashLen]byte(sum)
}

// HashNTPasswordHash is MD4 of the password hash (RFC 2759 section 8.4).
func HashNTPasswordHash(ntHash [HashLen]byte) [HashLen]byte {
	h := md4.New()
	h.Write(ntHash[:])
	return sumOf(h)
}

// ChallengeHash is what the response answers: eight octets of both challenges and the name (RFC 2759 section 8.2).
// A domain prefix of user is not part of it and is taken off here.
func ChallengeHash(peer, auth [ChallengeLen]byte, user string) [8]byte {
	h := sha1.New()
	h.Write(peer[:])
	h.Write(auth[:])
	h.Write([]byte(StripDomain(user)))
	return [8]byte(h.Sum(nil))
}

// NTResponse answers a challenge hash with a password hash (RFC 2759 section 8.5).
func NTResponse(challengeHash [8]byte, ntHash [HashLen]byte) [NTResponseLen]byte {
	var padded [21]byte // the hash and five zero octets make three DES keys of seven octets
	copy(padded[:], ntHash[:])
	var out [NTResponseLen]byte
	for i := range 3 {
		key := desKey([7]byte(padded[7*i:]))
		block, err := des.NewCipher(key[:])
		if err != nil {
			panic("mschap: DES refuses a key of eight octets: " + err.Error())
		}
		block.Encrypt(out[8*i:], challengeHash[:])
		wipe.Value(block)
		clear(key[:])
	}
	return out
}

// desKey spreads 56 key bits over eight octets, seven in each. DES ignores the lowest bit, the parity.
func desKey(k [7]byte) [8]byte {
	var bits uint64
	for _, c := range k {
		bits = bits<<8 | uint64(c)
	}
	var out [8]byte
	for i := range out {
		out[i] = byte(bits>>(49-7*i)) << 1
	}
	return out
}
