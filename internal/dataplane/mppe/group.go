package mppe

// groupLen is how many packets of a batch are worked on together: enough to sort them by length and to find sessions
// whose key chains can go on side by side, few enough for their RC4 tables to stay in the first-level cache.
const groupLen = 16

// slot is a packet of a group, at the same index, that is encrypted or decrypted together with others.
type slot struct {
	// length is that of the plaintext in octets; 0 when the packet isn't done together with others.
	length int

	// To encrypt: the header to write, and the key, which is the nth of a run from 0.
	header uint16
	run    *run
	nth    int

	// To decrypt: the position that was foreseen, the beginning of its keystream, and whether the packet was accepted there
	// and the rest is to follow.
	position uint64
	head     [HeadLen]byte
	accepted bool
}

// beginGroup forgets the last group and has slots for n packets.
func (x *Scratch) beginGroup(n int) {
	for i := range n {
		x.slots[i].length = 0
	}
	x.order, x.runs = x.order[:0], x.runs[:0]
}

// endGroup drops what points to sessions.
func (x *Scratch) endGroup() {
	clear(x.runs)
}

// sortByLength fills x.order with the slots in use.
func (x *Scratch) sortByLength(n int) {
	for i := range n {
		length := x.slots[i].length
		if length == 0 {
			continue
		}
		x.order = append(x.order, uint8(i))
		at := len(x.order) - 1
		for ; at > 0 && x.slots[x.order[at-1]].length < length; at-- {
			x.order[at] = x.order[at-1]
		}
		x.order[at] = uint8(i)
	}
}
