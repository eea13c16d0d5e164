package group

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"

	wireike "concentrator/internal/wire/ike"
)

// ErrPublicValue is returned for a peer's public value that no honest peer sends: of a wrong length, 0, 1, p-1, p or more,
// or a point off the curve. The exchange ends with INVALID-KEY-INFORMATION.
var ErrPublicValue = errors.New("group: invalid public value")

// kind is the arithmetic of one group.
type kind interface {
	// generate draws a private value from rand.
	generate(rand io.Reader) (private, error)
	publicLen() int
	sharedLen() int
}

// private is a private value in one kind of group.
type private interface {
	public() []byte
	shared(peer []byte) ([]byte, error)
	wipe()
}

// Group is one Diffie-Hellman group. The zero Group is not usable; Get returns the others. Groups compare with ==.
type Group struct {
	id   wireike.GroupID
	kind kind
}

var groups = map[wireike.GroupID]kind{
	wireike.GroupMODP1024: newMODP(prime1024, 256),
	wireike.GroupMODP1536: newMODP(prime1536, 256),
	wireike.GroupMODP2048: newMODP(prime2048, 256),
	wireike.GroupMODP3072: newMODP(prime3072, 288),
	wireike.GroupMODP4096: newMODP(prime4096, 320),
	wireike.GroupECP256:   &ecp{curve: ecdh.P256(), bits: 256},
	wireike.GroupECP384:   &ecp{curve: ecdh.P384(), bits: 384},
	wireike.GroupECP521:   &ecp{curve: ecdh.P521(), bits: 521},
}

// Get returns the group of a number, or false for one that is not supported.
func Get(id wireike.GroupID) (Group, bool) {
	k, ok := groups[id]
	return Group{id: id, kind: k}, ok
}

// ID returns the group's number on the wire.
func (g Group) ID() wireike.GroupID { return g.id }

// Legacy says whether the group is too weak to be used without a tenant's legacy switch: MODP-1024 and MODP-1536.
func (g Group) Legacy() bool {
	return g.id == wireike.GroupMODP1024 || g.id == wireike.GroupMODP1536
}

// PublicLen is the length in octets of a public value, the body of a KE payload.
func (g Group) PublicLen() int { return g.kind.publicLen() }

// SharedLen is the length in octets of a shared secret.
func (g Group) SharedLen() int { return g.kind.sharedLen() }

// Generate draws a private value from rand, which is crypto/rand.Reader but in tests. The error is that of rand.
func (g Group) Generate(rand io.Reader) (*Private, error) {
	p, err := g.kind.generate(rand)
	if err != nil {
		return nil, fmt.Errorf("private value of group %v: %w", g.id, err)
	}
	return &Private{group: g, private: p, pub: p.public()}, nil
}

// Private is one side's private value in a group. It belongs to one goroutine at a time.
type Private struct {
	group   Group
	private private
	pub     []byte
}

// Group returns the group that the value belongs to.
func (p *Private) Group() Group { return p.group }

// Public returns the public value as it stands in the KE payload, of the group's full length. It is shared, not a copy:
// callers must not change it.
func (p *Private) Public() []byte { return p.pub }

// Shared returns the shared secret with a peer, of the group's full length: g^xy (RFC 2409 section 5), with curves only
// the x coordinate (RFC 5903 section 7). The caller owns it and clears it after use. The error is ErrPublicValue. It
// takes 0.1 to 6 ms, so it runs where it holds nobody up.
func (p *Private) Shared(peer []byte) ([]byte, error) {
	if p.private == nil {
		return nil, errors.New("group: the private value has been wiped")
	}
	if len(peer) != p.group.PublicLen() {
		return nil, ErrPublicValue
	}
	return p.private.shared(peer)
}

// Wipe clears the private value. Shared returns an error afterwards; Public goes on working.
func (p *Private) Wipe() {
	if p.private != nil {
		p.private.wipe()
		p.private = nil
	}
}

// String implements fmt.Stringer: the group, never the value.
func (p *Private) String() string { return "private value of group " + p.group.id.String() }

// GoString implements fmt.GoStringer, so that no format shows the value.
func (p *Private) GoString() string { return p.String() }
