package tun

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

// Flush writes all packets that wait, one system call for each train, and gives the buffers back. It never blocks. Errno
// says what came of each packet.
func (c *Coalescer) Flush() {
	for i := range c.trains[:c.made] {
		t := &c.trains[i]
		if t.count == 1 {
			c.errnos[t.first] = c.writeAlone(t.fd, c.bufs[t.first])
			continue
		}
		errno := c.writeTrain(t)
		if errno == unix.EINVAL || errno == unix.EOPNOTSUPP {
			c.writeApart(t)
			continue
		}
		c.each(t, func(i uint8) { c.errnos[i] = errno })
	}
	c.Reset()
}

// each calls f for the packets of a train, in order.
func (c *Coalescer) each(t *train, f func(i uint8)) {
	i := t.first
	for range t.count {
		f(i)
		i = c.after[i]
	}
}

// writeAlone writes a packet as it is.
func (c *Coalescer) writeAlone(fd int, b *pktbuf.Buf) unix.Errno {
	if header := b.Prepend(HeaderLen); header != nil {
		clear(header)
		errno := write(fd, b.Bytes())
		b.TrimFront(HeaderLen)
		return errno
	}
	clear(c.vnet[:])
	c.iov[0] = piece(c.vnet[:])
	c.iov[1] = piece(b.Bytes())
	return c.writev(fd, 2)
}

// writeTrain makes the first packet's headers those of the whole and writes them and all payloads, from where they are.
func (c *Coalescer) writeTrain(t *train) unix.Errno {
	first := c.bufs[t.first]
	p := first.Bytes()
	copy(c.saved[:], p[:t.head])
	h := vnetHeader{needsCsum: true, gsoSize: uint16(t.size), csumStart: ipHeaderLen}
	l4 := p[ipHeaderLen:]
	binary.BigEndian.PutUint16(p[ipLength:], uint16(t.length))
	binary.BigEndian.PutUint16(p[ipChecksum:], 0)
	binary.BigEndian.PutUint16(p[ipChecksum:], checksum.Of(p[:ipHeaderLen]))
	if t.class == tcp {
		h.kind, h.csumOffset = unix.VIRTIO_NET_HDR_GSO_TCPV4, tcpChecksum
		l4[tcpFlags] |= c.bufs[t.last].Bytes()[ipHeaderLen+tcpFlags] & tcpPSH
	} else {
		h.kind, h.csumOffset = unix.VIRTIO_NET_HDR_GSO_UDP_L4, udpChecksum
		binary.BigEndian.PutUint16(l4[udpLength:], uint16(t.length-ipHeaderLen))
	}
	sum := checksum.Pseudo([4]byte(p[ipSource:]), [4]byte(p[ipDest:]), p[ipProtocol], t.length-ipHeaderLen)
	binary.BigEndian.PutUint16(l4[h.csumOffset:], checksum.Fold(sum)) // the kernel or the network card goes on from there

	pieces := 0
	header := first.Prepend(HeaderLen)
	roomy := header != nil
	if !roomy {
		header = c.vnet[:]
		c.iov[0] = piece(header)
		pieces = 1
	}
	h.put(header, t.head)
	c.iov[pieces] = piece(first.Bytes())
	i := t.first
	for range t.count - 1 {
		i = c.after[i]
		pieces++
		c.iov[pieces] = piece(c.bufs[i].Bytes()[t.head:])
	}
	errno := c.writev(t.fd, pieces+1)
	if roomy {
		first.TrimFront(HeaderLen)
	}
	return errno
}

// writeApart writes the packets of a train that the kernel has refused one by one. If it takes them it is the train that
// it does not know, and no more of its kind are made.
func (c *Coalescer) writeApart(t *train) {
	copy(c.bufs[t.first].Bytes(), c.saved[:t.head])
	taken := false
	c.each(t, func(i uint8) {
		c.errnos[i] = c.writeAlone(t.fd, c.bufs[i])
		taken = taken || c.errnos[i] == 0
	})
	switch {
	case !taken:
	case t.class == tcp:
		c.lacks.TSO = true
	default:
		c.lacks.USO = true
	}
}

// write writes p as one packet.
func write(fd int, p []byte) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return errno
}

func piece(p []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(p)}
	v.SetLen(len(p))
	return v
}

// writev writes the first n pieces as one packet.
func (c *Coalescer) writev(fd, n int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&c.iov[0])), uintptr(n))
	return errno
}
