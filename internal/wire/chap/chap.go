package chap

import (
	"crypto/md5"
	"errors"

	"concentrator/internal/wipe"
)

// CHAP codes (RFC 1994 section 4).
const (
	CodeChallenge byte = 1
	CodeResponse  byte = 2
	CodeSuccess   byte = 3
	CodeFailure   byte = 4
)

// MD5Len is the length of a response of the MD5 algorithm, in octets.
const MD5Len = md5.Size

// MaxValue is the longest challenge or response value, in octets.
const MaxValue = 0xff

// ErrValue is returned for a Challenge or Response whose value is empty or runs over the end of the packet.
var ErrValue = errors.New("chap: value is empty or runs over the end of the packet")

// Value is the data of a Challenge or Response (RFC 1994 section 4.1). Both fields borrow the packet.
type Value struct {
	Value []byte
	Name  []byte
}

// ParseValue reads the data of a Challenge or Response.
func ParseValue(data []byte) (Value, error) {
	if len(data) == 0 {
		return Value{}, ErrValue
	}
	n := int(data[0])
	if n == 0 || n > len(data)-1 {
		return Value{}, ErrValue
	}
	return Value{Value: data[1 : 1+n], Name: data[1+n:]}, nil
}

// AppendBinary implements encoding.BinaryAppender.
func (v Value) AppendBinary(b []byte) ([]byte, error) {
	if len(v.Value) == 0 || len(v.Value) > MaxValue {
		return b, ErrValue
	}
	b = append(b, byte(len(v.Value)))
	b = append(b, v.Value...)
	return append(b, v.Name...), nil
}

// MD5Response computes the response of the MD5 algorithm: the hash of identifier, secret and challenge
// (RFC 1994 section 4.1).
func MD5Response(id byte, secret, challenge []byte) [MD5Len]byte {
	h := md5.New()
	defer wipe.Value(h) // it holds the secret
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return [MD5Len]byte(h.Sum(nil))
}
