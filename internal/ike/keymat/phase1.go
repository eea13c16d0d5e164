package keymat

import (
	"crypto/cipher"
	"fmt"

	"concentrator/internal/tenant"
	"concentrator/internal/wipe"
	wireike "concentrator/internal/wire/ike"
)

// Phase1 is what both sides know when they derive the keys of an ISAKMP SA, in the names of RFC 2409 section 5. The slices
// are the caller's; they must stay as they are until the Keys have been told EndPhase1.
type Phase1 struct {
	Hash    Hash
	Cipher  Cipher
	Cookies Cookies

	NonceI, NonceR   []byte        // Ni_b, Nr_b: bodies of the nonce payloads
	PublicI, PublicR []byte        // g^xi, g^xr: bodies of the key exchange payloads
	Shared           tenant.Secret // g^xy, of the group's full length
	SA               []byte        // SAi_b: the body of the initiator's SA payload, as it was received
}

// Keys are the keys of one ISAKMP SA. They are safe for concurrent use until EndPhase1 or Wipe changes them.
type Keys struct {
	phase1 *Phase1 // nil after EndPhase1
	hash   Hash
	cipher Cipher
	block  cipher.Block

	skeyid, skeyidD, skeyidA, skeyidE tenant.Secret
}

// WithPSK derives the keys of an SA that a pre-shared key authenticates: SKEYID = prf(psk, Ni_b | Nr_b), RFC 2409
// section 5.4. It takes about ten microseconds, so many keys can be tried on message 5.
func (p *Phase1) WithPSK(psk tenant.Secret) *Keys {
	return p.derive(p.Hash.prf(psk, p.NonceI, p.NonceR))
}

// WithSignatures derives the keys of an SA that signatures authenticate: SKEYID = prf(Ni_b | Nr_b, g^xy), RFC 2409
// section 5.1.
func (p *Phase1) WithSignatures() *Keys {
	nonces := make([]byte, 0, len(p.NonceI)+len(p.NonceR))
	nonces = append(append(nonces, p.NonceI...), p.NonceR...)
	return p.derive(p.Hash.prf(nonces, p.Shared))
}

// derive makes SKEYID_d, SKEYID_a and SKEYID_e of RFC 2409 section 5 and the cipher key of its appendix B.
func (p *Phase1) derive(skeyid []byte) *Keys {
	next := func(before []byte, n byte) []byte {
		return p.Hash.prf(skeyid, before, p.Shared, p.Cookies.Initiator[:], p.Cookies.Responder[:], []byte{n})
	}
	k := &Keys{phase1: p, hash: p.Hash, cipher: p.Cipher, skeyid: skeyid}
	k.skeyidD = next(nil, 0)
	k.skeyidA = next(k.skeyidD, 1)
	k.skeyidE = next(k.skeyidA, 2)
	key := p.Hash.cipherKey(k.skeyidE, p.Cipher.keyLen)
	k.block = p.Cipher.block(key)
	clear(key)
	return k
}

// cipherKey makes a cipher key of n octets from SKEYID_e: its first octets, or where it is too short, those of
// Ka = K1 | K2 | ... with K1 = prf(SKEYID_e, 0) and Kn = prf(SKEYID_e, Kn-1), RFC 2409 appendix B. The result is the
// caller's.
func (h Hash) cipherKey(skeyidE []byte, n int) []byte {
	if len(skeyidE) >= n {
		return append([]byte(nil), skeyidE[:n]...)
	}
	return h.expand(skeyidE, n, nil, []byte{0})
}

// expand returns n octets of K1 | K2 | ... with K1 = prf(key, first) and Kn = prf(key, Kn-1 | seed).
func (h Hash) expand(key []byte, n int, seed, first []byte) []byte {
	out := make([]byte, 0, n+h.Size())
	last := h.prf(key, first)
	for {
		out = append(out, last...)
		if len(out) >= n {
			clear(last)
			clear(out[n:])
			return out[:n:n]
		}
		before := last
		last = h.prf(key, before, seed)
		clear(before)
	}
}

// FirstIV is the IV of the first encrypted message: hash(g^xi | g^xr), RFC 2409 appendix B.
func (p *Phase1) FirstIV() IV { return p.Cipher.makeIV(p.Hash.sum(p.PublicI, p.PublicR)) }

// Wipe clears the shared secret.
func (p *Phase1) Wipe() {
	clear(p.Shared)
	p.Shared = nil
}

// HashI is HASH_I, what the initiator sends in a HASH payload or signs: prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b |
// IDii_b), RFC 2409 section 5. idii is the body of its identification payload. With an ECDSA method the prf is the HMAC
// of the method's own hash, not of the negotiated one (RFC 2409 section 5.1, RFC 4754 section 4). It panics after
// EndPhase1.
func (k *Keys) HashI(method wireike.AuthMethod, idii []byte) []byte {
	p := k.phase1
	return k.signed(method).prf(k.skeyid, p.PublicI, p.PublicR, p.Cookies.Initiator[:], p.Cookies.Responder[:], p.SA, idii)
}

// HashR is HASH_R, what the responder sends or signs: prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b). The rest
// is as in HashI.
func (k *Keys) HashR(method wireike.AuthMethod, idir []byte) []byte {
	p := k.phase1
	return k.signed(method).prf(k.skeyid, p.PublicR, p.PublicI, p.Cookies.Responder[:], p.Cookies.Initiator[:], p.SA, idir)
}

// signed returns the hash whose HMAC makes HASH_I and HASH_R for a method.
func (k *Keys) signed(method wireike.AuthMethod) Hash {
	switch method {
	case wireike.AuthECDSA256:
		return Hash{wireike.HashSHA256}
	case wireike.AuthECDSA384:
		return Hash{wireike.HashSHA384}
	case wireike.AuthECDSA521:
		return Hash{wireike.HashSHA512}
	default:
		return k.hash
	}
}

// EndPhase1 clears SKEYID and SKEYID_e and lets go of the Phase1: nothing in phase 2 needs them.
func (k *Keys) EndPhase1() {
	k.phase1 = nil
	clear(k.skeyid)
	clear(k.skeyidE)
	k.skeyid, k.skeyidE = nil, nil
}

// Wipe clears all keys. Nothing else may be asked of them afterwards.
func (k *Keys) Wipe() {
	k.EndPhase1()
	clear(k.skeyidD)
	clear(k.skeyidA)
	wipe.Value(k.block)
	k.skeyidD, k.skeyidA, k.block = nil, nil, nil
}

// Reveal calls f for each key, by its name in RFC 2409, until EndPhase1. The octets are borrowed. It is for simulated
// clients: whoever has the keys of a session has what it carries.
func (k *Keys) Reveal(f func(name string, key []byte)) {
	f("SKEYID", k.skeyid)
	f("SKEYID_d", k.skeyidD)
	f("SKEYID_a", k.skeyidA)
	f("SKEYID_e", k.skeyidE)
	if k.phase1 != nil {
		f("g^xy", k.phase1.Shared)
	}
}

// String implements fmt.Stringer: the algorithms, never the keys.
func (k *Keys) String() string { return fmt.Sprintf("keys of %v, %v", k.hash.id, k.cipher.id) }

// GoString implements fmt.GoStringer, so that no format shows the keys.
func (k *Keys) GoString() string { return k.String() }
