//go:build !race

package wipe

import (
	"testing"
	"unsafe"
)

// The race detector checks pointers, and would not have this test look below its stack.

// TestStack looks at the memory below the frame of a function that has computed with a secret there.
func TestStack(t *testing.T) {
	const mark = 0x5ec4e7
	var at uintptr
	f := func() { at = deep(mark) }
	read := func() uint64 { return *(*uint64)(unsafe.Pointer(at)) } //nolint:govet // the stack below us, which is still ours
	for name, wiped := range map[string]func(func()){"Stack": Stack, "Shallow": Shallow} {
		burn() // or the stack would move in between
		f()
		if read() != mark {
			t.Skip("the stack does not look as this test expects") // it proves nothing then
		}
		wiped(f)
		if read() == mark {
			t.Errorf("%s: the secret is still on the stack", name)
		}
	}
}

// deep leaves mark on the stack and returns where.
//
//go:noinline
func deep(mark uint64) uintptr {
	var room [128]uint64
	for i := range room {
		room[i] = mark
	}
	keep(&room)
	return uintptr(unsafe.Pointer(&room[64]))
}

//go:noinline
func keep(*[128]uint64) {}
