package multibuf

import "sync/atomic"

// encrypter encrypts a whole number of blocks of several packets at once, in assembly: size octets of each.
type encrypter struct {
	lanes int
	run   func(keys, iv *byte, data **byte, rounds, size int)
}

// hasher hashes a number of blocks of several messages at once.
type hasher struct {
	lanes int
	run   func(h *uint32, w *byte, data **byte, blocks int)
}

// kernels are the assembly in use. What is nil is done by the standard library.
type kernels struct {
	name string

	substitute func(word uint32) uint32         // SubWord of FIPS 197
	invert     func(dec, enc *byte, rounds int) // round keys for decryption
	encrypt    []encrypter                      // the one with the fewest lanes first
	encryptOne func(keys, iv *byte, data **byte, rounds, size int)
	decrypt    func(keys, iv, data *byte, rounds, blocks int)
	hash       [SHA256 + 1][]hasher // the one with the fewest lanes first
}

// encrypter is the one for so many packets.
func (k *kernels) encrypter(packets int) *encrypter {
	for i := range k.encrypt {
		if e := &k.encrypt[i]; e.lanes >= packets {
			return e
		}
	}
	return &k.encrypt[len(k.encrypt)-1]
}

// hasher is the one for so many packets, nil without any.
func (k *kernels) hasher(h Hash, packets int) *hasher {
	var best *hasher
	for i := range k.hash[h] {
		best = &k.hash[h][i]
		if best.lanes >= packets {
			break
		}
	}
	return best
}

// machine is the best that this processor can do; replaced is used in its place if it isn't nil.
var (
	machine  = detect()
	replaced atomic.Pointer[kernels]
)

func inUse() *kernels {
	if k := replaced.Load(); k != nil {
		return k
	}
	return machine
}

// std are no kernels.
var std = &kernels{name: "std"}

// Kernels names the code in use, for a log line: what encrypts, what decrypts and what hashes, or "std".
func Kernels() string { return inUse().name }

// Portable makes the whole package use the standard library from now on, and its result undoes that: for tests and
// benchmarks. A key that was made before allocates when it is used for the first time then.
func Portable() func() { return replace(std) }

func replace(k *kernels) func() {
	before := replaced.Swap(k)
	return func() { replaced.Store(before) }
}
