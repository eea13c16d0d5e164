package traffic

// seenBits is how far back a flow can tell a packet that comes late from one that comes twice.
const seenBits = 1024

// flow is one session's packets in one direction as they arrive. The zero value has seen none.
type flow struct {
	next uint64 // behind the highest sequence number that has come
	seen [seenBits / 64]uint64

	received, reordered, duplicates, octets uint64
}

// accept counts a packet of n octets; fresh says that it is no duplicate. What is too late to tell counts as late. passed is
// by how many numbers the flow has moved on: those between are lost, or late.
func (f *flow) accept(seq uint64, n int) (passed uint64, fresh bool) {
	bit := uint64(1) << (seq % 64)
	block := &f.seen[seq/64%uint64(len(f.seen))]
	switch {
	case seq >= f.next:
		passed = seq + 1 - f.next
		if passed > seenBits {
			clear(f.seen[:])
		} else {
			for s := f.next; s < seq; s++ {
				f.seen[s/64%uint64(len(f.seen))] &^= 1 << (s % 64)
			}
		}
		f.next = seq + 1
		*block |= bit
	case f.next-seq > seenBits:
		f.reordered++
	case *block&bit != 0:
		f.duplicates++
		return 0, false
	default:
		f.reordered++
		*block |= bit
	}
	f.received++
	f.octets += uint64(n)
	return passed, true
}
