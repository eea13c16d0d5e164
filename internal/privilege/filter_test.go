package privilege

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

const testArch = 0x1234

// run is what the kernel does with a program, for the instructions that compile makes.
func run(t *testing.T, program []unix.SockFilter, arch, call uint32, args ...uint32) uint32 {
	t.Helper()
	var a uint32
	for at, steps := 0, 0; at < len(program) && steps <= len(program); at, steps = at+1, steps+1 {
		in := program[at]
		yes := false
		switch in.Code {
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch {
			case in.K == numberAt:
				a = call
			case in.K == archAt:
				a = arch
			case in.K >= firstArg && in.K%argSize == 0 && int(in.K-firstArg)/argSize < len(args):
				a = args[(in.K-firstArg)/argSize]
			default:
				t.Fatalf("instruction %d loads what is not there: %d", at, in.K)
			}
			continue
		case unix.BPF_JMP | unix.BPF_JA:
			at += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = a == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = a >= in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			yes = a > in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes = a&in.K != 0
		default:
			t.Fatalf("instruction %d is unknown: %x", at, in.Code)
		}
		if yes {
			at += int(in.Jt)
		} else {
			at += int(in.Jf)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

// Whatever the list: what stands in it is let through, and nothing else.
func TestCompileLets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var calls []uint32
		for range rng.IntN(400) {
			calls = append(calls, rng.Uint32N(480))
		}
		program := compile(testArch, 479, calls, nil)
		if len(program) > unix.BPF_MAXINSNS {
			t.Fatalf("%d instructions", len(program))
		}
		for call := range uint32(1000) {
			want := refuse
			switch {
			case call > 479:
				want = missing
			case slices.Contains(calls, call):
				want = allow
			}
			if got := run(t, program, testArch, call); got != want {
				t.Fatalf("call %d of %v: %x, want %x", call, calls, got, want)
			}
		}
		if got := run(t, program, testArch+1, calls0(calls)); got != end {
			t.Fatalf("a call of another machine: %x", got)
		}
	}
}

func calls0(calls []uint32) uint32 {
	if len(calls) == 0 {
		return 0
	}
	return calls[0]
}

func TestConditions(t *testing.T) {
	const clone, socket, mount, plain = 10, 11, 12, 13
	program := compile(testArch, 20, []uint32{plain}, []condition{
		threads(clone), one(socket, 0, 1, 2, 16), one(mount, 3, 4096),
	})
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	for _, c := range []struct {
		what string
		call uint32
		args [4]uint32
		want uint32
	}{
		{"a thread", clone, [4]uint32{thread}, allow},
		{"a process", clone, [4]uint32{uint32(unix.SIGCHLD)}, refuse},
		{"vfork", clone, [4]uint32{unix.CLONE_VM | unix.CLONE_VFORK}, refuse},
		{"a thread in a user namespace", clone, [4]uint32{thread | unix.CLONE_NEWUSER}, refuse},
		{"a thread in a network of its own", clone, [4]uint32{thread | unix.CLONE_NEWNET}, refuse},
		{"the first of a list", socket, [4]uint32{1}, allow},
		{"the second", socket, [4]uint32{2}, allow},
		{"the last", socket, [4]uint32{16}, allow},
		{"none of them", socket, [4]uint32{17}, refuse},
		{"zero", socket, [4]uint32{}, refuse},
		{"the fourth argument", mount, [4]uint32{0, 0, 0, 4096}, allow},
		{"another argument", mount, [4]uint32{4096, 4096, 4096, 0}, refuse},
		{"what has no condition", plain, [4]uint32{}, allow},
		{"what stands nowhere", 14, [4]uint32{}, refuse},
	} {
		if got := run(t, program, testArch, c.call, c.args[:]...); got != c.want {
			t.Errorf("%s: %x, want %x", c.what, got, c.want)
		}
	}
}
