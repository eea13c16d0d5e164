package mppe

import (
	"crypto/subtle"
	"encoding/binary"

	"concentrator/internal/dataplane/pktbuf"
)

// streamLen is the longest keystream for one packet.
const streamLen = pktbuf.Size

// Sender encrypts one direction of a session.
type Sender struct {
	schedule schedule
	session  key
	// count is the coherency count of the next packet.
	count uint16
	// stream is the RC4 stream that stateful mode continues from packet to packet; nil when stateless.
	stream *rc4
	flush  bool
}

// NewSender returns a sender at coherency count 0.
func NewSender(p Params) *Sender {
	s := &Sender{schedule: newSchedule(p)}
	s.session = s.schedule.initial()
	if p.Stateful {
		s.stream = &rc4{}
		s.stream.init(&s.session, s.schedule.n)
	}
	return s
}

// Reset answers a CCP Reset-Request: in stateful mode the next packet starts a new RC4 stream and says so. RFC 3078 section
// 8.2 needs no more, but Linux decrypts nothing until it has seen a Reset-Ack: that must be sent before.
func (s *Sender) Reset() {
	s.flush = s.stream != nil
}

// Seal encrypts one packet; see SealOp.
func (s *Sender) Seal(b *pktbuf.Buf, x *Scratch) bool {
	return s.seal(b, x)
}

// sealable reports whether the packet isn't empty and has room for the header.
func sealable(b *pktbuf.Buf) bool {
	return b.Len() > 0 && b.Front() >= headerLen
}

// nextHeader counts a packet and returns its header, without the flushed bit.
func (s *Sender) nextHeader() uint16 {
	header := s.count | bitEncrypted
	s.count = (s.count + 1) & countMask
	return header
}

func (s *Sender) seal(b *pktbuf.Buf, x *Scratch) bool {
	if !sealable(b) {
		return false
	}
	stream := &x.rc4
	if s.stream != nil {
		stream = s.stream
	}
	header := s.nextHeader()
	// Like Linux's ppp_mppe: the very first stateful packet isn't flushed, and every flushed one changes the key.
	if s.stream == nil || isFlag(header&countMask) || s.flush {
		s.schedule.change(&s.session, x)
		stream.init(&s.session, s.schedule.n)
		header |= bitFlushed
		s.flush = false
	}
	body := b.Bytes()
	keystream := x.rows[0][:len(body)]
	stream.stream(keystream)
	subtle.XORBytes(body, body, keystream)
	binary.BigEndian.PutUint16(b.Prepend(headerLen), header)
	return true
}
