package mppe

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
)

// linuxState is a peer that does what Linux's ppp_mppe.c does, step by step, written with the standard library alone. Its
// names are those of the kernel.
type linuxState struct {
	master, session []byte
	salt            []byte
	arc4            *stdrc4.Cipher
	ccount          uint16
	bits            uint16
	stateful        bool
	discard         bool
	sanityErrors    int
	// rfc makes compress keep the key on a flushed packet that isn't a flag packet, as RFC 3078 section 8.2 has it.
	rfc bool
}

func newLinuxState(p Params) *linuxState {
	s := &linuxState{stateful: p.Stateful}
	n := 16
	switch p.Bits {
	case 56: // the kernel has no 56 bits; RFC 3079 section 3.3
		n, s.salt = 8, []byte{0xd1}
	case 40:
		n, s.salt = 8, []byte{0xd1, 0x26, 0x9e}
	}
	s.master = append([]byte(nil), p.StartKey[:n]...)
	s.session = append([]byte(nil), s.master...)
	s.rekey(true)
	s.ccount = 4095
	s.bits = bitEncrypted
	return s
}

func (s *linuxState) rekey(initial bool) {
	h := sha1.New()
	h.Write(s.master)
	h.Write(make([]byte, 40))
	h.Write(s.session)
	h.Write(bytes.Repeat([]byte{0xf2}, 40))
	digest := h.Sum(nil)[:len(s.session)]
	if initial {
		copy(s.session, digest)
	} else {
		c, _ := stdrc4.NewCipher(digest)
		c.XORKeyStream(s.session, digest)
	}
	copy(s.session, s.salt)
	s.arc4, _ = stdrc4.NewCipher(s.session)
}

// compress is mppe_compress; it returns the packet with its header.
func (s *linuxState) compress(plain []byte) []byte {
	s.ccount = (s.ccount + 1) % 4096
	if !s.stateful || s.ccount&0xff == 0xff || s.bits&bitFlushed != 0 {
		if s.rfc && s.stateful && s.ccount&0xff != 0xff {
			s.arc4, _ = stdrc4.NewCipher(s.session)
		} else {
			s.rekey(false)
		}
		s.bits |= bitFlushed
	}
	out := binary.BigEndian.AppendUint16(nil, s.ccount|s.bits)
	s.bits &^= bitFlushed
	out = append(out, plain...)
	s.arc4.XORKeyStream(out[2:], out[2:])
	return out
}

// compReset is mppe_comp_reset.
func (s *linuxState) compReset() { s.bits |= bitFlushed }

// decompress is mppe_decompress; nil is DECOMP_ERROR.
func (s *linuxState) decompress(p []byte) []byte {
	if len(p) <= 2 {
		return nil
	}
	header := binary.BigEndian.Uint16(p)
	ccount, flushed := header&0xfff, header&bitFlushed != 0
	switch {
	case header&bitEncrypted == 0, !s.stateful && !flushed, s.stateful && ccount&0xff == 0xff && !flushed:
		s.sanityErrors += 100
		return nil
	}
	if !s.stateful {
		if (ccount-s.ccount)%4096 > 2048 {
			s.sanityErrors++
			return nil
		}
		for s.ccount != ccount {
			s.rekey(false)
			s.ccount = (s.ccount + 1) % 4096
		}
	} else {
		if !s.discard {
			s.ccount = (s.ccount + 1) % 4096
			if ccount != s.ccount {
				s.discard = true
				return nil
			}
		} else {
			if !flushed {
				return nil
			}
			for ccount&^0xff != s.ccount&^0xff {
				s.rekey(false)
				s.ccount = (s.ccount + 256) % 4096
			}
			s.discard = false
			s.ccount = ccount
		}
		if flushed {
			s.rekey(false)
		}
	}
	out := make([]byte, len(p)-2)
	s.arc4.XORKeyStream(out, p[2:])
	return out
}
