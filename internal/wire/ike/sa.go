package ike

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Lengths of fixed parts of the SA payload, generic headers included where there is one.
const (
	saHeaderLen        = 8 // DOI and situation, RFC 2407 section 4.6.1
	proposalHeaderLen  = 8 // RFC 2408 section 3.5
	transformHeaderLen = 8 // RFC 2408 section 3.6
	attributeHeaderLen = 4 // RFC 2408 section 3.3
	maxSPILen          = 16
)

// attributeTV marks an attribute whose value stands in the place of its length.
const attributeTV = 0x8000

// SA is the body of an SA payload whose lengths have been checked. It borrows the octets that it was parsed from.
type SA struct {
	b []byte
}

// ParseSA checks the body of an SA payload down to the last attribute. Errors wrap ErrDOI, ErrSituation, ErrLength,
// ErrChain and ErrTooMany.
func ParseSA(body []byte) (SA, error) {
	if len(body) < saHeaderLen {
		return SA{}, fmt.Errorf("%w: SA of %d octets", ErrLength, len(body))
	}
	if doi := binary.BigEndian.Uint32(body); doi != DOI {
		return SA{}, fmt.Errorf("%w: %d", ErrDOI, doi)
	}
	if situation := binary.BigEndian.Uint32(body[4:]); situation != SituationID {
		return SA{}, fmt.Errorf("%w: %#x", ErrSituation, situation)
	}
	rest := body[saHeaderLen:]
	if len(rest) == 0 {
		return SA{}, fmt.Errorf("%w: SA without a proposal", ErrLength)
	}
	for n := 0; len(rest) > 0; n++ {
		if n == MaxProposals {
			return SA{}, fmt.Errorf("%w proposals", ErrTooMany)
		}
		size, err := checkProposal(rest)
		if err != nil {
			return SA{}, fmt.Errorf("proposal %d of the SA: %w", n+1, err)
		}
		if err := checkNext(rest, size, PayloadProposal); err != nil {
			return SA{}, fmt.Errorf("proposal %d of the SA: %w", n+1, err)
		}
		rest = rest[size:]
	}
	return SA{b: body}, nil
}

// checkNext checks that the element of the given size at the front of b says of what follows what is true.
func checkNext(b []byte, size int, more PayloadType) error {
	want := PayloadNone
	if size < len(b) {
		want = more
	}
	if got := PayloadType(b[0]); got != want {
		return fmt.Errorf("%w: next payload is %v, not %v", ErrChain, got, want)
	}
	return nil
}

func checkProposal(b []byte) (int, error) {
	size, err := payloadLen(b)
	if err != nil {
		return 0, err
	}
	if size < proposalHeaderLen {
		return 0, fmt.Errorf("%w: proposal of %d octets", ErrLength, size)
	}
	spi, transforms := int(b[6]), int(b[7])
	if spi > maxSPILen || proposalHeaderLen+spi > size {
		return 0, fmt.Errorf("%w: SPI of %d octets", ErrLength, spi)
	}
	if transforms > MaxTransforms {
		return 0, fmt.Errorf("%w transforms: %d", ErrTooMany, transforms)
	}
	rest := b[proposalHeaderLen+spi : size]
	for n := range transforms {
		one, err := checkTransform(rest)
		if err != nil {
			return 0, fmt.Errorf("transform %d: %w", n+1, err)
		}
		if err := checkNext(rest, one, PayloadTransform); err != nil {
			return 0, fmt.Errorf("transform %d: %w", n+1, err)
		}
		rest = rest[one:]
	}
	if len(rest) > 0 {
		return 0, fmt.Errorf("%w: %d octets after %d transforms", ErrLength, len(rest), transforms)
	}
	return size, nil
}

func checkTransform(b []byte) (int, error) {
	size, err := payloadLen(b)
	if err != nil {
		return 0, err
	}
	if size < transformHeaderLen {
		return 0, fmt.Errorf("%w: transform of %d octets", ErrLength, size)
	}
	return size, checkAttributes(b[transformHeaderLen:size])
}

func checkAttributes(rest []byte) error {
	for n := 0; len(rest) > 0; n++ {
		if n == MaxAttributes {
			return fmt.Errorf("%w attributes", ErrTooMany)
		}
		one, err := attributeLen(rest)
		if err != nil {
			return err
		}
		rest = rest[one:]
	}
	return nil
}

// attributeLen returns the length of the attribute that b begins with, its header included.
func attributeLen(b []byte) (int, error) {
	if len(b) < attributeHeaderLen {
		return 0, fmt.Errorf("%w: %d octets of an attribute", ErrLength, len(b))
	}
	n := attributeHeaderLen
	if binary.BigEndian.Uint16(b)&attributeTV == 0 {
		n += int(binary.BigEndian.Uint16(b[2:]))
	}
	if n > len(b) {
		return 0, fmt.Errorf("%w: attribute of %d octets in %d", ErrLength, n, len(b))
	}
	return n, nil
}

