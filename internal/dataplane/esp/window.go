package esp

// The ring of the replay window. One block of it is always being filled, so the window is one block shorter.
const (
	blockBits    = 64
	windowBlocks = 32
	// windowSize is how many sequence numbers behind the highest are still told apart.
	windowSize = (windowBlocks - 1) * blockBits
)

// window is the anti-replay window of RFC 4303 section 3.4.3, with numbers of 64 bits: without extended ones the high half
// is 0. Number n is a bit of block n/64, and the blocks go round, so that moving on clears blocks and shifts nothing.
type window struct {
	top  uint64 // the highest number accepted; 0: none
	seen [windowBlocks]uint64
}

// fresh reports whether seq may still be accepted. The first number is 1.
func (w *window) fresh(seq uint64) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	case w.top-seq >= windowSize:
		return false
	}
	return w.seen[seq/blockBits%windowBlocks]>>(seq%blockBits)&1 == 0
}

// accept notes seq, which must be fresh and authentic.
func (w *window) accept(seq uint64) {
	if seq > w.top {
		first, last := w.top/blockBits+1, seq/blockBits
		if last >= windowBlocks {
			first = max(first, last-windowBlocks+1)
		}
		for i := first; i <= last; i++ {
			w.seen[i%windowBlocks] = 0
		}
		w.top = seq
	}
	w.seen[seq/blockBits%windowBlocks] |= 1 << (seq % blockBits)
}

// extend finds the whole of an extended sequence number from its low half, which alone is on the wire: the number that is
// in the window or nearest above it (RFC 4303 appendix A2.2). 0, which is never fresh, when that would be before the first.
func (w *window) extend(low uint32) uint64 {
	high, top := uint32(w.top>>32), uint32(w.top)
	bottom := top - (windowSize - 1) // wraps around in case B
	if top >= windowSize-1 {         // case A: the window lies in one subspace
		if low < bottom {
			high++
		}
	} else if low >= bottom { // case B: it lies in two, and this number in the one before
		if high == 0 {
			return 0
		}
		high--
	}
	return uint64(high)<<32 | uint64(low)
}
