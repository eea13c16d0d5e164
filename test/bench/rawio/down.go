package rawio

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errTrain is returned when the device gave trains where single packets were wanted, or the other way round.
var errTrain = errors.New("rawio: not what the device should have given")

// Down says how packets go from the device to the wire.
type Down struct {
	Inner int // octets of an inner packet
	Wire  int // octets of its packet on the wire, behind the IP or UDP header
	To    [4]byte
	Ports []int // of the peers, in turn; one, 0, on a raw socket
	// Segment sends what came as a train as one message, which the kernel cuts.
	Segment bool
}

// Down moves packets until n have passed or none waits any more. The device must give single packets.
func (l *Loop) Down(n int, d Down) (Cost, error) {
	l.meter.start()
	done := 0
	for done < n {
		got := 0
		for ; got < Batch; got++ {
			size, errno := l.readTUN(l.bufs[got])
			if errno == unix.EAGAIN {
				break
			}
			if errno != 0 {
				return Cost{}, fmt.Errorf("read from the device: %w", errno)
			}
			if size != HeaderLen+d.Inner {
				return Cost{}, fmt.Errorf("%w: %d octets", errTrain, size)
			}
		}
		l.meter.read()
		if got == 0 {
			break
		}
		for i := range got {
			l.iov[i].Base = unsafe.SliceData(l.bufs[i][HeaderLen:])
			l.iov[i].SetLen(d.Wire)
			l.message(i, d.To, d.Ports[(done+i)%len(d.Ports)], l.iov[i:i+1], 0)
		}
		if errno := l.send(got); errno != 0 {
			return Cost{}, fmt.Errorf("write to the wire: %w", errno)
		}
		l.meter.write()
		done += got
	}
	return l.meter.stop(done), nil
}

// DownTrains is Down for a device that gives trains, all to one peer.
func (l *Loop) DownTrains(n int, d Down) (Cost, error) {
	l.meter.start()
	done := 0
	for done < n {
		size, errno := l.readTUN(l.train)
		l.meter.read()
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return Cost{}, fmt.Errorf("read from the device: %w", errno)
		}
		payload := d.Inner - ipLen - udpLen
		k := (size - HeaderLen - ipLen - udpLen) / payload
		if l.train[1] != gsoUDP || k*payload != size-HeaderLen-ipLen-udpLen || k > Batch {
			return Cost{}, fmt.Errorf("%w: %d octets of type %d", errTrain, size, l.train[1])
		}
		for i := range k {
			at := min(HeaderLen+i*payload, len(l.train)-d.Wire)
			l.iov[i].Base = unsafe.SliceData(l.train[at:])
			l.iov[i].SetLen(d.Wire)
		}
		messages := k
		if d.Segment {
			messages = 1
			l.message(0, d.To, d.Ports[0], l.iov[:k], d.Wire)
		} else {
			for i := range k {
				l.message(i, d.To, d.Ports[0], l.iov[i:i+1], 0)
			}
		}
		if errno := l.send(messages); errno != 0 {
			return Cost{}, fmt.Errorf("write to the wire: %w", errno)
		}
		l.meter.write()
		done += k
	}
	return l.meter.stop(done), nil
}

func (l *Loop) readTUN(b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(l.tun), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)))
	return int(n), errno
}
