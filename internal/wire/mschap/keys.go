package mschap

import (
	"bytes"
	"crypto/sha1"
)

// The constants of RFC 3079 section 3.4.
const (
	masterMagic = "This is the MPPE Master Key"
	magicSendC  = "On the client side, this is the send key; on the server side, it is the receive key."
	magicRecvC  = "On the client side, this is the receive key; on the server side, it is the send key."
)

// KeyLen is the length of a master or start key, in octets.
const KeyLen = 16

// MasterKey derives the key that both directions start from (RFC 3079 section 3.3, GetMasterKey).
func MasterKey(hashHash [HashLen]byte, ntResponse [NTResponseLen]byte) [KeyLen]byte {
	h := sha1.New()
	h.Write(hashHash[:])
	h.Write(ntResponse[:])
	h.Write([]byte(masterMagic))
	return sumOf(h)
}

// StartKeys returns the MPPE start keys as the server uses them: send encrypts towards the client, recv decrypts what
// comes from it (RFC 3079 section 3.3, GetAsymmetricStartKey). 40- and 56-bit sessions use the first eight octets.
func StartKeys(hashHash [HashLen]byte, ntResponse [NTResponseLen]byte) (send, recv [KeyLen]byte) {
	master := MasterKey(hashHash, ntResponse)
	return startKey(master, magicRecvC), startKey(master, magicSendC)
}

// padLen is the length of both pads around the magic text, in octets.
const padLen = 40

func startKey(master [KeyLen]byte, magic string) [KeyLen]byte {
	var pad1 [padLen]byte
	h := sha1.New()
	h.Write(master[:])
	h.Write(pad1[:])
	h.Write([]byte(magic))
	h.Write(bytes.Repeat([]byte{0xf2}, padLen))
	return sumOf(h)
}
