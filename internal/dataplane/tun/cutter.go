package tun

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

// cutter cuts one train into its packets, as the kernel would have: what it borrows must stay as it is until left is 0.
type cutter struct {
	train []byte // without virtio-net header
	ip    int    // octets of IPv4 header, with options
	head  int    // octets of all headers
	size  int    // payload of each packet but the last
	at    int    // of the next packet's payload in train
	left  int    // packets to come
	first bool
	tcp   bool
	id    uint16 // of the next packet
	seq   uint32 // of the next packet
	fixed uint64 // folded sum over the IPv4 header without length, ID and checksum
	ends  uint64 // sum over the pseudo header without length, and over what the headers behind it have in common
}

// begin takes a train of TCP or UDP over IPv4 to cut and reports Several, or why it can't be cut.
func (c *cutter) begin(p []byte, h vnetHeader) ReadResult {
	c.left = 0
	if len(p) < ipHeaderLen || p[0]>>4 != 4 || int(binary.BigEndian.Uint16(p[ipLength:])) != len(p) ||
		binary.BigEndian.Uint16(p[ipFragment:])&^ipDontFragment != 0 {
		return Malformed
	}
	c.ip = int(p[0]&0xf) * 4
	if c.ip < ipHeaderLen || c.ip > len(p) {
		return Malformed
	}
	l4 := p[c.ip:]
	c.tcp = h.kind == unix.VIRTIO_NET_HDR_GSO_TCPV4
	field := udpChecksum
	switch {
	case c.tcp && p[ipProtocol] == unix.IPPROTO_TCP && len(l4) >= tcpHeaderLen:
		field = tcpChecksum
		c.head = c.ip + int(l4[tcpOffset]>>4)*4
		if c.head < c.ip+tcpHeaderLen {
			return Malformed
		}
		c.seq = binary.BigEndian.Uint32(l4[tcpSequence:])
	case h.kind == unix.VIRTIO_NET_HDR_GSO_UDP_L4 && p[ipProtocol] == unix.IPPROTO_UDP && len(l4) >= udpHeaderLen:
		c.head = c.ip + udpHeaderLen
	default:
		return Malformed
	}
	payload := len(p) - c.head
	if payload <= 0 || h.gsoSize == 0 {
		return Malformed
	}
	// Without it a train was checked by who received it; it gets new checksums all the same.
	if h.needsCsum && (int(h.csumStart) != c.ip || int(h.csumOffset) != field) {
		return Malformed
	}
	c.size = min(int(h.gsoSize), payload)
	if c.head+c.size > pktbuf.MaxRead {
		return Oversize
	}
	c.train, c.at, c.first = p, c.head, true
	c.id = binary.BigEndian.Uint16(p[ipID:])
	fixed := checksum.Add(checksum.Add(checksum.Add(0, p[:ipLength]), p[ipFragment:ipChecksum]), p[ipSource:c.ip])
	c.fixed = uint64(checksum.Fold(fixed))
	c.ends = checksum.Pseudo([4]byte(p[ipSource:]), [4]byte(p[ipDest:]), p[ipProtocol], 0) +
		uint64(binary.BigEndian.Uint32(l4)) // the ports
	if c.tcp { // all but sequence number, flags and checksum
		rest := checksum.Add(checksum.Add(0, l4[tcpUrgent:c.head-c.ip]), l4[tcpWindow:tcpChecksum])
		c.ends += uint64(binary.BigEndian.Uint32(l4[tcpAck:])) + uint64(checksum.Fold(rest))
	}
	c.left = (payload + c.size - 1) / c.size
	return Several
}

// next makes b the next packet. False: there is none left.
func (c *cutter) next(b *pktbuf.Buf) bool {
	if c.left == 0 {
		return false
	}
	n := min(c.size, len(c.train)-c.at)
	b.Reset()
	p := b.Append(c.head + n)
	copy(p, c.train[:c.head])
	payload := checksum.Copy(p[c.head:], c.train[c.at:c.at+n])
	c.left--

	binary.BigEndian.PutUint16(p[ipLength:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[ipID:], c.id)
	sum := c.fixed + uint64(len(p)) + uint64(c.id)
	binary.BigEndian.PutUint16(p[ipChecksum:], ^checksum.Fold(sum))

	l4 := p[c.ip:]
	// The header is of even length: the payload's words need no turning.
	sum = c.ends + uint64(len(l4)) + payload
	if c.tcp {
		c.markTCP(l4)
		sum += uint64(c.seq) + uint64(binary.BigEndian.Uint16(l4[tcpOffset:]))
		binary.BigEndian.PutUint16(l4[tcpChecksum:], ^checksum.Fold(sum))
	} else {
		binary.BigEndian.PutUint16(l4[udpLength:], uint16(len(l4)))
		putNonZero(l4[udpChecksum:], sum+uint64(len(l4)))
	}

	c.at += n
	c.id++
	c.seq += uint32(n)
	c.first = false
	return true
}

// markTCP gives the next packet's TCP header its sequence number and the flags that are its own: what ends the train is
// the last packet's, and "congestion window reduced" is said once.
func (c *cutter) markTCP(tcp []byte) {
	binary.BigEndian.PutUint32(tcp[tcpSequence:], c.seq)
	if c.left > 0 {
		tcp[tcpFlags] &^= tcpFIN | tcpPSH
	}
	if !c.first {
		tcp[tcpFlags] &^= tcpCWR
	}
}
