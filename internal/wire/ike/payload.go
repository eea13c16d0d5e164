package ike

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// What a message may hold at most; more is malformed. Real clients stay far below.
const (
	MaxPayloads   = 64
	MaxProposals  = 10
	MaxTransforms = 64 // of one proposal
	MaxAttributes = 32 // of one transform
)

// payloadHeaderLen is the length of the generic payload header, RFC 2408 section 3.2.
const payloadHeaderLen = 4

// Payload is one payload of a message. Body is without the generic header.
type Payload struct {
	Type PayloadType
	Body []byte
}

// Payloads is a chain of payloads whose lengths have been checked. It borrows the octets that it was parsed from.
type Payloads struct {
	first PayloadType
	b     []byte // exactly the chain
}

// ParsePayloads checks a chain whose first payload has the given type. With padding, octets after the last payload are
// left out, as the plaintext of an encrypted message ends with padding (RFC 2409 appendix B); without, they are an error.
func ParsePayloads(first PayloadType, b []byte, padding bool) (Payloads, error) {
	rest, next := b, first
	for n := 0; next != PayloadNone; n++ {
		if n == MaxPayloads {
			return Payloads{}, fmt.Errorf("%w payloads", ErrTooMany)
		}
		if next == PayloadProposal || next == PayloadTransform {
			return Payloads{}, fmt.Errorf("%w: payload %v outside of an SA", ErrChain, next)
		}
		size, err := payloadLen(rest)
		if err != nil {
			return Payloads{}, fmt.Errorf("payload %v: %w", next, err)
		}
		next, rest = PayloadType(rest[0]), rest[size:]
	}
	if len(rest) > 0 && !padding {
		return Payloads{}, fmt.Errorf("%w: %d octets after the last payload", ErrLength, len(rest))
	}
	return Payloads{first: first, b: b[: len(b)-len(rest) : len(b)-len(rest)]}, nil
}

// payloadLen returns the length of the payload that b begins with, header included.
func payloadLen(b []byte) (int, error) {
	if len(b) < payloadHeaderLen {
		return 0, fmt.Errorf("%w: %d octets are left", ErrLength, len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < payloadHeaderLen || n > len(b) {
		return 0, fmt.Errorf("%w: %d of %d octets", ErrLength, n, len(b))
	}
	return n, nil
}

// All yields the payloads in order.
func (p Payloads) All() iter.Seq[Payload] {
	return func(yield func(Payload) bool) {
		next, rest := p.first, p.b
		for next != PayloadNone {
			n := int(binary.BigEndian.Uint16(rest[2:]))
			if !yield(Payload{Type: next, Body: rest[payloadHeaderLen:n:n]}) {
				return
			}
			next, rest = PayloadType(rest[0]), rest[n:]
		}
	}
}

// Get returns the body of the first payload of a type; false if there is none.
func (p Payloads) Get(t PayloadType) ([]byte, bool) {
	for q := range p.All() {
		if q.Type == t {
			return q.Body, true
		}
	}
	return nil, false
}

// Count returns how many payloads of a type there are.
func (p Payloads) Count(t PayloadType) int {
	n := 0
	for q := range p.All() {
		if q.Type == t {
			n++
		}
	}
	return n
}

// First returns the type of the first payload, PayloadNone for an empty chain.
func (p Payloads) First() PayloadType { return p.first }

// Bytes returns the chain as it was received, padding left out.
func (p Payloads) Bytes() []byte { return p.b }

// AfterFirst returns the octets of all payloads but the first: what HASH(1) and HASH(2) of RFC 2409 section 5.5 cover,
// when the first is the HASH.
func (p Payloads) AfterFirst() []byte {
	if p.first == PayloadNone {
		return nil
	}
	return p.b[binary.BigEndian.Uint16(p.b[2:]):]
}

// Message is a message whose payloads are in the clear.
type Message struct {
	Header   Header
	Payloads Payloads
}

// ParseMessage reads an unencrypted message. It borrows b. The header's encryption flag is not looked at.
func ParseMessage(b []byte) (Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Message{}, err
	}
	p, err := ParsePayloads(h.Next, b[HeaderLen:], false)
	if err != nil {
		return Message{}, err
	}
	return Message{Header: h, Payloads: p}, nil
}

// Builder puts a message together. The zero Builder is not usable; NewBuilder makes one.
type Builder struct {
	b    []byte
	next int // where the type of the next payload goes
}

// NewBuilder begins a message with a header, whose Next and Length are filled in by the Builder.
func NewBuilder(h Header) *Builder {
	h.Next = PayloadNone
	b, _ := h.AppendBinary(make([]byte, 0, 512)) // it never fails
	return &Builder{b: b, next: 16}
}

// Add adds a payload whose body is the parts, one after the other. Bodies are copied; 65531 octets is their limit, which
// only a certificate could ever come near, and messages are bounded before.
func (m *Builder) Add(t PayloadType, parts ...[]byte) {
	m.b[m.next] = byte(t)
	m.next = len(m.b)
	n := payloadHeaderLen
	for _, p := range parts {
		n += len(p)
	}
	m.b = append(m.b, byte(PayloadNone), 0, byte(n>>8), byte(n))
	for _, p := range parts {
		m.b = append(m.b, p...)
	}
}

// Len is the length of the message so far, in octets.
func (m *Builder) Len() int { return len(m.b) }

// Payloads returns the octets of the payloads added since the message was from octets long, to be hashed or encrypted in
// place. They are the Builder's: Add may move them.
func (m *Builder) Payloads(from int) []byte { return m.b[from:] }

// Bytes finishes the message: it writes the length and returns the octets, which now are the caller's.
func (m *Builder) Bytes() []byte {
	binary.BigEndian.PutUint32(m.b[24:], uint32(len(m.b)))
	return m.b
}
