package privilege

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_AARCH64

// special are the system calls of this machine alone: it has none.
var special []uint32
