package tun

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of the virtio-net header before each packet that passes a queue, in octets. All zero means a
// whole packet with finished checksums.
const HeaderLen = 10

// gsoType is where the header says that the packet is a train still to be cut; 0 is "none".
const gsoType = 1

// Whole says that header, the first HeaderLen octets of what a queue gave, stands before a single finished packet.
// Nothing else comes while no offload is asked for.
func Whole(header []byte) bool {
	return len(header) >= HeaderLen && header[gsoType] == 0
}

// ReadBatch reads waiting packets from a queue, one into each of bufs from its virtio-net header on, and puts their
// lengths, header included, into sizes. It never blocks. With fewer than len(bufs) packets the error says why it ended;
// EAGAIN is "no more".
func ReadBatch(fd int, bufs [][]byte, sizes []int) (int, unix.Errno) {
	for i := range bufs {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(bufs[i]))), uintptr(len(bufs[i])))
		if errno != 0 {
			return i, errno
		}
		sizes[i] = int(n)
	}
	return len(bufs), 0
}

// Write hands one packet, its virtio-net header first, to the kernel. It never blocks.
func Write(fd int, packet []byte) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)))
	return errno
}
