package policy

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

// Fragments cuts one IPv4 packet into pieces (RFC 791 section 2.3 and 3.2). It is a value, so that cutting needs
// no allocation.
type Fragments struct {
	packet []byte
	// at and end are the part of the packet's payload that is still to be sent.
	at, end int
	// offset is that of packet's payload in the datagram that it is itself a fragment of, in octets.
	offset int
	more   bool
	mtu    int
	head   int
	// later is the header of all pieces but the first: only options that have the copied bit.
	later    [maxHeaderLen]byte
	laterLen int
	first    bool
}

// Fragment begins to cut p, whose header is h, into pieces of at most mtu octets. It reports false when the packet
// must not be cut (Don't Fragment: see FragmentationNeeded), claims to end beyond the longest datagram, or mtu is
// below MinMTU. p is borrowed until the last
// piece was made.
func Fragment(p []byte, h *IPv4, mtu int) (Fragments, bool) {
	if h.DontFragment || mtu < MinMTU || h.FragmentOffset+h.TotalLen > 0xffff {
		return Fragments{}, false
	}
	f := Fragments{
		packet: p, at: h.HeaderLen, end: h.TotalLen, head: h.HeaderLen,
		offset: h.FragmentOffset, more: h.MoreFragments, mtu: min(mtu, pktbuf.MaxRead), first: true,
	}
	f.laterLen = copy(f.later[:], p[:minHeaderLen])
	f.copyOptions(p[minHeaderLen:h.HeaderLen])
	f.later[0] = 0x40 | byte(f.laterLen/4)
	return f, true
}

// copyOptions puts the options that belong in every fragment into the later header (RFC 791 section 3.1), padded
// to a multiple of four. It stops at a malformed one.
func (f *Fragments) copyOptions(options []byte) {
	const (
		end, nop = 0, 1
		copied   = 0x80
	)
	for len(options) > 0 && options[0] != end {
		n := 1
		if options[0] != nop {
			if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
				break
			}
			n = int(options[1])
		}
		if options[0]&copied != 0 {
			f.laterLen += copy(f.later[f.laterLen:], options[:n])
		}
		options = options[n:]
	}
	for f.laterLen%4 != 0 {
		f.later[f.laterLen] = end
		f.laterLen++
	}
}

// Next makes b the next piece, with headroom. It reports false when there is none left.
func (f *Fragments) Next(b *pktbuf.Buf) bool {
	if f.at >= f.end && !f.first {
		return false
	}
	header := f.later[:f.laterLen]
	if f.first {
		header = f.packet[:f.head]
	}
	n := f.end - f.at
	last := len(header)+n <= f.mtu
	if !last {
		n = (f.mtu - len(header)) &^ 7
	}
	b.Reset()
	p := b.Append(len(header) + n)
	copy(p, header)
	copy(p[len(header):], f.packet[f.at:f.at+n])
	flags := uint16(f.offset / 8)
	if !last || f.more {
		flags |= flagMoreFragments
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[6:], flags)
	putChecksum(p[:len(header)])
	f.at += n
	f.offset += n
	f.first = false
	return true
}

// putChecksum writes the checksum of an IPv4 header.
func putChecksum(header []byte) {
	binary.BigEndian.PutUint16(header[10:], 0)
	binary.BigEndian.PutUint16(header[10:], checksum.Of(header))
}
