package esp

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// Outbound seals the packets of one SA. It belongs to one goroutine.
type Outbound struct {
	crypto
	seed [maxIVLen]byte // of the IVs, see frame; unused with GCM
	cut  bool           // may Truncate and Restore do anything
}

// NewOutbound makes the SA by which packets are sent with the peer's SPI p.SPI. ErrParams.
func NewOutbound(p Params) (*Outbound, error) {
	c, err := newCrypto(&p, cipher.NewCBCEncrypter)
	if err != nil {
		return nil, err
	}
	defer clear(c.nonce[:]) // the salt: the SA has a copy
	sa := &Outbound{crypto: *c, cut: p.Integrity == esphdr.HMACSHA256_128}
	rand.Read(sa.seed[:]) // never fails
	return sa, nil
}

// Truncate cuts the ICV of HMAC-SHA2-256 to 96 bits from now on, for a peer whose packets have shown that it does
// (FormCut). With any other algorithm it does nothing.
func (sa *Outbound) Truncate() {
	if sa.cut {
		sa.icv = esphdr.TruncatedICVLen
	}
}

// Restore undoes Truncate from now on, for a peer whose packets have shown that it was somebody else who cut them
// (FormWhole).
func (sa *Outbound) Restore() {
	if sa.cut {
		sa.icv = esphdr.HMACSHA256_128.ICVLen()
	}
}

// Close wipes the keys. Every later packet is Exhausted.
func (sa *Outbound) Close() {
	sa.wipe()
	clear(sa.seed[:])
}

// Overhead is how many octets Seal adds at most: before the payload, and behind it.
func (sa *Outbound) Overhead() (front, back int) {
	return esphdr.HeaderLen + sa.iv, sa.align - 1 + esphdr.TrailerLen + sa.icv
}

// Seal turns the transport payload in b, of protocol nextHeader, into an ESP packet, in place: SealBatch with one packet.
// When it isn't OK, nothing has changed.
func (sa *Outbound) Seal(b *pktbuf.Buf, nextHeader uint8) Verdict {
	x, _ := spare.Get().(*Scratch)
	defer spare.Put(x)
	ops := [1]SealOp{{SA: sa, Buf: b, NextHeader: nextHeader}}
	x.seal(ops[:])
	return ops[0].Verdict
}

// seal takes at most stage packets through the phases.
func (x *Scratch) seal(ops []SealOp) {
	for i := range ops {
		op, j := &ops[i], &x.jobs[i]
		if op.Verdict = op.SA.wrap(j, op.Buf, op.NextHeader); op.Verdict == OK {
			op.SA.encrypt(j, x)
		}
	}
	multibuf.EncryptCBC(x.cbcs, x.multi)
	multibuf.SumHMAC(x.macs, x.multi)
	for i := range ops {
		if c, j := &ops[i].SA.crypto, &x.jobs[i]; ops[i].Verdict == OK && c.aead == nil {
			copy(j.packet[j.end:], x.sum(c, j))
		}
	}
	x.release(len(ops))
}

// wrap gives j the next sequence number and makes b the packet, with room for IV and ICV, but in clear.
func (sa *Outbound) wrap(j *job, b *pktbuf.Buf, nextHeader uint8) Verdict {
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
	j.packet, j.seq = b.Bytes(), sa.packets
	j.end = len(j.packet) - sa.icv
	sa.bytes += uint64(j.end - len(head))
	return OK
}

// encrypt fills in the IV of j and has it encrypted, and GCM's ICV computed.
//
// The IV of CBC must be one that nobody can predict (RFC 3602 section 3): a number that never comes again, encrypted with
// the key of the packets (NIST SP 800-38A appendix C). To that end the number stands where the IV will be, before the
// payload, and the chain of blocks begins with it. That it begins with a secret seed makes the IVs of two SAs differ
// whatever their keys are.
func (sa *Outbound) encrypt(j *job, x *Scratch) {
	iv := j.packet[esphdr.HeaderLen : esphdr.HeaderLen+sa.iv]
	clear(iv)
	binary.BigEndian.PutUint64(iv, j.seq)
	chain := j.packet[esphdr.HeaderLen:j.end]
	switch {
	case sa.aead != nil: // the number itself is good enough (RFC 4106 section 3.1)
		copy(sa.nonce[saltLen:], iv)
		body := j.cipherText(&sa.crypto)
		sa.aead.Seal(body[:0], sa.nonce[:], body, sa.authenticated(j.seq)) // and the ICV behind
		return
	case sa.aes != nil:
		x.queueCBC(&sa.crypto, sa.seed[:], chain)
	default:
		sa.cbc.SetIV(sa.seed[:sa.iv])
		sa.cbc.CryptBlocks(chain, chain)
	}
	x.queueSum(&sa.crypto, j)
}
