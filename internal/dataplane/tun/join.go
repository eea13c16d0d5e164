package tun

import (
	"bytes"
	"encoding/binary"
)

// maxUDPTrain is how many packets of UDP Linux cuts a train into at most (UDP_MAX_SEGMENTS before 6.9).
const maxUDPTrain = 64

// train is packets that are written as one. Fields behind length count only while it is open.
type train struct {
	fd          int
	flow        flow
	class       class
	open        bool // more may follow
	intact      bool // the first packet's checksums have been checked
	first, last uint8
	count       uint8
	head        int    // octets of headers
	size        int    // payload of each packet but the last
	length      int    // octets of the whole, with one set of headers
	seq         uint32 // of TCP: the next packet's
	id          uint16 // the next packet's, where that matters
}

// expect notes what must follow the packet p.
func (t *train) expect(s *shape, p []byte) {
	t.id = binary.BigEndian.Uint16(p[ipID:]) + 1
	if s.class == tcp {
		t.seq = binary.BigEndian.Uint32(p[ipHeaderLen+tcpSequence:]) + uint32(s.payload)
	}
}

// follows says whether the packet p can be appended to the open train t: all that its headers say must come out again
// when the train is cut.
func (c *Coalescer) follows(t *train, s *shape, p []byte) bool {
	if s.class != t.class || s.head != t.head || s.payload > t.size || t.length+s.payload > ipMaxLength {
		return false
	}
	first := c.bufs[t.first].Bytes()
	word := binary.BigEndian.Uint16(p[ipFragment:])
	if p[ipTOS] != first[ipTOS] || p[ipTTL] != first[ipTTL] || word != binary.BigEndian.Uint16(first[ipFragment:]) {
		return false
	}
	// With DF the ID means nothing (RFC 6864 section 4.1): it may stand still or jump.
	if word&ipDontFragment == 0 && binary.BigEndian.Uint16(p[ipID:]) != t.id {
		return false
	}
	if t.class == udp {
		if t.count == maxUDPTrain {
			return false
		}
	} else if !followsTCP(first, p, t.head, t.seq) {
		return false
	}
	// A wrong checksum must reach the far end as it is. The first packet's turn comes when there is a second.
	if !t.intact && !intact(first) {
		return false
	}
	t.intact = true
	return intact(p)
}

// followsTCP compares what TCP adds: acknowledgement, window, urgent pointer and options.
func followsTCP(first, p []byte, head int, seq uint32) bool {
	const (
		at  = ipHeaderLen
		psh = tcpPSH << 16 // in the eight octets from the acknowledgement on
	)
	return binary.BigEndian.Uint32(p[at+tcpSequence:]) == seq &&
		(binary.BigEndian.Uint64(p[at+tcpAck:])^binary.BigEndian.Uint64(first[at+tcpAck:]))&^psh == 0 &&
		bytes.Equal(p[at+tcpUrgent:head], first[at+tcpUrgent:head])
}

// append puts packet i, which is p and follows, behind the train.
func (c *Coalescer) append(t *train, s *shape, i int, p []byte) {
	c.after[t.last] = uint8(i)
	t.last = uint8(i)
	t.count++
	t.length += s.payload
	t.open = !s.last && s.payload == t.size
	t.expect(s, p)
}
