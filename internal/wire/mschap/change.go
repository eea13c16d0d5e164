package mschap

import (
	"crypto/des"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// CodeChangePassword is the code of a CHAP packet that changes an expired password (RFC 2759 section 7). Its identifier is
// one above that of the Failure that it answers.
const CodeChangePassword byte = 7

// Lengths in octets.
const (
	EncryptedPasswordLen = maxPasswordLen + 4 // the block of RFC 2759 section 8.9, whose end is the password's length
	EncryptedHashLen     = HashLen
	// ChangePasswordLen is what a Change-Password packet has behind its header.
	ChangePasswordLen = changeFlagsAt + 2

	maxPasswordLen = 512 // a password of 256 units of UTF-16
)

// Places in the packet: Encrypted-Password, Encrypted-Hash, Peer-Challenge, eight reserved octets, NT-Response, flags.
const (
	changePeerAt     = EncryptedPasswordLen + EncryptedHashLen
	changeResponseAt = changePeerAt + ChallengeLen + 8
	changeFlagsAt    = changeResponseAt + NTResponseLen
)

// Errors of this file.
var (
	// ErrChangePasswordLen is returned for a Change-Password packet of another length than 586 octets with its header.
	ErrChangePasswordLen = errors.New("mschap: change-password packet is not 586 octets long")
	// ErrPasswordLen is returned for a password of more than 256 units of UTF-16.
	ErrPasswordLen = errors.New("mschap: password too long")
	// ErrOldPassword is returned when a block does not open to a password: it was made with another old password.
	ErrOldPassword = errors.New("mschap: the block does not hold a password")
)

// ChangePassword is the data of a Change-Password packet (RFC 2759 section 7). The old password keeps the new one, and the
// new one keeps the hash of the old one.
type ChangePassword struct {
	EncryptedPassword [EncryptedPasswordLen]byte
	EncryptedHash     [EncryptedHashLen]byte
	PeerChallenge     [ChallengeLen]byte
	NTResponse        [NTResponseLen]byte // made with the new password
	Flags             uint16              // zero
}

// ParseChangePassword reads the data of a Change-Password packet. The reserved octets are not looked at. It keeps nothing
// of data.
func ParseChangePassword(data []byte) (ChangePassword, error) {
	if len(data) != ChangePasswordLen {
		return ChangePassword{}, ErrChangePasswordLen
	}
	return ChangePassword{
		EncryptedPassword: [EncryptedPasswordLen]byte(data),
		EncryptedHash:     [EncryptedHashLen]byte(data[EncryptedPasswordLen:]),
		PeerChallenge:     [ChallengeLen]byte(data[changePeerAt:]),
		NTResponse:        [NTResponseLen]byte(data[changeResponseAt:]),
		Flags:             binary.BigEndian.Uint16(data[changeFlagsAt:]),
	}, nil
}

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (c ChangePassword) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, c.EncryptedPassword[:]...)
	b = append(b, c.EncryptedHash[:]...)
	b = append(b, c.PeerChallenge[:]...)
	b = append(b, make([]byte, changeResponseAt-changePeerAt-ChallengeLen)...)
	b = append(b, c.NTResponse[:]...)
	return binary.BigEndian.AppendUint16(b, c.Flags), nil
}

// Response is the login with the new password that the packet is too, in the form of a CHAP Response.
func (c ChangePassword) Response() Response {
	return Response{PeerChallenge: c.PeerChallenge, NTResponse: c.NTResponse}
}

// ClientChangePassword is the client's half: the answer to a Failure with the challenge auth by a user who takes a new
// password. random fills what is left of the block that holds it. It fails for a new password of more than 256 units of
// UTF-16 and when random does.
func ClientChangePassword(
	random io.Reader, auth, peer [ChallengeLen]byte, user, oldPassword, newPassword string,
) (ChangePassword, error) {
	c := ChangePassword{
		EncryptedHash: OldHashEncryptedWithNewHash(NTPasswordHash(oldPassword), NTPasswordHash(newPassword)),
		PeerChallenge: peer,
		NTResponse:    ClientResponse(auth, peer, user, newPassword).NTResponse,
	}
	var err error
	c.EncryptedPassword, err = NewPasswordEncryptedWithOldHash(random, newPassword, NTPasswordHash(oldPassword))
	return c, err
}

