package ikev1

import (
	"encoding/binary"
	"fmt"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
)

// espSuite is what one transform of an ESP proposal asks for.
type espSuite struct {
	encryption esphdr.Encryption
	keyLen     int // octets, without a salt
	integrity  esphdr.Integrity
	encap      wireike.Encapsulation // 0: not said
	group      wireike.GroupID       // GroupNone: no perfect forward secrecy
	esn        bool
	lifetime   time.Duration // the peer's wish; 0: none
	kilobytes  uint64        // the peer's wish; 0: none
}

// espKeyLens are the lengths of the keying material of one direction, salt included.
func (s espSuite) keyLens() (encryption, integrity int) {
	integrity = 0
	if s.integrity != esphdr.IntegrityUnset {
		integrity = s.integrity.KeyLen()
	}
	return s.keyLen + s.encryption.SaltLen(), integrity
}

// legacy says whether the suite needs a tenant's legacy switch.
func (s espSuite) legacy() bool {
	g, ok := group.Get(s.group)
	return s.encryption == esphdr.TripleDES || s.integrity == esphdr.HMACMD5_96 || ok && g.Legacy()
}

var espIntegrity = map[wireike.ESPAuthID]esphdr.Integrity{
	wireike.ESPAuthMD5: esphdr.HMACMD5_96, wireike.ESPAuthSHA1: esphdr.HMACSHA1_96,
	wireike.ESPAuthSHA256: esphdr.HMACSHA256_128, wireike.ESPAuthSHA384: esphdr.HMACSHA384_192,
	wireike.ESPAuthSHA512: esphdr.HMACSHA512_256,
}

// tripleDESKeyLen is the length of a 3DES key in octets.
const tripleDESKeyLen = 24

// readESPSuite reads a transform of an ESP proposal. It returns false for one that we can't do; text describes it either
// way.
func readESPSuite(t wireike.Transform) (s espSuite, text string, ok bool) {
	var (
		auth     wireike.ESPAuthID
		bits     int
		lifeType = wireike.LifeSeconds
	)
	for attr, v := range t.Attributes.All() {
		small := uint16(min(v, 0xffff))
		switch attr {
		case wireike.AttrESPLifeType:
			lifeType = v
		case wireike.AttrESPLifeDuration:
			switch lifeType {
			case wireike.LifeSeconds:
				s.lifetime = seconds(v)
			case wireike.LifeKilobytes:
				s.kilobytes = v
			}
		case wireike.AttrESPGroup:
			s.group = wireike.GroupID(small)
		case wireike.AttrESPEncapsulation:
			s.encap = wireike.Encapsulation(small)
		case wireike.AttrESPAuth:
			auth = wireike.ESPAuthID(small)
		case wireike.AttrESPKeyLength:
			bits = int(small)
		case wireike.AttrESPESN:
			s.esn = v == wireike.ESN64
		}
	}
	id := wireike.ESPTransformID(t.ID)
	text = fmt.Sprintf("%v-%d %v", id, bits, auth)
	if bits == 0 && (id == wireike.ESPAESCBC || id == wireike.ESPAESGCM16) {
		bits = defaultAESBits
	}
	s.keyLen = bits / 8
	s.integrity = espIntegrity[auth]
	switch id {
	case wireike.ESPAESCBC:
		s.encryption = esphdr.AESCBC
	case wireike.ESPAESGCM16:
		s.encryption = esphdr.AESGCM16
		s.integrity = esphdr.IntegrityUnset
	case wireike.ESP3DES:
		s.encryption, s.keyLen = esphdr.TripleDES, tripleDESKeyLen
	default:
		return s, text, false
	}
	if s.encap != 0 {
		text += fmt.Sprintf(" mode %d", s.encap)
	}
	if s.group != wireike.GroupNone {
		text += fmt.Sprintf(" PFS %v", s.group)
	}
	known := s.encryption.AEAD() || s.integrity != esphdr.IntegrityUnset
	return s, text, known && s.encryption.ValidKeyLen(s.keyLen)
}

