package ike

import (
	"encoding/binary"
	"fmt"
	"iter"
)

const (
	notifyHeaderLen = 8 // RFC 2408 section 3.14, without the generic header
	deleteHeaderLen = 8 // RFC 2408 section 3.15, without the generic header
	certHeaderLen   = 1 // RFC 2408 sections 3.9 and 3.10
)

// Notify is the body of a notify payload, RFC 2408 section 3.14.
type Notify struct {
	Protocol Protocol
	Type     NotifyType
	SPI      []byte // borrowed
	Data     []byte // borrowed
}

// ParseNotify reads the body of a notify payload. It borrows body. A DOI other than ours is let pass, as some peers send 0.
func ParseNotify(body []byte) (Notify, error) {
	if len(body) < notifyHeaderLen {
		return Notify{}, fmt.Errorf("%w: notify of %d octets", ErrLength, len(body))
	}
	spi := notifyHeaderLen + int(body[5])
	if spi > len(body) {
		return Notify{}, fmt.Errorf("%w: notify with an SPI of %d octets", ErrLength, body[5])
	}
	return Notify{
		Protocol: Protocol(body[4]), Type: NotifyType(binary.BigEndian.Uint16(body[6:])),
		SPI: body[notifyHeaderLen:spi:spi], Data: body[spi:],
	}, nil
}

// AppendBinary appends the body. It never fails; the error is encoding.BinaryAppender's.
func (n Notify) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, DOI)
	b = append(b, byte(n.Protocol), byte(len(n.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(n.Type))
	b = append(b, n.SPI...)
	return append(b, n.Data...), nil
}

// Delete is the body of a delete payload, RFC 2408 section 3.15.
type Delete struct {
	Protocol Protocol
	SPILen   int
	spis     []byte // borrowed
}

// ParseDelete reads the body of a delete payload and checks that number and size of the SPIs fill it. It borrows body.
func ParseDelete(body []byte) (Delete, error) {
	if len(body) < deleteHeaderLen {
		return Delete{}, fmt.Errorf("%w: delete of %d octets", ErrLength, len(body))
	}
	d := Delete{Protocol: Protocol(body[4]), SPILen: int(body[5]), spis: body[deleteHeaderLen:]}
	count := int(binary.BigEndian.Uint16(body[6:]))
	if d.SPILen == 0 || count*d.SPILen != len(d.spis) {
		return Delete{}, fmt.Errorf("%w: %d SPIs of %d octets in %d", ErrLength, count, d.SPILen, len(d.spis))
	}
	return d, nil
}

// SPIs yields the SPIs, all of SPILen octets.
func (d Delete) SPIs() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := d.spis; len(rest) > 0; rest = rest[d.SPILen:] {
			if !yield(rest[:d.SPILen:d.SPILen]) {
				return
			}
		}
	}
}

// AppendDelete appends the body of a delete payload for SPIs that all have one length.
func AppendDelete(b []byte, p Protocol, spis ...[]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, DOI)
	size := 0
	if len(spis) > 0 {
		size = len(spis[0])
	}
	b = append(b, byte(p), byte(size))
	b = binary.BigEndian.AppendUint16(b, uint16(len(spis)))
	for _, s := range spis {
		b = append(b, s...)
	}
	return b
}

// ParseCert reads the body of a certificate or certificate request payload. The data is borrowed.
func ParseCert(body []byte) (CertEncoding, []byte, error) {
	if len(body) < certHeaderLen {
		return 0, nil, fmt.Errorf("%w: certificate payload without an encoding", ErrLength)
	}
	return CertEncoding(body[0]), body[certHeaderLen:], nil
}

// AppendCert appends the body of a certificate or certificate request payload.
func AppendCert(b []byte, e CertEncoding, data []byte) []byte {
	return append(append(b, byte(e)), data...)
}