// Proposals yields the proposals in order. Neighbours of one number belong together: all or none (RFC 2408 section 4.2).
func (s SA) Proposals() iter.Seq[Proposal] {
	return func(yield func(Proposal) bool) {
		if len(s.b) < saHeaderLen {
			return
		}
		for rest := s.b[saHeaderLen:]; len(rest) > 0; {
			n := int(binary.BigEndian.Uint16(rest[2:]))
			spi := proposalHeaderLen + int(rest[6])
			p := Proposal{
				Number: rest[4], Protocol: Protocol(rest[5]),
				SPI: rest[proposalHeaderLen:spi:spi], transforms: rest[spi:n:n],
			}
			if !yield(p) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Proposal is one proposal of an SA payload, RFC 2408 section 3.5. It borrows the SA's octets.
type Proposal struct {
	Number     uint8
	Protocol   Protocol
	SPI        []byte
	transforms []byte
}

// Transforms yields the transforms in order, the sender's favourite first.
func (p Proposal) Transforms() iter.Seq[Transform] {
	return func(yield func(Transform) bool) {
		for rest := p.transforms; len(rest) > 0; {
			n := int(binary.BigEndian.Uint16(rest[2:]))
			if !yield(Transform{Number: rest[4], ID: rest[5], Attributes: Attributes{rest[transformHeaderLen:n:n]}}) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Transform is one transform of a proposal, RFC 2408 section 3.6.
type Transform struct {
	Number     uint8
	ID         uint8
	Attributes Attributes
}

// Attributes are the data attributes of a transform, RFC 2408 section 3.3. They borrow the SA's octets.
type Attributes struct {
	b []byte
}

// ParseAttributes checks a list of attributes that does not stand in a transform, as in a RESPONDER-LIFETIME notify.
func ParseAttributes(b []byte) (Attributes, error) {
	if err := checkAttributes(b); err != nil {
		return Attributes{}, err
	}
	return Attributes{b}, nil
}

// Bytes returns the attributes as they were received, to be echoed.
func (a Attributes) Bytes() []byte { return a.b }

// All yields the attributes in order. Long ones come with the value of their last eight octets only if the others are
// zero, else with the largest value, which no attribute of ours has.
func (a Attributes) All() iter.Seq2[uint16, uint64] {
	return func(yield func(uint16, uint64) bool) {
		for rest := a.b; len(rest) > 0; {
			t, n := binary.BigEndian.Uint16(rest), attributeHeaderLen
			value := uint64(binary.BigEndian.Uint16(rest[2:]))
			if t&attributeTV == 0 {
				n += int(value)
				value = number(rest[attributeHeaderLen:n])
			}
			if !yield(t&^attributeTV, value) {
				return
			}
			rest = rest[n:]
		}
	}
}

// number reads a big-endian number of any length; what does not fit becomes the largest.
func number(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		if v>>56 != 0 {
			return ^uint64(0)
		}
		v = v<<8 | uint64(c)
	}
	return v
}

// AppendChosen appends the body of the SA payload that answers with one transform of one proposal, its attributes as the
// peer spelled them (RFC 2408 section 4.2), and our SPI.
func AppendChosen(b []byte, p Proposal, spi []byte, t Transform) []byte {
	b = binary.BigEndian.AppendUint32(b, DOI)
	b = binary.BigEndian.AppendUint32(b, SituationID)
	transform := transformHeaderLen + len(t.Attributes.b)
	b = append(b, byte(PayloadNone), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(proposalHeaderLen+len(spi)+transform))
	b = append(b, p.Number, byte(p.Protocol), byte(len(spi)), 1)
	b = append(b, spi...)
	return appendTransform(b, false, t)
}

func appendTransform(b []byte, more bool, t Transform) []byte {
	next := PayloadNone
	if more {
		next = PayloadTransform
	}
	b = append(b, byte(next), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(transformHeaderLen+len(t.Attributes.b)))
	b = append(b, t.Number, t.ID, 0, 0)
	return append(b, t.Attributes.b...)
}

// With returns the attributes with one more, in the short form. It copies.
func (a Attributes) With(t, value uint16) Attributes {
	b := append(make([]byte, 0, len(a.b)+attributeHeaderLen), a.b...)
	b = binary.BigEndian.AppendUint16(b, t|attributeTV)
	return Attributes{binary.BigEndian.AppendUint16(b, value)}
}

// WithLong returns the attributes with one more, in the long form with four octets, as life durations usually come.
func (a Attributes) WithLong(t uint16, value uint32) Attributes {
	b := append(make([]byte, 0, len(a.b)+2*attributeHeaderLen), a.b...)
	b = binary.BigEndian.AppendUint16(b, t)
	b = binary.BigEndian.AppendUint16(b, 4)
	return Attributes{binary.BigEndian.AppendUint32(b, value)}
}

// Offer is a proposal to be sent.
type Offer struct {
	Number     uint8
	Protocol   Protocol
	SPI        []byte
	Transforms []Transform
}

// AppendSA appends the body of an SA payload with the offers in order.
func AppendSA(b []byte, offers ...Offer) []byte {
	b = binary.BigEndian.AppendUint32(b, DOI)
	b = binary.BigEndian.AppendUint32(b, SituationID)
	for i, o := range offers {
		at := len(b)
		next := PayloadNone
		if i < len(offers)-1 {
			next = PayloadProposal
		}
		b = append(b, byte(next), 0, 0, 0, o.Number, byte(o.Protocol), byte(len(o.SPI)), byte(len(o.Transforms)))
		b = append(b, o.SPI...)
		for j, t := range o.Transforms {
			b = appendTransform(b, j < len(o.Transforms)-1, t)
		}
		binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	return b
}
