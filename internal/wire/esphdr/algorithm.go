package esphdr

import "strconv"

// Encryption is an ESP encryption algorithm that we can do. DES and NULL are none and never will be.
type Encryption uint8

// The encryption algorithms.
const (
	EncryptionUnset Encryption = iota
	// AESCBC is AES in CBC mode with a key of 128, 192 or 256 bits (RFC 3602).
	AESCBC
	// AESGCM16 is AES in Galois/Counter mode with an ICV of 16 octets (RFC 4106). It checks integrity itself.
	AESGCM16
	// TripleDES is 3DES in CBC mode (RFC 2451).
	TripleDES
)

// Integrity is an ESP integrity algorithm.
type Integrity uint8

// The integrity algorithms. The second number is the length of the ICV in bits.
const (
	// IntegrityUnset goes with AESGCM16, and with nothing else.
	IntegrityUnset Integrity = iota
	HMACSHA1_96              // RFC 2404
	HMACSHA256_128           // RFC 4868
	HMACSHA384_192           // RFC 4868
	HMACSHA512_256           // RFC 4868
	HMACMD5_96               // RFC 2403
)

// TruncatedICVLen is the length in octets to which some Androids cut the ICV of HMACSHA256_128: 96 bits, as an early draft
// of RFC 4868 had it.
const TruncatedICVLen = 12

// gcmSaltLen is how many octets at the end of GCM's keying material are the salt (RFC 4106 section 8.1).
const gcmSaltLen = 4

// Key lengths in octets.
const (
	aes128Key    = 16
	aes192Key    = 24
	aes256Key    = 32
	tripleDESKey = 24
)

// AEAD reports whether e checks integrity itself, and so goes with IntegrityUnset.
func (e Encryption) AEAD() bool { return e == AESGCM16 }

// ValidKeyLen reports whether e takes a key of n octets, the salt not counted.
func (e Encryption) ValidKeyLen(n int) bool {
	switch e {
	case AESCBC, AESGCM16:
		return n == aes128Key || n == aes192Key || n == aes256Key
	case TripleDES:
		return n == tripleDESKey
	default:
		return false
	}
}

// SaltLen is how many octets of salt follow the key in the keying material.
func (e Encryption) SaltLen() int {
	if e == AESGCM16 {
		return gcmSaltLen
	}
	return 0
}

// IVLen is the length in octets of the IV that every packet carries.
func (e Encryption) IVLen() int {
	switch e {
	case AESCBC:
		return 16
	case AESGCM16, TripleDES:
		return 8
	default:
		return 0
	}
}

// Align is what the length of payload, padding and trailer together is a multiple of, in octets: the cipher's block, and
// at least four (RFC 4303 section 2.4).
func (e Encryption) Align() int {
	switch e {
	case AESCBC:
		return 16
	case TripleDES:
		return 8
	default:
		return 4
	}
}

// ICVLen is the length in octets of the check value that e itself makes; 0 if integrity is another algorithm's.
func (e Encryption) ICVLen() int {
	if e == AESGCM16 {
		return 16
	}
	return 0
}

// String is the algorithm without its key length: "AES-CBC".
func (e Encryption) String() string {
	switch e {
	case AESCBC:
		return "AES-CBC"
	case AESGCM16:
		return "AES-GCM"
	case TripleDES:
		return "3DES-CBC"
	default:
		return "unset"
	}
}

// KeyLen is the length in octets of i's key, which is always that of its hash (RFC 2404 section 3, RFC 4868 section 2.1.1).
func (i Integrity) KeyLen() int {
	switch i {
	case HMACSHA1_96:
		return 20
	case HMACSHA256_128:
		return 32
	case HMACSHA384_192:
		return 48
	case HMACSHA512_256:
		return 64
	case HMACMD5_96:
		return 16
	default:
		return 0
	}
}

// ICVLen is the length in octets of i's check value.
func (i Integrity) ICVLen() int {
	switch i {
	case HMACSHA1_96, HMACMD5_96:
		return 12
	case HMACSHA256_128:
		return 16
	case HMACSHA384_192:
		return 24
	case HMACSHA512_256:
		return 32
	default:
		return 0
	}
}

// String is the hash as it stands in a suite's name: "SHA1".
func (i Integrity) String() string {
	switch i {
	case HMACSHA1_96:
		return "SHA1"
	case HMACSHA256_128:
		return "SHA256"
	case HMACSHA384_192:
		return "SHA384"
	case HMACSHA512_256:
		return "SHA512"
	case HMACMD5_96:
		return "MD5"
	default:
		return "unset"
	}
}

// Valid reports whether e with a key of keyLen octets (salt not counted) and i make a suite.
func Valid(e Encryption, keyLen int, i Integrity) bool {
	return e.ValidKeyLen(keyLen) && e.AEAD() == (i == IntegrityUnset) && i <= HMACMD5_96
}

// ICVLen is the length in octets of the check value behind a packet of e and i.
func ICVLen(e Encryption, i Integrity) int {
	if e.AEAD() {
		return e.ICVLen()
	}
	return i.ICVLen()
}

// Name is how a suite is called in the API and the log: "AES-256-CBC-SHA1", "AES-128-GCM", "3DES-CBC-SHA1". keyLen is
// that of the encryption key in octets, salt not counted. "" for what is no suite.
func Name(e Encryption, keyLen int, i Integrity) string {
	if !Valid(e, keyLen, i) {
		return ""
	}
	bits := strconv.Itoa(keyLen * 8)
	switch e {
	case AESCBC:
		return "AES-" + bits + "-CBC-" + i.String()
	case AESGCM16:
		return "AES-" + bits + "-GCM"
	default:
		return e.String() + "-" + i.String()
	}
}
