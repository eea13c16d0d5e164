package netio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// What SO_MEMINFO tells (linux/sock_diag.h): memory that received packets take, and how much they may.
const (
	meminfoReceived = 0
	meminfoMost     = 1
	meminfoLen      = 9
)

// backlogged says whether what waits in a socket takes more than a quarter of its receive buffer.
func backlogged(fd int) bool {
	var info [meminfoLen]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && info[meminfoReceived] > info[meminfoMost]/4
}
