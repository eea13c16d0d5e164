package multibuf

import (
	"crypto/sha256"
	"unsafe"
)

// Scratch is the working memory of one caller, who uses it for one call at a time. Between calls it keeps no key.
type Scratch struct {
	queue      queue
	encryption encryption
	lanes      [maxHashLanes]summing
	data       [maxHashLanes]*byte // where the lanes of SumHMAC go on
	vectors    *vectors

	// For the standard library:
	hashes [SHA256 + 1]resumable
	digest [sha256.Size]byte
}

// NewScratch makes the working memory, of some 6 KiB.
func NewScratch() *Scratch {
	x := &Scratch{vectors: newVectors()}
	for h := SHA1; h <= SHA256; h++ {
		x.hashes[h] = newResumable(h)
	}
	return x
}

// vectors is what kernels work on besides the packets. It must be aligned and can't have pointers.
type vectors struct {
	keys    [(maxRounds + 1) * maxLanes * blockLen]byte // round keys: those of a round side by side, one of each lane
	iv      [maxLanes][blockLen]byte
	work    [maxHashLanes * 96]byte
	state   [maxHashLanes]state
	pending [maxHashLanes][2 * hashBlockLen]byte // blocks that aren't in the packet as they are
	idle    [idleBlocks * blockLen]byte          // what lanes without a packet encrypt
}

// alignment is that of vectors, in octets: a line of the cache.
const alignment = 64

func newVectors() *vectors {
	memory := make([]byte, unsafe.Sizeof(vectors{})+alignment-1)
	skip := -uintptr(unsafe.Pointer(&memory[0])) % alignment
	return (*vectors)(unsafe.Pointer(&memory[skip]))
}
