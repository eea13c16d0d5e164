package esp

import (
	"crypto/cipher"
	"encoding/binary"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// Outbound seals the packets of one SA. It belongs to one goroutine.
type Outbound struct {
	crypto
	ivs *ivSource // nil with GCM
	cut bool      // may Truncate do anything
}

// NewOutbound makes the SA by which packets are sent with the peer's SPI p.SPI. ErrParams.
func NewOutbound(p Params) (*Outbound, error) {
	c, err := newCrypto(&p, cipher.NewCBCEncrypter)
	if err != nil {
		return nil, err
	}
	sa := &Outbound{crypto: *c, cut: p.Integrity == esphdr.HMACSHA256_128}
	if !p.Encryption.AEAD() {
		if sa.ivs, err = newIVSource(); err != nil {
			return nil, err
		}
	}
	return sa, nil
}

// Truncate cuts the ICV of HMAC-SHA2-256 to 96 bits from now on, for a peer whose packets have shown that it does
// (Inbound.Truncated). With any other algorithm it does nothing.
func (sa *Outbound) Truncate() {
	if sa.cut {
		sa.icv = esphdr.TruncatedICVLen
	}
}

// Close wipes the keys. Every later packet is Exhausted.
func (sa *Outbound) Close() {
	sa.wipe()
	if sa.ivs != nil {
		wipe(sa.ivs.block)
	}
}

// Overhead is how many octets Seal adds at most: before the payload, and behind it.
func (sa *Outbound) Overhead() (front, back int) {
	return esphdr.HeaderLen + sa.iv, sa.align - 1 + esphdr.TrailerLen + sa.icv
}

// Seal turns the transport payload in b, of protocol nextHeader, into an ESP packet, in place. When it isn't OK, nothing
// has changed.
func (sa *Outbound) Seal(b *pktbuf.Buf, nextHeader uint8) Verdict {
	if sa.PastHard() {
		return Exhausted
	}
	padding := -(b.Len() + esphdr.TrailerLen) & (sa.align - 1)
	if b.Front() < esphdr.HeaderLen+sa.iv || b.Back() < padding+esphdr.TrailerLen+sa.icv {
		return NoRoom
	}
	sa.packets++ // the first number is 1 (RFC 4303 section 3.3.3)
	tail := b.Append(padding + esphdr.TrailerLen + sa.icv)
	for i := range padding {
		tail[i] = byte(i + 1)
	}
	tail[padding], tail[padding+1] = byte(padding), nextHeader
	head := b.Prepend(esphdr.HeaderLen + sa.iv)
	esphdr.Header{SPI: sa.spi, Seq: uint32(sa.packets)}.Put(head)

	p := b.Bytes()
	end := len(p) - sa.icv
	body := p[len(head):end]
	sa.bytes += uint64(len(body))
	iv := head[esphdr.HeaderLen:]
	if sa.aead != nil {
		binary.BigEndian.PutUint64(iv, sa.packets) // unique for the key, all that RFC 4106 section 3.1 asks
		copy(sa.nonce[saltLen:], iv)
		sa.aead.Seal(body[:0], sa.nonce[:], body, sa.authenticated(sa.packets)) // and the ICV behind
		return OK
	}
	sa.ivs.next(iv)
	sa.cbc.SetIV(iv)
	sa.cbc.CryptBlocks(body, body)
	copy(p[end:], sa.check(p[:end], sa.packets))
	return OK
}
