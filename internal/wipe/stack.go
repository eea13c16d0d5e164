package wipe

// stackLen is how much of the stack is overwritten, in octets: more than what our key derivations, and the arithmetic of the
// standard library below them, use.
const stackLen = 16 << 10

// Stack calls f and then overwrites what f has left on the stack. The stack is made large enough before, since a stack that
// grows is copied, and the old one stays in memory as it was. It costs about a microsecond.
func Stack(f func()) {
	burn()
	defer burn()
	f()
}

// shallowLen is stackLen for Shallow.
const shallowLen = 2 << 10

// Shallow is Stack for an f that only copies keys and makes schedules of them (SHA-1, RC4), on a goroutine of which there are
// many: each of them would keep the larger stack.
func Shallow(f func()) {
	singe()
	defer singe()
	f()
}

// singe is burn for Shallow.
//
//go:noinline
func singe() {
	var b [shallowLen]byte
	graze(&b)
}

// graze is touch for singe.
//
//go:noinline
func graze(b *[shallowLen]byte) { clear(b[:]) }

// burn overwrites the stack below its caller.
//
//go:noinline
func burn() {
	var b [stackLen]byte
	touch(&b)
}

// touch is where burn's array goes, so that it is not optimised away.
//
//go:noinline
func touch(b *[stackLen]byte) { clear(b[:]) }
