package privilege

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_X86_64

// special are the system calls of this machine alone: older forms that its C library still makes.
var special = []uint32{
	unix.SYS_ARCH_PRCTL, unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_POLL,
	unix.SYS_SELECT, unix.SYS_EPOLL_WAIT, unix.SYS_DUP2, unix.SYS_TIME,
}