// espWish is what a Quick Mode must agree with.
type espWish struct {
	legacy  bool // allowed
	racoon  bool // SHA-1 before SHA-2 where the cipher is the same
	nat     bool // ESP must go in UDP
	floated bool // IKE is on port 4500, so ESP in UDP can
	ke      int  // length of the KE payload; 0: there is none
}

// fits says whether a suite agrees with the encapsulation and the key exchange of its Quick Mode. Behind a NAT only ESP in
// UDP works; without one, a client on port 4500 gets it that wants it.
func (w espWish) fits(s espSuite) bool {
	switch s.encap {
	case 0, wireike.EncapTransport:
		if w.nat {
			return false
		}
	case wireike.EncapUDPTransport, wireike.EncapDraftUDPTransport:
		if !w.nat && !w.floated {
			return false
		}
	default:
		return false
	}
	if w.ke == 0 {
		return s.group == wireike.GroupNone
	}
	g, ok := group.Get(s.group)
	return ok && g.PublicLen() == w.ke
}

// udp says whether a suite puts ESP in UDP.
func (s espSuite) udp() bool {
	return s.encap == wireike.EncapUDPTransport || s.encap == wireike.EncapDraftUDPTransport
}

// chosenESP is the outcome of a choice.
type chosenESP struct {
	suite     espSuite
	proposal  wireike.Proposal
	transform wireike.Transform
	spi       uint32 // the peer's
}

const espSPILen = 4

// espSPI reads the SPI of an ESP proposal; false if it is none. The values up to 255 are reserved, RFC 4303 section 2.1.
func espSPI(b []byte) (uint32, bool) {
	if len(b) != espSPILen {
		return 0, false
	}
	spi := binary.BigEndian.Uint32(b)
	return spi, spi > 255
}

// choose picks the transform that message 2 of Quick Mode answers with, by the same rule as in phase 1: modern before
// legacy, then in the peer's order. The error is an *errNoProposal.
func (w espWish) choose(sa wireike.SA) (chosenESP, error) {
	var (
		offered      []string
		best         [2]chosenESP // modern, legacy
		have         [2]bool
		legacyUnused bool
	)
	combined := combinedProposals(sa)
	for prop := range sa.Proposals() {
		if combined[prop.Number] {
			continue // ESP together with AH or compression
		}
		spi, okSPI := espSPI(prop.SPI)
		for t := range prop.Transforms() {
			s, text, ok := readESPSuite(t)
			if prop.Protocol != wireike.ProtocolESP {
				offered = append(offered, fmt.Sprintf("protocol %d", prop.Protocol))
				continue
			}
			offered = append(offered, text)
			if !ok || !okSPI || !w.fits(s) {
				continue
			}
			class := 0
			if s.legacy() {
				class = 1
				if !w.legacy {
					legacyUnused = true
					continue
				}
			}
			if !have[class] || w.racoon && s.cutsLess(best[class].suite) {
				best[class], have[class] = chosenESP{s, prop, t, spi}, true
			}
		}
	}
	switch {
	case have[0]:
		return best[0], nil
	case have[1]:
		return best[1], nil
	case legacyUnused:
		return chosenESP{}, &errNoProposal{
			tenant.ReasonLegacyNotAllowed,
			"the client offers only ESP algorithms that need the tenant's legacyClients: " + listOf(offered),
		}
	default:
		return chosenESP{}, &errNoProposal{
			tenant.ReasonNoCommonProposal, "none of the client's ESP proposals can be accepted: " + listOf(offered),
		}
	}
}

// cutsLess says whether a suite is the other with SHA-1 in the place of SHA-2, whose check value some racoons cut too
// short.
func (s espSuite) cutsLess(than espSuite) bool {
	return s.encryption == than.encryption && s.keyLen == than.keyLen &&
		s.integrity == esphdr.HMACSHA1_96 && than.integrity != esphdr.HMACSHA1_96
}

// combinedProposals returns the numbers of proposals that ask for several protocols at once, RFC 2408 section 4.2.
func combinedProposals(sa wireike.SA) map[uint8]bool {
	seen := map[uint8]int{}
	combined := map[uint8]bool{}
	for p := range sa.Proposals() {
		if seen[p.Number]++; seen[p.Number] > 1 {
			combined[p.Number] = true
		}
	}
	return combined
}
