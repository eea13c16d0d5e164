package esp

import (
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// Inbound opens the packets of one SA. It belongs to one goroutine.
type Inbound struct {
	crypto
	window window
	// maybeShort says that the ICV may turn out to be cut to 96 bits; short that it has.
	maybeShort, short bool
}

// NewInbound makes the SA that packets with our SPI p.SPI are opened by. ErrParams.
func NewInbound(p Params) (*Inbound, error) {
	c, err := newCrypto(&p, cipher.NewCBCDecrypter)
	if err != nil {
		return nil, err
	}
	return &Inbound{crypto: *c, maybeShort: p.Integrity == esphdr.HMACSHA256_128}, nil
}

// Truncated reports whether the peer has turned out to cut the ICV of HMAC-SHA2-256 to 96 bits, as some Androids do. What
// we send it must be cut too: Outbound.Truncate.
func (sa *Inbound) Truncated() bool { return sa.short }

// Close wipes the keys. Every later packet is Exhausted.
func (sa *Inbound) Close() { sa.wipe() }

// Open checks and decrypts the packet in b, which starts with its ESP header, in place, and leaves the transport
// payload. The order is that of RFC 4303 section 3.4: replay check, ICV, replay update, padding.
func (sa *Inbound) Open(b *pktbuf.Buf) (nextHeader uint8, v Verdict) {
	p := b.Bytes()
	n, ok := sa.bodyLen(len(p))
	if !ok || binary.BigEndian.Uint32(p) != sa.spi {
		return 0, Malformed
	}
	if sa.PastHard() {
		return 0, Exhausted
	}
	seq := uint64(binary.BigEndian.Uint32(p[4:]))
	if sa.esn {
		seq = sa.window.extend(uint32(seq))
	}
	if !sa.window.fresh(seq) {
		return 0, Replay
	}
	body, ok := sa.decrypt(p, n, seq)
	if !ok {
		return 0, Auth
	}
	sa.window.accept(seq) // only now: a forgery must not move the window
	sa.packets = sa.window.top
	sa.bytes += uint64(n)

	nextHeader = body[n-1]
	padding := int(body[n-2])
	if padding+esphdr.TrailerLen > n {
		return 0, Padding
	}
	payload := n - esphdr.TrailerLen - padding
	for i, octet := range body[payload : n-esphdr.TrailerLen] {
		if octet != byte(i+1) {
			return 0, Padding
		}
	}
	b.TrimFront(esphdr.HeaderLen + sa.iv)
	b.Truncate(payload)
	if nextHeader == esphdr.NextHeaderNone {
		return nextHeader, Dummy
	}
	return nextHeader, OK
}

// bodyLen is the length of the ciphertext in a packet of total octets, behind the IV. The full ICV of HMAC-SHA2-256 and
// the one cut to 96 bits differ by four octets, less than a block: the length alone says which one it can be.
func (sa *Inbound) bodyLen(total int) (n int, ok bool) {
	n = total - esphdr.HeaderLen - sa.iv - sa.icv
	if sa.maybeShort && n%sa.align != 0 {
		n += sa.icv - esphdr.TruncatedICVLen
	}
	return n, n >= esphdr.TrailerLen && n%sa.align == 0
}

// decrypt checks the ICV of the packet p with n octets of ciphertext and decrypts these in place.
func (sa *Inbound) decrypt(p []byte, n int, seq uint64) (body []byte, ok bool) {
	start := esphdr.HeaderLen + sa.iv
	iv, end := p[esphdr.HeaderLen:start], start+n
	body = p[start:end]
	if sa.aead != nil {
		copy(sa.nonce[saltLen:], iv)
		_, err := sa.aead.Open(body[:0], sa.nonce[:], p[start:], sa.authenticated(seq))
		return body, err == nil
	}
	icv := p[end:]
	if !hmac.Equal(sa.check(p[:end], seq)[:len(icv)], icv) {
		return nil, false
	}
	if sa.maybeShort { // the first good packet settles it
		sa.short = len(icv) < sa.icv
		sa.icv, sa.maybeShort = len(icv), false
	}
	sa.cbc.SetIV(iv)
	sa.cbc.CryptBlocks(body, body)
	return body, true
}
