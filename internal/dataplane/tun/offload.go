package tun

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Offloads is which trains a device takes and gives: many packets of one flow as one, to be cut later. The zero value is
// none: every packet passes by itself and finished.
type Offloads struct {
	TSO bool // of TCP over IPv4
	USO bool // of UDP over IPv4; Linux 6.2 and newer
}

// setOffloads asks the kernel for all that Train can cut, and reports what it agreed to. It holds for all queues of the
// device that fd is one of.
func setOffloads(fd int) (Offloads, error) {
	for _, try := range []struct {
		flags uint
		got   Offloads
	}{
		// USO4 alone is refused: the two come together. There is no IPv6 on the device.
		{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_USO4 | unix.TUN_F_USO6, Offloads{TSO: true, USO: true}},
		{unix.TUN_F_CSUM | unix.TUN_F_TSO4, Offloads{TSO: true}},
	} {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETOFFLOAD, uintptr(try.flags))
		if errno == 0 {
			return try.got, nil
		}
		if !errors.Is(errno, unix.EINVAL) {
			return Offloads{}, fmt.Errorf("ask for offloads: %w", errno)
		}
	}
	return Offloads{}, nil
}
