package ikev1

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"concentrator/internal/ike/keymat"
	wireike "concentrator/internal/wire/ike"
)

// isakmp is an ISAKMP SA whose peer is authenticated. It belongs to the machine of its peer.
type isakmp struct {
	id        SAID
	key       initiatorKey // as responder: how the Engine knows late copies of message 1
	initiated bool
	// aggressive says that Aggressive Mode has made it.
	aggressive bool
	keys       *keymat.Keys
	lastIV     keymat.IV // what the last message of phase 1 left, RFC 2409 appendix B
	path       Path      // of the last authenticated message
	nat        NAT
	natt       natt
	vendor     wireike.Vendor
	suite      suite
	who        outcome
	begun      initiation // as initiator

	created, expires time.Time
	rekeyAt          time.Time // zero: not any more
	rekeys           int       // attempts that failed

	last    cache    // the last message of phase 1
	remind  reminder // as responder of Main Mode, of a peer without children: of message 6
	frags   reassembler
	out     fragmenter
	quicks  map[uint32]*quick // by message ID: under way, or finished and cached
	seen    idRing
	nextID  uint32 // of our next Quick Mode; 0: random
	dpdSeq  uint32
	refused int // transactions and the like that were answered with an error
}

// newISAKMP makes the SA that a handshake has led to.
func newISAKMP(hs *handshake, o outcome, now time.Time) *isakmp {
	s := &isakmp{
		id: hs.id, key: hs.key, initiated: hs.initiated, aggressive: hs.aggressive, keys: hs.keys, lastIV: hs.iv, path: o.path, nat: hs.nat, natt: hs.natt,
		vendor: hs.vendor, suite: hs.suite, who: o, begun: hs.initiation, created: now, out: hs.out,
		quicks: map[uint32]*quick{}, nextID: hs.initiation.FirstMessageID,
		dpdSeq: binary.BigEndian.Uint32(hs.e.random(4)) >> 1,
	}
	own := o.tenant.IKELifetime
	if hs.initiated && hs.initiation.Lifetime != 0 {
		own = hs.initiation.Lifetime
	}
	life, rekey := lifetimes(own, hs.suite.lifetime, DefaultIKELifetime, hs.initiated)
	s.expires, s.rekeyAt = now.Add(life), now.Add(rekey)
	return s
}

// Parts of a lifetime after which we negotiate anew, in thousandths. If the peer set the limit, it does so itself before;
// ours comes late. If we did, the peer may not know it.
const (
	rekeyOursFrom, rekeyOursTo   = 850, 900
	rekeyTheirFrom, rekeyTheirTo = 950, 960
)

// lifetimes returns how long an SA lives, the lower of our wish and the peer's, and after which time we negotiate anew,
// with some jitter so that many don't do so at once. A wish of 0 is none.
func lifetimes(own, peer, def time.Duration, initiated bool) (life, rekey time.Duration) {
	if own == 0 {
		own = def
	}
	from, to := rekeyOursFrom, rekeyOursTo
	life = own
	if peer != 0 && peer <= own {
		life = peer
		if !initiated {
			from, to = rekeyTheirFrom, rekeyTheirTo
		}
	}
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	at := from + int(binary.BigEndian.Uint16(b[:]))%(to-from)
	return life, life * time.Duration(at) / 1000
}

// describe is the SA for the Host.
func (s *isakmp) describe(o outcome) SA {
	return SA{
		ID: s.id, Tenant: o.tenant.Name, PSK: o.psk.ID, Identity: o.identity, Path: o.path, NAT: s.nat,
		InitialContact: o.initialContact, Aggressive: s.aggressive, Initiated: s.initiated, Authentication: s.suite.auth,
		Encryption: s.suite.cipher.ID(), KeyBits: s.suite.keyBits, Hash: s.suite.hash.ID(), Group: s.suite.group.ID(),
		DPD: s.vendor.Has(wireike.VendorDPD), Lifetime: s.expires.Sub(s.created),
	}
}

// spi is how notifies and deletes name the SA: both cookies.
func (s *isakmp) spi() []byte {
	return append(s.id.Initiator[:len(s.id.Initiator):len(s.id.Initiator)], s.id.Responder[:]...)
}

// seenIDs is how many message IDs of an SA are remembered.
const seenIDs = 256

// idRing remembers the last message IDs, so that a copy of an old message does nothing. The zero idRing is ready.
type idRing struct {
	ids  []uint32
	next int
}

func (r *idRing) has(id uint32) bool {
	for _, v := range r.ids {
		if v == id {
			return true
		}
	}
	return false
}

func (r *idRing) add(id uint32) {
	if len(r.ids) < seenIDs {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % seenIDs
}

// payload is a payload to be sent.
type payload struct {
	t    wireike.PayloadType
	body []byte
}

// informational builds a protected informational message: HDR*, HASH(1), payloads (RFC 2409 section 5.7).
func informational(id SAID, keys *keymat.Keys, lastIV keymat.IV, messageID uint32, payloads ...payload) []byte {
	h := wireike.Header{
		Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeInformational, MessageID: messageID,
	}
	msg, _ := hashed(h, keys, keys.ExchangeIV(lastIV, messageID), payloads, func(rest []byte) []byte {
		return keys.HashInformational(messageID, rest)
	})
	return msg
}

// hashed builds an encrypted message of phase 2 whose first payload is the hash of the others. It returns the IV of the
// exchange's next message.
func hashed(
	h wireike.Header, keys *keymat.Keys, iv keymat.IV, payloads []payload, hash func(rest []byte) []byte,
) ([]byte, keymat.IV) {
	b := wireike.NewBuilder(h)
	b.Add(wireike.PayloadHASH, hash(nil)) // room for it: its length does not depend on what it covers
	from := b.Len()
	for _, p := range payloads {
		b.Add(p.t, p.body)
	}
	sum := hash(b.Payloads(from))
	copy(b.Payloads(from - len(sum))[:len(sum)], sum)
	return encryptMessage(b, keys, iv)
}
