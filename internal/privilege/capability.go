package privilege

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Set is a set of capabilities: bit n is capability n of linux/capability.h.
type Set uint64

// capabilities makes a Set.
func capabilities(list ...int) Set {
	var s Set
	for _, c := range list {
		s |= 1 << c
	}
	return s
}

// always is what every concentrator needs: devices, routes, nftables and large socket buffers (NET_ADMIN), GRE and ESP (NET_RAW),
// ports 500 and 1701 (NET_BIND_SERVICE), and the programs that choose a packet's shard (BPF).
var always = capabilities(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_BPF)

// namespaces is what making and entering network namespaces takes besides.
var namespaces = capabilities(unix.CAP_SYS_ADMIN)

// names are those that the daemon may keep; the others are shown by number.
var names = map[int]string{
	unix.CAP_NET_ADMIN: "NET_ADMIN", unix.CAP_NET_RAW: "NET_RAW", unix.CAP_NET_BIND_SERVICE: "NET_BIND_SERVICE",
	unix.CAP_BPF: "BPF", unix.CAP_SYS_ADMIN: "SYS_ADMIN",
}

// String lists the capabilities by name, without CAP_.
func (s Set) String() string {
	list := make([]string, 0, bits.OnesCount64(uint64(s)))
	for c := range s.each {
		name, ok := names[c]
		if !ok {
			name = strconv.Itoa(c)
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// each yields the capabilities, lowest first.
func (s Set) each(yield func(int) bool) {
	for ; s != 0; s &= s - 1 {
		if !yield(bits.TrailingZeros64(uint64(s))) {
			return
		}
	}
}

// holding is what one thread has.
type holding struct {
	effective, permitted, inheritable, bounding, ambient Set
	known                                                Set // those of this kernel
	noNewPrivs                                           bool
}

// held asks for what the calling thread has. The goroutine must be locked to it.
func held() (h holding, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return h, fmt.Errorf("read capabilities: %w", err)
	}
	h.effective = Set(data[0].Effective) | Set(data[1].Effective)<<32
	h.permitted = Set(data[0].Permitted) | Set(data[1].Permitted)<<32
	h.inheritable = Set(data[0].Inheritable) | Set(data[1].Inheritable)<<32
	for c := range bits.UintSize {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil { // the kernel knows no more
			break
		}
		h.known |= 1 << c
		h.bounding |= Set(in) << c
		if in, err = unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err != nil {
			return h, fmt.Errorf("read the ambient capabilities: %w", err)
		}
		h.ambient |= Set(in) << c
	}
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return h, fmt.Errorf("read no_new_privs: %w", err)
	}
	h.noNewPrivs = set == 1
	return h, nil
}

// excess is what a thread that should have kept and nothing else has besides, in any of its sets. The bounding set counts
// only where it can still be lowered: without that, and with no_new_privs, it gives nothing.
func (h holding) excess(kept Set) Set {
	more := h.effective | h.permitted | h.inheritable | h.ambient
	if h.permitted&capabilities(unix.CAP_SETPCAP) != 0 {
		more |= h.bounding
	}
	return more &^ kept
}

// reduce leaves the calling thread kept, which it must have, and what it executes the same. The goroutine must be locked to it.
func (h holding) reduce(kept Set) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if h.permitted&capabilities(unix.CAP_SETPCAP) != 0 {
		for c := range (h.bounding &^ kept).each {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %v for good: %w", Set(1)<<c, err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	low, high := uint32(kept), uint32(kept>>32)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: low, Permitted: low, Inheritable: low},
		{Effective: high, Permitted: high, Inheritable: high},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("reduce capabilities to %v: %w", kept, err)
	}
	// A user who is not root keeps over an execve what is ambient, and no more.
	for c := range kept.each {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("keep capability %v: %w", Set(1)<<c, err)
		}
	}
	return nil
}
