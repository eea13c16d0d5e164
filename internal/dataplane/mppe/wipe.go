package mppe

// Wipe clears the keys. The sender can't be used any more. A nil one has none.
func (s *Sender) Wipe() {
	if s == nil {
		return
	}
	if s.stream != nil {
		*s.stream = rc4{}
	}
	*s = Sender{}
}

// Wipe clears the keys. The receiver can't be used any more. A nil one has none.
func (r *Receiver) Wipe() {
	if r == nil {
		return
	}
	if r.stateful != nil {
		*r.stateful = stateful{}
	}
	*r = Receiver{}
}

// Wipe clears what the last packets have left in the working memory: keys, and keystream. It can be used on.
func (x *Scratch) Wipe() {
	x.rc4, x.rekey, x.head = rc4{}, rc4{}, [HeadLen]byte{}
	x.hashed.wipe()
	clear(x.rows[:])
	clear(x.slots[:])
	clear(x.runs[:cap(x.runs)])
	clear(x.keys[:])
	clear(x.quads[:])
	x.spare = quad{}
}

// wipe clears the keys between the pads.
func (h *hashed) wipe() {
	clear(h.key16[:16])
	clear(h.key16[16+padLen : 16+padLen+16])
	clear(h.key8[:8])
	clear(h.key8[8+padLen : 8+padLen+8])
}

// Wipe clears the start key.
func (p *Params) Wipe() { clear(p.StartKey[:]) }
