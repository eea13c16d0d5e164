package ikev1

import (
	"errors"
	"time"

	"concentrator/internal/ike/cert"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// Initiator says how to set up an ISAKMP SA and its first children as the initiator: what a client does. The server uses
// it only to rekey. It is configurable enough to look like the clients that people have: what is offered in which order,
// the vendor IDs, the identities, the numbering of Quick Modes.
type Initiator struct {
	Path       Path // to the responder: port 500, or 4500 from the start
	Tenant     string
	Aggressive bool // Aggressive Mode instead of Main Mode

	Proposals []Phase1Proposal // transforms of message 1, in order; at least one
	// Identity is the body of our ID payload; zero: the address of Path.Local. A NATed client names its private address here.
	Identity wireike.ID
	PSK      tenant.Secret
	// Certificate and Trust authenticate by signatures, with the method of the certificate's key.
	Certificate *cert.Own
	Trust       *cert.Trust

	// Vendors are sent in message 1, in order, then RawVendors as they are. The first way of NAT traversal that the responder
	// answers is used; without any there is none.
	Vendors    []wireike.Vendor
	RawVendors [][]byte
	NonceLen   int // octets; 0: 32

	InitialContact bool // sent in message 5
	// ForceNAT makes both sides see a NAT: our NAT-D payloads hold other addresses.
	ForceNAT bool
	// FirstMessageID numbers Quick Modes upwards from here, as Windows does from 1; 0: they are random.
	FirstMessageID uint32

	// KeyLog is told the keys of phase 1, by their names in RFC 2409, before the SA is established: for simulated clients,
	// whose tests look for them where they must not be. The octets are borrowed. nil: nobody is.
	KeyLog func(name string, key []byte)

	Lifetime time.Duration // of the ISAKMP SA: when we rekey it; 0: what was negotiated
	Children []QuickMode   // begun one after the other when the SA is there
}

// Phase1Proposal is one transform of phase 1.
type Phase1Proposal struct {
	Encryption wireike.EncryptionID
	KeyBits    int // of AES; 0 leaves the attribute out
	Hash       wireike.HashID
	Group      wireike.GroupID
	Auth       wireike.AuthMethod // 0: AuthPSK
	Lifetime   time.Duration      // 0: not sent
	Kilobytes  uint32             // 0: not sent
}

func (p Phase1Proposal) transform(number uint8) wireike.Transform {
	var a wireike.Attributes
	a = a.With(wireike.AttrEncryption, uint16(p.Encryption))
	if p.KeyBits != 0 {
		a = a.With(wireike.AttrKeyLength, uint16(p.KeyBits))
	}
	a = a.With(wireike.AttrHash, uint16(p.Hash)).With(wireike.AttrGroup, uint16(p.Group))
	auth := p.Auth
	if auth == 0 {
		auth = wireike.AuthPSK
	}
	a = a.With(wireike.AttrAuthMethod, uint16(auth))
	if p.Lifetime != 0 {
		a = a.With(wireike.AttrLifeType, uint16(wireike.LifeSeconds))
		a = a.WithLong(wireike.AttrLifeDuration, uint32(p.Lifetime/time.Second))
	}
	if p.Kilobytes != 0 {
		a = a.With(wireike.AttrLifeType, uint16(wireike.LifeKilobytes)).WithLong(wireike.AttrLifeDuration, p.Kilobytes)
	}
	return wireike.Transform{Number: number, ID: wireike.TransformKeyIKE, Attributes: a}
}

// QuickMode says how to set up a child as the initiator.
type QuickMode struct {
	Proposals []ESPProposal   // in order; at least one
	PFS       wireike.GroupID // GroupNone: without
	// Local and Remote are the identities, sent as they are.
	Local, Remote wireike.ID
	NATOA         bool          // send NAT-OA payloads where there is a NAT
	Lifetime      time.Duration // 0: not sent
	Kilobytes     uint32        // 0: not sent
}

// ESPProposal is one ESP transform.
type ESPProposal struct {
	Transform wireike.ESPTransformID
	KeyBits   int               // 0 leaves the attribute out
	Auth      wireike.ESPAuthID // ESPAuthNone leaves the attribute out, as GCM wants it
	ESN       bool
	// Separate puts the transform into a proposal of its own, as Windows does; else it stands in the one before it.
	Separate bool
}

// offers builds the SA payload of message 1.
func (q QuickMode) offers(spi uint32, encap wireike.Encapsulation) []wireike.Offer {
	var out []wireike.Offer
	for i, p := range q.Proposals {
		var a wireike.Attributes
		if q.Lifetime != 0 {
			a = a.With(wireike.AttrESPLifeType, uint16(wireike.LifeSeconds))
			a = a.WithLong(wireike.AttrESPLifeDuration, uint32(q.Lifetime/time.Second))
		}
		if q.Kilobytes != 0 {
			a = a.With(wireike.AttrESPLifeType, uint16(wireike.LifeKilobytes))
			a = a.WithLong(wireike.AttrESPLifeDuration, q.Kilobytes)
		}
		a = a.With(wireike.AttrESPEncapsulation, uint16(encap))
		if p.Auth != wireike.ESPAuthNone {
			a = a.With(wireike.AttrESPAuth, uint16(p.Auth))
		}
		if p.KeyBits != 0 {
			a = a.With(wireike.AttrESPKeyLength, uint16(p.KeyBits))
		}
		if q.PFS != wireike.GroupNone {
			a = a.With(wireike.AttrESPGroup, uint16(q.PFS))
		}
		if p.ESN {
			a = a.With(wireike.AttrESPESN, uint16(wireike.ESN64))
		}
		if i == 0 || p.Separate {
			out = append(out, wireike.Offer{
				Number: uint8(len(out) + 1), Protocol: wireike.ProtocolESP, SPI: putID32(spi),
			})
		}
		o := &out[len(out)-1]
		o.Transforms = append(o.Transforms, wireike.Transform{
			Number: uint8(len(o.Transforms) + 1), ID: uint8(p.Transform), Attributes: a,
		})
	}
	return out
}

// ErrInitiator is returned by Initiate for a configuration that can't work.
var ErrInitiator = errors.New("ikev1: unusable initiator")

// Initiate begins to set up an ISAKMP SA and its children. The Host hears Established or Refused.
func (e *Engine) Initiate(c Initiator) error {
	switch {
	case len(c.Proposals) == 0:
		return errors.Join(ErrInitiator, errors.New("no proposals"))
	case len(c.PSK) == 0 && c.Certificate == nil:
		return errors.Join(ErrInitiator, errors.New("neither a key nor a certificate"))
	case !c.Path.Local.IsValid() || !c.Path.Remote.IsValid():
		return errors.Join(ErrInitiator, errors.New("no addresses"))
	}
	for _, q := range c.Children {
		if len(q.Proposals) == 0 {
			return errors.Join(ErrInitiator, errors.New("a child without proposals"))
		}
	}
	e.initiate(initiation{Initiator: c})
	return nil
}

// initiation is an Initiator with what only a rekey needs.
type initiation struct {
	Initiator
	rekeyOf *strand  // the peer whose ISAKMP SA is renewed; nil: none
	expect  Identity // who must be at the other end; zero: anybody
	pskID   string
	tenants *TenantPolicy
}

// initiate starts a handshake as initiator.
func (e *Engine) initiate(c initiation) {
	if c.Identity.Type == 0 {
		c.Identity = wireike.AddrID(c.Path.Local.Addr())
	}
	if c.NonceLen == 0 {
		c.NonceLen = ownNonce
	}
	s := newStrand()
	hs := &handshake{
		e: e, s: s, path: c.Path, initiated: true, aggressive: c.Aggressive, initiation: c,
		id: SAID{Initiator: e.newCookie()},
	}
	s.m = hs
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	e.handshakes++
	e.ours[hs.id.Initiator] = s
	e.postLocked(s, event{call: hs.begin}, 0)
}
