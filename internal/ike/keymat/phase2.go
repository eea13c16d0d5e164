package keymat

import (
	"encoding/binary"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// messageID is M-ID in network order.
func messageID(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// Hash1 is HASH(1) of a Quick Mode's first message: prf(SKEYID_a, M-ID | rest), RFC 2409 section 5.5. rest is everything
// behind the HASH payload, headers of the payloads included, padding not.
func (k *Keys) Hash1(id uint32, rest []byte) []byte {
	return k.hash.prf(k.skeyidA, messageID(id), rest)
}

// Hash2 is HASH(2) of a Quick Mode's second message: prf(SKEYID_a, M-ID | Ni_b | rest).
func (k *Keys) Hash2(id uint32, nonceI, rest []byte) []byte {
	return k.hash.prf(k.skeyidA, messageID(id), nonceI, rest)
}

// Hash3 is HASH(3) of a Quick Mode's third message: prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
func (k *Keys) Hash3(id uint32, nonceI, nonceR []byte) []byte {
	return k.hash.prf(k.skeyidA, []byte{0}, messageID(id), nonceI, nonceR)
}

// HashInformational is the hash of an Informational exchange: prf(SKEYID_a, M-ID | N or D), RFC 2409 section 5.7. rest is
// as for Hash1.
func (k *Keys) HashInformational(id uint32, rest []byte) []byte { return k.Hash1(id, rest) }

// HashDeleteAck is the hash of the answer to a delete that came with a nonce: prf(SKEYID_a, Ni_b | M-ID | rest), [MS-IKEE]
// section 3.8. rest is as for Hash1.
func (k *Keys) HashDeleteAck(id uint32, nonceI, rest []byte) []byte {
	return k.hash.prf(k.skeyidA, nonceI, messageID(id), rest)
}

// QuickMode is what the keys of a Quick Mode's SAs come from.
type QuickMode struct {
	Shared         tenant.Secret // g(qm)^xy, of the group's full length; nil without perfect forward secrecy
	Protocol       wireike.Protocol
	NonceI, NonceR []byte // Ni_b, Nr_b
}

// SAKeys are the keys of one direction. The receiver of them owns and clears them.
type SAKeys struct {
	Encryption tenant.Secret
	Integrity  tenant.Secret
}

// SAKeys derives the keys of the SA with an SPI, KEYMAT of RFC 2409 section 5.5: K1 = prf(SKEYID_d, [g(qm)^xy |] protocol |
// SPI | Ni_b | Nr_b), Kn = prf(SKEYID_d, Kn-1 | the same). The SPI's owner receives with these keys and the other side
// sends with them. The encryption key comes first (for GCM with its salt of 4 octets, RFC 4106 section 8.1), then the
// integrity key; lengths are in octets.
func (k *Keys) SAKeys(q QuickMode, spi uint32, encryptionLen, integrityLen int) SAKeys {
	seed := make([]byte, 0, len(q.Shared)+5+len(q.NonceI)+len(q.NonceR))
	seed = append(append(seed, q.Shared...), byte(q.Protocol))
	seed = binary.BigEndian.AppendUint32(seed, spi)
	seed = append(append(seed, q.NonceI...), q.NonceR...)
	all := k.hash.expand(k.skeyidD, encryptionLen+integrityLen, seed, seed)
	clear(seed)
	return SAKeys{Encryption: all[:encryptionLen:encryptionLen], Integrity: all[encryptionLen:]}
}
