package rawio

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is how many packets one call moves at most, as in the dataplane.
const Batch = 64

// socketBuffer is asked of the kernel for each direction, in octets, as in the dataplane.
const socketBuffer = 8 << 20

// HeaderLen is the length of the virtio-net header before each packet of the device.
const HeaderLen = 10

// offloads is what the device is told that we take: TUN_F_CSUM, TSO4, USO4 and USO6 of linux/if_tun.h. The last two go
// together or not at all.
const offloads = 0x01 | 0x02 | 0x20 | 0x40

// OpenUDP binds a UDP socket in the calling thread's network namespace.
func OpenUDP(addr [4]byte, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open UDP socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
		setUp(fd),
		unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: addr}),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("UDP socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// OpenRaw opens a raw socket of an IP protocol in the calling thread's network namespace.
func OpenRaw(protocol int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, fmt.Errorf("open raw socket: %w", err)
	}
	if err := setUp(fd); err != nil {
		return -1, errors.Join(fmt.Errorf("raw socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func setUp(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer),
	)
}

// OpenTUN makes a TUN device with one queue in the calling thread's network namespace. With offload it takes and gives
// trains of packets.
func OpenTUN(name string, offload bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil && offload {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETOFFLOAD, offloads)
		if errno != 0 {
			err = fmt.Errorf("ask for offloads: %w", errno)
		}
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("TUN device %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// control is room for IP_PKTINFO and, behind it, UDP_SEGMENT.
type control struct {
	info    unix.Cmsghdr
	pktinfo unix.Inet4Pktinfo
	_       [4]byte // to the next multiple of eight
	seg     unix.Cmsghdr
	segment uint16
	_       [6]byte
}

const (
	infoSpace    = unsafe.Sizeof(unix.Cmsghdr{}) + unix.SizeofInet4Pktinfo + 4
	segmentSpace = unsafe.Sizeof(control{})
)

// Loop is one thread's arrays for a socket and a device. It belongs to one goroutine.
type Loop struct {
	wire, tun int
	raw       bool // wire is a raw socket, whose packets come with their IP header
	from      [4]byte
	meter     meter

	bufs  [Batch][]byte
	sizes [Batch]int
	in    [Batch]mmsghdr
	out   [Batch]mmsghdr
	names [Batch]unix.RawSockaddrInet4
	iov   [Batch]unix.Iovec
	ctl   [Batch]control
	parts [Batch + 1]unix.Iovec // of a train
	train []byte
}

// NewLoop makes a loop between a socket and a device, whose descriptors stay the caller's. from is the address that packets
// to the wire leave by. It must be called on the thread that will run the loop.
func NewLoop(wire, tun int, raw bool, from [4]byte) *Loop {
	l := &Loop{wire: wire, tun: tun, raw: raw, from: from, train: make([]byte, HeaderLen+1<<16)}
	l.meter.clock = clockCost()
	for i := range l.bufs {
		l.bufs[i] = make([]byte, bufSize)
		clear(l.bufs[i]) // the first touch of a page is dear, and no packet's
	}
	clear(l.train)
	return l
}

// Octets of a buffer: not a power of two, so that walking many in step does not meet in the same cache sets.
const bufSize = 2048 + 192

// recv reads up to a batch from the wire and returns how many there were.
func (l *Loop) recv() (int, unix.Errno) {
	for i := range l.in {
		l.iov[i].Base = unsafe.SliceData(l.bufs[i])
		l.iov[i].SetLen(len(l.bufs[i]))
		h := &l.in[i].hdr
		h.Iov = &l.iov[i]
		h.SetIovlen(1)
		if !l.raw {
			h.Name = (*byte)(unsafe.Pointer(&l.names[i]))
			h.Namelen = unix.SizeofSockaddrInet4
			h.Control = (*byte)(unsafe.Pointer(&l.ctl[i]))
			h.SetControllen(int(infoSpace))
		}
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(l.wire), uintptr(unsafe.Pointer(&l.in[0])), Batch,
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range int(n) {
		l.sizes[i] = int(l.in[i].len)
	}
	return int(n), 0
}

// message prepares message i to a peer. Its data is in iovs, and segment, unless it is 0, says where the kernel cuts it.
func (l *Loop) message(i int, to [4]byte, port int, iovs []unix.Iovec, segment int) {
	n := &l.names[i]
	n.Family, n.Addr = unix.AF_INET, to
	p := (*[2]byte)(unsafe.Pointer(&n.Port))
	p[0], p[1] = byte(port>>8), byte(port)
	c := &l.ctl[i]
	c.info.Level, c.info.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	c.info.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	c.pktinfo = unix.Inet4Pktinfo{Spec_dst: l.from}
	space := infoSpace
	if segment != 0 {
		c.seg.Level, c.seg.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.seg.SetLen(unix.CmsgLen(2))
		c.segment = uint16(segment)
		space = segmentSpace
	}
	h := &l.out[i].hdr
	h.Name = (*byte)(unsafe.Pointer(n))
	h.Namelen = unix.SizeofSockaddrInet4
	h.Control = (*byte)(unsafe.Pointer(c))
	h.SetControllen(int(space))
	h.Iov = unsafe.SliceData(iovs)
	h.SetIovlen(len(iovs))
}

// send sends the first n messages, all or an error.
func (l *Loop) send(n int) unix.Errno {
	for done := 0; done < n; {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(l.wire), uintptr(unsafe.Pointer(&l.out[done])),
			uintptr(n-done), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return errno
		}
		done += int(sent)
	}
	return 0
}
