package esp

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// Inbound opens the packets of one SA. It belongs to one goroutine.
type Inbound struct {
	crypto
	window window
	form   Form
	mayCut bool // an ICV cut to 96 bits counts too, until a whole one has come
}

// NewInbound makes the SA that packets with our SPI p.SPI are opened by. ErrParams.
func NewInbound(p Params) (*Inbound, error) {
	c, err := newCrypto(&p, cipher.NewCBCDecrypter)
	if err != nil {
		return nil, err
	}
	defer clear(c.nonce[:]) // the salt: the SA has a copy
	return &Inbound{crypto: *c, mayCut: p.Integrity == esphdr.HMACSHA256_128}, nil
}

// Form is what the peer's packets have shown so far. With FormCut what we send it must be cut too (Outbound.Truncate), with
// FormWhole it must not be (Outbound.Restore). It never becomes less.
func (sa *Inbound) Form() Form { return sa.form }

// Close wipes the keys. Every later packet is Exhausted.
func (sa *Inbound) Close() { sa.wipe() }

// Open checks and decrypts the packet in b, which starts with its ESP header, in place, and leaves the transport
// payload: OpenBatch with one packet.
func (sa *Inbound) Open(b *pktbuf.Buf) (nextHeader uint8, v Verdict) {
	x, _ := spare.Get().(*Scratch)
	defer spare.Put(x)
	ops := [1]OpenOp{{SA: sa, Buf: b}}
	x.open(ops[:])
	return ops[0].NextHeader, ops[0].Verdict
}

// open takes at most stage packets through the phases. The order for each is that of RFC 4303 section 3.4: replay check,
// ICV, replay update, padding.
func (x *Scratch) open(ops []OpenOp) {
	for i := range ops {
		op, j := &ops[i], &x.jobs[i]
		j.packet = op.Buf.Bytes()
		if op.SA.admit(j) == OK {
			x.queueSum(&op.SA.crypto, j)
		}
	}
	multibuf.SumHMAC(x.macs, x.multi)
	for i := range ops {
		ops[i].Verdict = ops[i].SA.accept(&x.jobs[i], x)
	}
	multibuf.DecryptCBC(x.cbcs, x.multi)
	for i := range ops {
		op := &ops[i]
		op.NextHeader = 0
		if op.Verdict == OK {
			op.NextHeader, op.Verdict = op.SA.unwrap(&x.jobs[i], op.Buf)
		}
	}
	x.release(len(ops))
}

// admit says whether the SA, as it is now, may have a packet like j's, and finds what a check needs to know of it. A
// packet that is no more than Malformed or Exhausted can't become better as the SA goes on.
func (sa *Inbound) admit(j *job) Verdict {
	n, ok := sa.bodyLen(len(j.packet))
	if !ok || binary.BigEndian.Uint32(j.packet) != sa.spi {
		return Malformed
	}
	if sa.PastHard() {
		return Exhausted
	}
	seq := uint64(binary.BigEndian.Uint32(j.packet[4:]))
	if sa.esn {
		seq = sa.window.extend(uint32(seq))
	}
	if !sa.window.fresh(seq) {
		return Replay
	}
	j.end, j.seq = esphdr.HeaderLen+sa.iv+n, seq
	return OK
}

// bodyLen is the length of the ciphertext in a packet of total octets, behind the IV. The full ICV of HMAC-SHA2-256 and
// the one cut to 96 bits differ by four octets, less than a block: the length alone says which one it can be. As long as
// all were cut, both kinds are taken: the cut may not have been the peer's. Once a whole one has come, packets of the
// other kind are none, and the rest are as long as they were before.
func (sa *Inbound) bodyLen(total int) (n int, ok bool) {
	n = total - esphdr.HeaderLen - sa.iv - sa.icv
	part := sa.align - 1 // a power of two less one
	if sa.mayCut && n&part != 0 {
		n += sa.icv - esphdr.TruncatedICVLen
	}
	return n, n >= esphdr.TrailerLen && n&part == 0
}

// accept decides on j, whose turn has come, and has it decrypted. The packets of the batch before it have changed the SA
// since it was admitted: it is looked at again.
func (sa *Inbound) accept(j *job, x *Scratch) Verdict {
	before := j.seq
	if v := sa.admit(j); v != OK {
		return v
	}
	if j.seq != before {
		j.sum = nil // it was computed with another number, or not at all
	}
	if !sa.authentic(j, x) {
		return Auth
	}
	sa.window.accept(j.seq) // only now: a forgery must not move the window
	sa.packets = sa.window.top
	body := j.cipherText(&sa.crypto)
	sa.bytes += uint64(len(body))
	iv := j.packet[esphdr.HeaderLen : esphdr.HeaderLen+sa.iv]
	switch {
	case sa.aes != nil:
		x.queueCBC(&sa.crypto, iv, body)
	case sa.cbc != nil:
		sa.cbc.SetIV(iv)
		sa.cbc.CryptBlocks(body, body)
	}
	return OK
}

// authentic checks the ICV of j, in time that doesn't depend on where it is wrong. GCM decrypts at once what is right.
func (sa *Inbound) authentic(j *job, x *Scratch) bool {
	icv := j.packet[j.end:]
	if sa.aead != nil {
		body := j.cipherText(&sa.crypto)
		copy(sa.nonce[saltLen:], j.packet[esphdr.HeaderLen:])
		_, err := sa.aead.Open(body[:0], sa.nonce[:], body[:len(body)+len(icv)], sa.authenticated(j.seq))
		return err == nil
	}
	if subtle.ConstantTimeCompare(x.sum(&sa.crypto, j)[:len(icv)], icv) == 0 {
		return false
	}
	if sa.mayCut {
		sa.form = FormCut
		if len(icv) == sa.icv { // only this settles it: who is on the way can cut, but not this
			sa.form, sa.mayCut = FormWhole, false
		}
	}
	return true
}

// unwrap takes header and trailer off j, which is decrypted, and leaves the payload in b.
func (sa *Inbound) unwrap(j *job, b *pktbuf.Buf) (nextHeader uint8, v Verdict) {
	body := j.cipherText(&sa.crypto)
	n := len(body)
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
