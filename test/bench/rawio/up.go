package rawio

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Up says how packets go from the wire to the device.
type Up struct {
	Inner int // octets of the inner packet, which are the last ones of what comes by the wire
	// Train joins up to so many packets in one write; 0 or 1: each has its own. All must be UDP of one flow.
	Train int
	// Acks are how many small packets go back for each batch, as PPTP wants, to this address.
	Acks int
	To   [4]byte
}

// Lengths of headers and offsets in the virtio-net header and in IPv4 and UDP.
const (
	ipLen       = 20
	udpLen      = 8
	needsCsum   = 1
	gsoUDP      = 5
	ackLen      = 12
	udpChecksum = 6
)

// Up moves packets until n have passed or none waits any more.
func (l *Loop) Up(n int, u Up) (Cost, error) {
	l.meter.start()
	done := 0
	for done < n {
		got, errno := l.recv()
		l.meter.read()
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return Cost{}, fmt.Errorf("read from the wire: %w", errno)
		}
		for i := 0; i < got; {
			k := min(max(u.Train, 1), got-i)
			if errno := l.writeTrain(i, k, u.Inner); errno != 0 {
				return Cost{}, fmt.Errorf("write to the device: %w", errno)
			}
			i += k
		}
		l.meter.write()
		if u.Acks > 0 {
			if errno := l.acknowledge(u); errno != 0 {
				return Cost{}, fmt.Errorf("write to the wire: %w", errno)
			}
			l.meter.ack()
		}
		done += got
	}
	return l.meter.stop(done), nil
}

func (l *Loop) acknowledge(u Up) unix.Errno {
	for i := range u.Acks {
		l.parts[i].Base = unsafe.SliceData(l.train)
		l.parts[i].SetLen(ackLen)
		l.message(i, u.To, 0, l.parts[i:i+1], 0)
	}
	return l.send(u.Acks)
}

// writeTrain writes packets i to i+k-1 in one call.
func (l *Loop) writeTrain(i, k, inner int) unix.Errno {
	first := l.bufs[i][:l.sizes[i]]
	at := len(first) - inner
	head := first[at-HeaderLen:]
	clear(head[:HeaderLen])
	if k == 1 {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(l.tun), uintptr(unsafe.Pointer(unsafe.SliceData(head))),
			uintptr(len(head)))
		return errno
	}
	PutTrain(head, k)
	l.parts[0].Base = unsafe.SliceData(head)
	l.parts[0].SetLen(len(head))
	for j := 1; j < k; j++ {
		b := l.bufs[i+j][:l.sizes[i+j]]
		payload := b[len(b)-inner+ipLen+udpLen:]
		l.parts[j].Base = unsafe.SliceData(payload)
		l.parts[j].SetLen(len(payload))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(l.tun), uintptr(unsafe.Pointer(&l.parts[0])), uintptr(k))
	return errno
}

// PutTrain makes the headers at the beginning of p, virtio-net, IPv4 and UDP, those of a train of k packets like the one in
// p, whose payloads follow it.
func PutTrain(p []byte, k int) {
	ip := p[HeaderLen:]
	payload := len(ip) - ipLen - udpLen
	total := ipLen + udpLen + k*payload
	p[0], p[1] = needsCsum, gsoUDP
	binary.NativeEndian.PutUint16(p[2:], ipLen+udpLen)
	binary.NativeEndian.PutUint16(p[4:], uint16(payload))
	binary.NativeEndian.PutUint16(p[6:], ipLen)
	binary.NativeEndian.PutUint16(p[8:], udpChecksum)
	binary.BigEndian.PutUint16(ip[2:], uint16(total))
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:ipLen], 0))
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[4:], uint16(total-ipLen))
	// What is left for the kernel to complete: the pseudo header's part.
	binary.BigEndian.PutUint16(udp[udpChecksum:], sum(ip[12:ipLen], uint32(unix.IPPROTO_UDP)+uint32(total-ipLen)))
}

// sum is the ones' complement sum of p, whose length is even, on top of start.
func sum(p []byte, start uint32) uint16 {
	for i := 0; i < len(p); i += 2 {
		start += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return uint16(start)
}
