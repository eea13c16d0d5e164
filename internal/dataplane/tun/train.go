package tun

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

// ReadResult says what Train.Read has read.
type ReadResult uint8

const (
	// Single is one finished inner packet, in the buffer.
	Single ReadResult = iota
	// Several is a train: Next gives its packets. The buffer is free.
	Several
	// Oversize is a packet, or a train of packets, too long for a buffer. It is lost.
	Oversize
	// Malformed is what its virtio-net header does not fit, or whose kind nobody asked for. It is lost.
	Malformed
)

// near is how much of a packet the caller's buffer takes: all of a single one.
const near = pktbuf.MaxRead - HeaderLen

// Train reads a queue, one packet at a time, and cuts trains of them (GSO). It belongs to one shard; about 66 KiB.
type Train struct {
	cut  cutter
	iov  [2]unix.Iovec
	area [near + 1<<16]byte // holds what cut cuts; of a single packet what the buffer didn't take
}

// NewTrain makes a Train.
func NewTrain() *Train { return new(Train) }

// Read reads one packet from the queue q. It never blocks; with an error, EAGAIN where nothing waits, nothing was read.
// A Single is in b, with the virtio-net header taken off before it and its checksum completed. What Next has not given yet
// of the train before is lost.
func (t *Train) Read(q Queue, b *pktbuf.Buf) (ReadResult, unix.Errno) {
	t.cut.left = 0
	into := b.ReadArea()
	if q.Offloads == (Offloads{}) { // it gives no trains, and the kernel is quicker with one piece than with two
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(q.FD), uintptr(unsafe.Pointer(unsafe.SliceData(into))),
			uintptr(len(into)))
		switch {
		case errno != 0:
			return Malformed, errno
		case int(n) == len(into): // as long, or cut
			return Oversize, 0
		}
		return t.take(b, int(n)), 0
	}
	t.iov[0].Base = unsafe.SliceData(into)
	t.iov[0].SetLen(len(into))
	t.iov[1].Base = &t.area[near]
	t.iov[1].SetLen(len(t.area) - near)
	n, _, errno := unix.RawSyscall(unix.SYS_READV, uintptr(q.FD), uintptr(unsafe.Pointer(&t.iov[0])), uintptr(len(t.iov)))
	if errno != 0 {
		return Malformed, errno
	}
	return t.take(b, int(n)), 0
}

// take sorts n octets that were read into b and, from near on, area.
func (t *Train) take(b *pktbuf.Buf, n int) ReadResult {
	if n < HeaderLen || !b.SetLen(min(n, HeaderLen+near)) {
		return Malformed
	}
	h := parseVnet(b.TrimFront(HeaderLen))
	n -= HeaderLen
	if n >= len(t.area) { // readv(2) cuts what is longer
		return Oversize
	}
	if h.kind != unix.VIRTIO_NET_HDR_GSO_NONE {
		copy(t.area[:near], b.Bytes())
		return t.cut.begin(t.area[:n], h)
	}
	if n > near {
		return Oversize
	}
	if h.needsCsum && !complete(b.Bytes(), h) {
		return Malformed
	}
	return Single
}

// Next makes b the train's next packet, finished, with headroom before it. False: there is none left.
func (t *Train) Next(b *pktbuf.Buf) bool { return t.cut.next(b) }

// Left is how many packets Next will still give.
func (t *Train) Left() int { return t.cut.left }

// complete finishes the checksum of p, whose field holds the sum of the pseudo header now. False, and nothing is written,
// if the field is not inside p.
func complete(p []byte, h vnetHeader) bool {
	start, at := int(h.csumStart), int(h.csumStart)+int(h.csumOffset)
	if at+2 > len(p) {
		return false
	}
	putNonZero(p[at:], checksum.Add(0, p[start:]))
	return true
}

// putNonZero writes the checksum that ends sum. 0 means "none" to UDP (RFC 768), and the other zero of ones' complement is
// as good for all.
func putNonZero(field []byte, sum uint64) {
	v := ^checksum.Fold(sum)
	if v == 0 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(field, v)
}
