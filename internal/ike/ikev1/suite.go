package ikev1

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"concentrator/internal/ike/group"
	"concentrator/internal/ike/keymat"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// suite is what one transform of phase 1 asks for.
type suite struct {
	cipher   keymat.Cipher
	keyBits  int
	hash     keymat.Hash
	auth     wireike.AuthMethod
	group    group.Group
	lifetime time.Duration // the peer's wish; 0: none
}

// legacy says whether the suite needs a tenant's legacy switch.
func (s suite) legacy() bool { return s.cipher.Legacy() || s.hash.Legacy() || s.group.Legacy() }

// String is the suite for details: "AES-CBC-256 SHA1 MODP-2048 PSK".
func (s suite) String() string {
	return describeSuite(s.cipher.ID(), s.keyBits, s.hash.ID(), s.group.ID(), s.auth)
}

func describeSuite(
	enc wireike.EncryptionID, bits int, hash wireike.HashID, g wireike.GroupID, auth wireike.AuthMethod,
) string {
	cipher := enc.String()
	if enc == wireike.EncryptionAESCBC {
		cipher = fmt.Sprintf("%v-%d", enc, bits)
	}
	return fmt.Sprintf("%s %v %v %v", cipher, hash, g, auth)
}

// defaultAESBits is what an AES transform without a key length means.
const defaultAESBits = 128

// readSuite reads a transform of phase 1. It returns false for one that we can't do; text describes it either way.
func readSuite(t wireike.Transform) (s suite, text string, ok bool) {
	var (
		enc      wireike.EncryptionID
		hash     wireike.HashID
		groupID  wireike.GroupID
		bits     int
		lifeType uint64
		strange  bool
	)
	for attr, v := range t.Attributes.All() {
		small := uint16(min(v, 0xffff))
		switch attr {
		case wireike.AttrEncryption:
			enc = wireike.EncryptionID(small)
		case wireike.AttrHash:
			hash = wireike.HashID(small)
		case wireike.AttrAuthMethod:
			s.auth = wireike.AuthMethod(small)
		case wireike.AttrGroup:
			groupID = wireike.GroupID(small)
		case wireike.AttrKeyLength:
			bits = int(small)
		case wireike.AttrLifeType:
			lifeType = v
		case wireike.AttrLifeDuration:
			if lifeType == wireike.LifeSeconds {
				s.lifetime = seconds(v)
			}
		default:
			strange = true // a group type, a prf, a field size: a way of doing things that we don't know
		}
	}
	if enc == wireike.EncryptionAESCBC && bits == 0 {
		bits = defaultAESBits
	}
	s.keyBits = bits
	text = describeSuite(enc, bits, hash, groupID, s.auth)
	if enc == wireike.Encryption3DES {
		bits = 0
	}
	var okCipher, okHash, okGroup bool
	s.cipher, okCipher = keymat.CipherByID(enc, bits)
	s.hash, okHash = keymat.HashByID(hash)
	s.group, okGroup = group.Get(groupID)
	return s, text, t.ID == wireike.TransformKeyIKE && okCipher && okHash && okGroup && !strange
}

// seconds is a life duration; what no clock can hold is no wish.
func seconds(v uint64) time.Duration {
	if v > uint64(100*365*24*time.Hour/time.Second) {
		return 0
	}
	return time.Duration(v) * time.Second
}

// errNoProposal is what choosing fails with.
type errNoProposal struct {
	reason tenant.Reason
	detail string
}

func (e *errNoProposal) Error() string { return e.detail }

// canAuthenticate says whether a tenant of a listener can authenticate a peer by a method.
func (p *Policy) canAuthenticate(t *TenantPolicy, m wireike.AuthMethod, aggressive bool) bool {
	switch m {
	case wireike.AuthPSK:
		return len(t.PSKs) > 0
	case wireike.AuthRSASignature, wireike.AuthECDSA256, wireike.AuthECDSA384, wireike.AuthECDSA521:
		return !aggressive && t.Trust != nil && p.Certificate != nil && p.Certificate.Method() == m
	default:
		return false
	}
}

// chooseSuite picks the transform that message 2 answers with: what at least one of the tenants allows, any modern one
// before every legacy one, within each class the first that the client offers. The error is an *errNoProposal.
func (p *Policy) chooseSuite(tenants []*TenantPolicy, sa wireike.SA, aggressive bool) (choice, suite, error) {
	var (
		offered      []string
		legacy       suite
		legacyAt     choice
		haveLegacy   bool
		legacyUnused bool // a legacy suite would do, but nobody allows it
	)
	pi := -1
	for prop := range sa.Proposals() {
		pi++
		if prop.Protocol != wireike.ProtocolISAKMP {
			continue
		}
		ti := -1
		for t := range prop.Transforms() {
			ti++
			s, text, ok := readSuite(t)
			offered = append(offered, text)
			if !ok {
				continue
			}
			at := choice{uint8(pi), uint8(ti)}
			for _, tn := range tenants {
				if !p.canAuthenticate(tn, s.auth, aggressive) {
					continue
				}
				switch {
				case !s.legacy():
					return at, s, nil
				case !tn.Legacy:
					legacyUnused = true
				case !haveLegacy:
					legacy, legacyAt, haveLegacy = s, at, true
				}
			}
		}
	}
	switch {
	case haveLegacy:
		return legacyAt, legacy, nil
	case legacyUnused:
		return choice{}, suite{}, &errNoProposal{
			tenant.ReasonLegacyNotAllowed,
			"the client offers only algorithms that need the tenant's legacyClients: " + listOf(offered),
		}
	default:
		return choice{}, suite{}, &errNoProposal{
			tenant.ReasonNoCommonProposal, "none of the client's phase 1 proposals can be accepted: " + listOf(offered),
		}
	}
}

// listOf joins what a client offered for a detail, the first few.
func listOf(offered []string) string {
	const most = 8
	if len(offered) == 0 {
		return "there are none"
	}
	more := ""
	if len(offered) > most {
		more = fmt.Sprintf(", and %d more", len(offered)-most)
		offered = offered[:most]
	}
	return strings.Join(offered, ", ") + more
}

var errNotOffered = errors.New("an answer that was not offered")

// at returns a proposal and transform by place.
func (c choice) at(sa wireike.SA) (wireike.Proposal, wireike.Transform, error) {
	pi := uint8(0)
	for p := range sa.Proposals() {
		ti := uint8(0)
		for t := range p.Transforms() {
			if pi == c.proposal && ti == c.transform {
				return p, t, nil
			}
			ti++
		}
		pi++
	}
	return wireike.Proposal{}, wireike.Transform{}, errNotOffered
}

// single returns the one transform of an SA payload that answers.
func single(sa wireike.SA) (wireike.Proposal, wireike.Transform, error) {
	var (
		p wireike.Proposal
		t wireike.Transform
		n int
	)
	for q := range sa.Proposals() {
		for u := range q.Transforms() {
			p, t = q, u
			n++
		}
	}
	if n != 1 {
		return p, t, fmt.Errorf("an answer with %d transforms", n)
	}
	return p, t, nil
}
