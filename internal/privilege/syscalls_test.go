//go:build amd64 || arm64

package privilege

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What is refused, whatever else changes: each of these has made a way out of a process, or into the kernel.
func TestNeverLetThrough(t *testing.T) {
	never := map[string]uint32{
		"execve": unix.SYS_EXECVE, "execveat": unix.SYS_EXECVEAT, "ptrace": unix.SYS_PTRACE,
		"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV,
		"kexec_load": unix.SYS_KEXEC_LOAD, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD, "init_module": unix.SYS_INIT_MODULE,
		"finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE, "keyctl": unix.SYS_KEYCTL,
		"add_key": unix.SYS_ADD_KEY, "request_key": unix.SYS_REQUEST_KEY, "userfaultfd": unix.SYS_USERFAULTFD,
		"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "perf_event_open": unix.SYS_PERF_EVENT_OPEN,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "memfd_create": unix.SYS_MEMFD_CREATE, "pidfd_getfd": unix.SYS_PIDFD_GETFD,
		"chroot": unix.SYS_CHROOT, "pivot_root": unix.SYS_PIVOT_ROOT, "move_mount": unix.SYS_MOVE_MOUNT, "fsopen": unix.SYS_FSOPEN,
		"open_tree": unix.SYS_OPEN_TREE, "setuid": unix.SYS_SETUID, "capset": unix.SYS_CAPSET, "reboot": unix.SYS_REBOOT,
		"swapon": unix.SYS_SWAPON, "settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME,
		"sethostname": unix.SYS_SETHOSTNAME, "personality": unix.SYS_PERSONALITY, "fchown": unix.SYS_FCHOWN,
		"mknodat": unix.SYS_MKNODAT, "seccomp": unix.SYS_SECCOMP, "vmsplice": unix.SYS_VMSPLICE, "syslog": unix.SYS_SYSLOG,
	}
	spaces := map[string]uint32{
		"setns": unix.SYS_SETNS, "unshare": unix.SYS_UNSHARE, "mount": unix.SYS_MOUNT, "umount": unix.SYS_UMOUNT2,
	}
	for _, with := range []bool{false, true} {
		program := compile(arch, latest, append(common, special...), conditions(7, with))
		for name, call := range never {
			if got := run(t, program, arch, call, 0, 0, 0, 0); got != refuse {
				t.Errorf("%s: %x", name, got)
			}
		}
		for name, call := range spaces {
			if got := run(t, program, arch, call, 0, 0, 0, 0); got != refuse {
				t.Errorf("%s without a purpose: %x", name, got)
			}
			args := []uint32{unix.CLONE_NEWNET, unix.CLONE_NEWNET, 0, unix.MS_BIND}
			if call == unix.SYS_UMOUNT2 {
				args[1] = unix.MNT_DETACH
			}
			want := refuse
			if with {
				want = allow
			}
			if got := run(t, program, arch, call, args...); got != want {
				t.Errorf("%s for network namespaces (%v): %x, want %x", name, with, got, want)
			}
		}
	}
	for _, c := range conditions(7, true) {
		if slices.Contains(common, c.call) || slices.Contains(special, c.call) {
			t.Errorf("call %d has a condition and is let through without it", c.call)
		}
	}
}
