//go:build amd64 || arm64

package privilege

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// latest is the last system call that this list knows of.
const latest = unix.SYS_RSEQ_SLICE_YIELD

// common are the system calls of the daemon, of Go's runtime and of the C library's resolver and threads, that all machines have.
var common = []uint32{
	// Descriptors, files, directories.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV,
	unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_DUP,
	unix.SYS_DUP3, unix.SYS_FCNTL, unix.SYS_IOCTL, unix.SYS_FLOCK, unix.SYS_PIPE2, unix.SYS_SENDFILE, unix.SYS_SPLICE,
	unix.SYS_COPY_FILE_RANGE, unix.SYS_FADVISE64,
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_FSTATFS,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_UMASK,
	unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MKDIRAT,
	unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
	unix.SYS_FCHMODAT2, unix.SYS_UTIMENSAT,
	// Memory.
	unix.SYS_BRK, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE,
	unix.SYS_MSYNC, unix.SYS_MEMBARRIER,
	// Threads, and what there is to ask about the process and the machine.
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST,
	unix.SYS_SET_TID_ADDRESS, unix.SYS_RSEQ, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETAFFINITY,
	unix.SYS_PRCTL, unix.SYS_RESTART_SYSCALL, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID,
	unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETGROUPS, unix.SYS_CAPGET, unix.SYS_GETRLIMIT,
	unix.SYS_PRLIMIT64, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME, unix.SYS_GETCPU, unix.SYS_GETRANDOM,
	// Signals and time.
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SIGALTSTACK,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_TIMERFD_CREATE,
	unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	// Waiting.
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
	unix.SYS_PSELECT6,
	// The network, and the programs that choose a packet's shard.
	unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_CONNECT, unix.SYS_GETSOCKNAME,
	unix.SYS_GETPEERNAME, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SENDMMSG,
	unix.SYS_RECVMMSG, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT, unix.SYS_SHUTDOWN, unix.SYS_BPF,
}

// conditions are those that are let through by an argument. process is our own ID.
func conditions(process uint32, withNamespaces bool) []condition {
	list := []condition{
		threads(unix.SYS_CLONE),
		// Its flags are in memory, where a filter can't look. Who hears that it does not exist takes clone.
		{unix.SYS_CLONE3, []unix.SockFilter{answer(missing)}, 0},
		one(unix.SYS_KILL, 0, process),
		one(unix.SYS_TGKILL, 0, process),
		one(unix.SYS_SOCKET, 0, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK),
		one(unix.SYS_SOCKETPAIR, 0, unix.AF_UNIX),
	}
	if withNamespaces {
		list = append(list,
			one(unix.SYS_SETNS, 1, unix.CLONE_NEWNET),
			one(unix.SYS_UNSHARE, 0, unix.CLONE_NEWNET),
			// A namespace has its name by a bind mount in a shared directory (internal/dataplane/netns). No other file system
			// can be mounted, and none remounted.
			one(unix.SYS_MOUNT, 3, unix.MS_BIND, unix.MS_BIND|unix.MS_REC, unix.MS_SHARED|unix.MS_REC),
			one(unix.SYS_UMOUNT2, 1, unix.MNT_DETACH),
		)
	}
	return list
}

// filterSystemCalls lets only known system calls through from now on, in all threads.
func filterSystemCalls(withNamespaces bool) error {
	program := compile(arch, latest, append(common, special...), conditions(uint32(unix.Getpid()), withNamespaces))
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// Without SPEC_ALLOW kernels before 5.16 turn speculation off for the whole process, which is for those that run code of
	// strangers, and makes every packet dearer.
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	switch {
	case errno == unix.ENOSYS, errno == unix.EINVAL:
		return fmt.Errorf("this kernel has no filter of system calls: %w", errno)
	case errno != 0:
		return fmt.Errorf("filter system calls: %w", errno)
	case thread != 0:
		return errors.New("filter system calls: a thread has a filter of its own")
	}
	return nil
}
