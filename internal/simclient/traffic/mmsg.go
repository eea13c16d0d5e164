package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many packets are made, sealed or opened together.
	batch = 64
	// maxTrain is how many octets of UDP payload one message may send in pieces: what fits an IPv4 packet.
	maxTrain = 65535 - 20 - 8
	// socketBuffer is asked of the kernel for each direction of a socket, octets.
	socketBuffer = 8 << 20
)

// mmsghdr is struct mmsghdr of sendmmsg(2). The compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// segment is the control message UDP_SEGMENT or UDP_GRO of udp(7).
type segment struct {
	hdr  unix.Cmsghdr
	size uint32 // UDP_SEGMENT takes the first 16 bits, UDP_GRO gives all
	_    uint32
}

// portOf is the port in a, which is in network order whatever the machine's is.
func portOf(a *unix.RawSockaddrInet4) []byte {
	return (*[2]byte)(unsafe.Pointer(&a.Port))[:]
}

func sockaddr(a netip.AddrPort) (s unix.RawSockaddrInet4) {
	s.Family, s.Addr = unix.AF_INET, a.Addr().As4()
	binary.BigEndian.PutUint16(portOf(&s), a.Port())
	return s
}

// sender collects packets for one socket and sends them by one system call; packets in a row to one address that are
// equally long go as one message in pieces (UDP_SEGMENT). It borrows the packets until flush. It belongs to one thread.
type sender struct {
	fd       int
	segments bool // the socket takes UDP_SEGMENT
	n, iovs  int

	msgs  [batch]mmsghdr
	names [batch]unix.RawSockaddrInet4
	sizes [batch]segment
	iov   [batch]unix.Iovec
	trains

	sent, octets, unsent uint64 // packets and inner octets since the last take
	refused              int    // a length that UDP_SEGMENT can't do here and so no longer is tried; 0: none
	err                  error  // the last that lost a packet
}

// trains describes the messages that wait.
type trains [batch]struct {
	size, total int // of a piece, and of all, octets
	packets     int
	inner       int  // octets of inner packets
	full        bool // a shorter piece was the last
}

func newSender() *sender {
	s := &sender{fd: -1}
	for i := range s.msgs {
		s.sizes[i].hdr.Level, s.sizes[i].hdr.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		s.sizes[i].hdr.SetLen(unix.CmsgLen(2))
		s.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		s.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	return s
}

// add queues packet p, with inner octets of inner packet in it, for an address on a socket.
func (s *sender) add(fd int, segments bool, to *unix.RawSockaddrInet4, p []byte, inner int) {
	if s.iovs == batch || fd != s.fd {
		s.flush()
		s.fd, s.segments = fd, segments
	}
	s.iov[s.iovs].Base = unsafe.SliceData(p)
	s.iov[s.iovs].SetLen(len(p))
	s.iovs++
	if i := s.n - 1; i >= 0 && s.segments && *to == s.names[i] {
		t := &s.trains[i]
		if !t.full && len(p) <= t.size && t.total+len(p) <= maxTrain && (s.refused == 0 || t.size < s.refused) {
			t.total, t.packets, t.inner, t.full = t.total+len(p), t.packets+1, t.inner+inner, len(p) < t.size
			s.msgs[i].hdr.SetIovlen(t.packets)
			return
		}
	}
	i := s.n
	s.names[i] = *to
	s.msgs[i].hdr.Iov = &s.iov[s.iovs-1]
	s.msgs[i].hdr.SetIovlen(1)
	t := &s.trains[i]
	t.size, t.total, t.packets, t.inner, t.full = len(p), len(p), 1, inner, false
	s.n++
}

// flush sends what waits.
func (s *sender) flush() {
	for i := range s.n {
		h := &s.msgs[i].hdr
		h.Control = nil
		h.SetControllen(0)
		if s.trains[i].packets > 1 {
			*(*uint16)(unsafe.Pointer(&s.sizes[i].size)) = uint16(s.trains[i].size)
			h.Control = (*byte)(unsafe.Pointer(&s.sizes[i]))
			h.SetControllen(unix.CmsgSpace(2))
		}
	}
	tries := 0
	for first := 0; first < s.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[first])),
			uintptr(s.n-first), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			for range n {
				s.sent += uint64(s.trains[first].packets)
				s.octets += uint64(s.trains[first].inner)
				first++
			}
			tries = 0
			continue
		}
		tries++
		if s.again(errno, first, tries) {
			continue
		}
		s.unsent += uint64(s.trains[first].packets)
		s.err = fmt.Errorf("send %d octets: %w", s.trains[first].size, errno)
		first, tries = first+1, 0
	}
	s.n, s.iovs = 0, 0
}

// Bounds of how long a full socket is waited for.
const (
	maxTries  = 200
	fullSleep = 50 * time.Microsecond
)

// again says whether to try the message once more, and does what may help.
func (s *sender) again(errno unix.Errno, i, tries int) bool {
	switch {
	case errors.Is(errno, unix.EAGAIN), errors.Is(errno, unix.ENOBUFS):
		sleep(int64(fullSleep))
		return tries < maxTries
	case s.trains[i].packets > 1:
		// Too long for pieces on this way, or the kernel can't: one by one from now on.
		s.refused = s.trains[i].size
		s.split(i)
		return true
	default:
		return tries == 1 // the error may be an ICMP message's that came before
	}
}

// split makes message i and those behind it, each in pieces, messages of one packet each.
func (s *sender) split(first int) {
	var rest struct {
		names [batch]unix.RawSockaddrInet4
		inner [batch]int
		n     int
	}
	at := s.iovs
	for i := s.n - 1; i >= first; i-- {
		at -= s.trains[i].packets
	}
	begin := at
	for i := first; i < s.n; i++ {
		t := &s.trains[i]
		for j := range t.packets {
			rest.names[rest.n] = s.names[i]
			rest.inner[rest.n] = t.inner / t.packets
			if j == 0 {
				rest.inner[rest.n] += t.inner % t.packets
			}
			rest.n++
		}
	}
	// There are as many messages as packets now, so that message i has its place where packet i has: those that were sent
	// already have at least as many packets as messages.
	s.n = first
	for i := range rest.n {
		m := s.n
		s.names[m] = rest.names[i]
		h := &s.msgs[m].hdr
		h.Iov, h.Control = &s.iov[begin+i], nil
		h.SetIovlen(1)
		h.SetControllen(0)
		size := int(s.iov[begin+i].Len)
		t := &s.trains[m]
		t.size, t.total, t.packets, t.inner, t.full = size, size, 1, rest.inner[i], false
		s.n++
	}
}

// take returns what was sent since the last call and adds it to the meter.
func (s *sender) take(m *meter) {
	m.sent.Add(s.sent)
	m.octets.Add(s.octets)
	if s.unsent > 0 {
		m.unsent.Add(s.unsent)
	}
	s.sent, s.octets, s.unsent = 0, 0, 0
}

// sleep pauses the thread. The runtime can use its processor meanwhile.
func sleep(nanoseconds int64) {
	t := unix.NsecToTimespec(nanoseconds)
	_ = unix.Nanosleep(&t, nil) // a signal may wake us early
}
