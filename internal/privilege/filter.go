package privilege

import (
	"slices"

	"golang.org/x/sys/unix"
)

// How a filter answers. What it does not know is of a kernel younger than this list: who tries that must hear that it does not
// exist, and does it in another way.
const (
	allow   uint32 = unix.SECCOMP_RET_ALLOW
	refuse  uint32 = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	missing uint32 = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	end     uint32 = unix.SECCOMP_RET_KILL_PROCESS
)

// Where a filter finds what is called, in struct seccomp_data. Of an argument it looks at the low 32 bits: those that are looked
// at are int, or have no bits above.
const (
	numberAt = 0
	archAt   = 4
	firstArg = 16
	argSize  = 8
)

// span is a run of system calls that are let through.
type span struct{ first, last uint32 }

// condition lets a system call through by one of its arguments.
type condition struct {
	call uint32
	test []unix.SockFilter // begins with the argument loaded, ends with an answer on each way
	arg  uint32            // its number, from 0
}

// one lets call through if its argument is one of values.
func one(call, arg uint32, values ...uint32) condition {
	var test []unix.SockFilter
	for i, v := range values {
		test = append(test, jump(unix.BPF_JEQ, v, uint8(len(values)-i), 0))
	}
	return condition{call, append(test, answer(refuse), answer(allow)), arg}
}

// threads lets clone make threads: no processes, and nothing in a namespace of its own.
func threads(call uint32) condition {
	const others = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
		unix.CLONE_NEWPID | unix.CLONE_NEWNET
	return condition{call, []unix.SockFilter{
		jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1),
		jump(unix.BPF_JSET, others, 0, 1),
		answer(refuse),
		answer(allow),
	}, 0}
}

// jump goes on after yes or no more instructions.
func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: k, Jt: yes, Jf: no}
}

func answer(with uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with}
}

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

// compile makes the program of a filter for a machine: of the system calls up to latest it lets calls through, those of
// conditions where these hold, and refuses the others. It has no more than comparisons of the number for most, so that the
// kernel (from 5.11 on) works it out once for each and asks no more.
func compile(arch, latest uint32, calls []uint32, conditions []condition) []unix.SockFilter {
	program := []unix.SockFilter{
		load(archAt),
		jump(unix.BPF_JEQ, arch, 1, 0),
		answer(end),
		load(numberAt),
		jump(unix.BPF_JGT, latest, 0, 1),
		answer(missing),
	}
	for _, c := range conditions {
		program = append(program, jump(unix.BPF_JEQ, c.call, 0, uint8(len(c.test)+1)), load(firstArg+argSize*c.arg))
		program = append(program, c.test...)
	}
	return append(program, search(spans(calls))...)
}

// spans joins numbers that follow each other.
func spans(calls []uint32) []span {
	sorted := slices.Sorted(slices.Values(calls))
	var all []span
	for _, n := range slices.Compact(sorted) {
		if len(all) > 0 && all[len(all)-1].last+1 == n {
			all[len(all)-1].last = n
			continue
		}
		all = append(all, span{n, n})
	}
	return all
}

// search finds the number in sorted spans, by halves.
func search(all []span) []unix.SockFilter {
	switch len(all) {
	case 0:
		return []unix.SockFilter{answer(refuse)}
	case 1:
		return []unix.SockFilter{
			jump(unix.BPF_JGE, all[0].first, 0, 1),
			jump(unix.BPF_JGT, all[0].last, 0, 1),
			answer(refuse),
			answer(allow),
		}
	}
	half := len(all) / 2
	below, above := search(all[:half]), search(all[half:])
	// A jump of a test has eight bits, this has more.
	over := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(below))}
	return slices.Concat([]unix.SockFilter{jump(unix.BPF_JGE, all[half].first, 0, 1), over}, below, above)
}