// NewPasswordEncryptedWithOldHash puts the new password at the end of a random block and encrypts the block with the hash
// of the old one (RFC 2759 sections 8.9 and 8.10). Errors are as ClientChangePassword has them.
func NewPasswordEncryptedWithOldHash(
	random io.Reader, newPassword string, oldHash [HashLen]byte,
) ([EncryptedPasswordLen]byte, error) {
	var block [EncryptedPasswordLen]byte
	password := utf16LE([]byte(newPassword))
	defer clear(password)
	if len(password) > maxPasswordLen {
		return block, ErrPasswordLen
	}
	if _, err := io.ReadFull(random, block[:maxPasswordLen-len(password)]); err != nil {
		return [EncryptedPasswordLen]byte{}, fmt.Errorf("mschap: no random octets for the password block: %w", err)
	}
	copy(block[maxPasswordLen-len(password):], password)
	binary.LittleEndian.PutUint32(block[maxPasswordLen:], uint32(len(password)))
	cryptBlock(&block, oldHash)
	return block, nil
}

// DecryptNewPassword is the server's half of NewPasswordEncryptedWithOldHash. A block that was made with another password
// is found out only by chance; so the caller must check the Encrypted-Hash as well, with OldHashEncryptedWithNewHash.
func DecryptNewPassword(block [EncryptedPasswordLen]byte, oldHash [HashLen]byte) (string, error) {
	cryptBlock(&block, oldHash)
	defer clear(block[:])
	n := binary.LittleEndian.Uint32(block[maxPasswordLen:])
	if n > maxPasswordLen || n%2 != 0 {
		return "", ErrOldPassword
	}
	var password []byte
	for b := block[maxPasswordLen-n : maxPasswordLen]; len(b) > 0; {
		first, second := rune(binary.LittleEndian.Uint16(b)), rune(utf8.RuneError)
		b = b[2:]
		if utf16.IsSurrogate(first) {
			if len(b) > 0 {
				second = rune(binary.LittleEndian.Uint16(b))
				b = b[2:]
			}
			if first = utf16.DecodeRune(first, second); first == utf8.RuneError {
				return "", ErrOldPassword
			}
		}
		password = utf8.AppendRune(password, first)
	}
	defer clear(password)
	return string(password), nil
}

// CheckOldHash is the server's proof that the peer knew the old password: whether the packet's Encrypted-Hash is that of
// the two passwords.
func (c ChangePassword) CheckOldHash(oldHash, newHash [HashLen]byte) bool {
	want := OldHashEncryptedWithNewHash(oldHash, newHash)
	return subtle.ConstantTimeCompare(c.EncryptedHash[:], want[:]) == 1
}

// OldHashEncryptedWithNewHash encrypts the hash of the old password with that of the new one, each half with seven octets
// of it as a DES key (RFC 2759 sections 8.12 and 8.13).
func OldHashEncryptedWithNewHash(oldHash, newHash [HashLen]byte) [EncryptedHashLen]byte {
	var out [EncryptedHashLen]byte
	for i := range 2 {
		key := desKey([7]byte(newHash[7*i:]))
		block, err := des.NewCipher(key[:])
		if err != nil {
			panic("mschap: DES refuses a key of eight octets: " + err.Error())
		}
		block.Encrypt(out[8*i:], oldHash[8*i:])
	}
	return out
}

// cryptBlock encrypts or decrypts with RC4.
func cryptBlock(block *[EncryptedPasswordLen]byte, key [HashLen]byte) {
	cipher, err := rc4.NewCipher(key[:])
	if err != nil {
		panic("mschap: RC4 refuses a key of sixteen octets: " + err.Error())
	}
	cipher.XORKeyStream(block[:], block[:])
}
