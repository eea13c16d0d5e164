package mppe

import "crypto/subtle"

// openGroup decrypts up to groupLen packets. What costs time is done for four at once, before and after: first the key
// and the beginning of the keystream where each packet can be foreseen to be, then, in order, the judgement that
// changes the receivers, and then the rest of what was accepted. A packet that turns out to be elsewhere, because of one before
// it in the group, is tried anew, alone.
func (x *Scratch) openGroup(ops []OpenOp, now int64) {
	x.beginGroup(len(ops))
	foreseen := 0
	for i := range ops {
		if x.foresee(&ops[i], &x.slots[i]) {
			foreseen++
		}
	}
	if foreseen < fewest {
		for i := range ops {
			ops[i].Verdict = ops[i].Receiver.open(&ops[i], nil, now, x)
		}
		return
	}
	x.sortByLength(len(ops))
	x.planKeys(ops)
	x.derive()
	x.openHeads(ops)
	for i := range ops {
		sl := &x.slots[i]
		if sl.length == 0 {
			sl = nil
		}
		ops[i].Verdict = ops[i].Receiver.open(&ops[i], sl, now, x)
	}
	x.openRests(ops)
	x.endGroup()
}

// foresee fills the slot of a packet if it is where it can be tried for nothing, as far as the packets before it in
// the group don't change that.
func (x *Scratch) foresee(op *OpenOp, sl *slot) bool {
	r := op.Receiver
	p := op.Buf.Bytes()
	count, _, v := r.header(p)
	if v != 0 || r.stateful != nil || r.remote(op.Seq) {
		return false
	}
	nearest, _ := r.ahead(count, op.Seq)
	if nearest > NearKeys || r.late(nearest) {
		return false
	}
	sl.length, sl.position, sl.accepted = len(p)-headerLen, r.at(nearest), false
	return true
}

// planKeys has a run for each receiver that needs keys it doesn't know yet.
func (x *Scratch) planKeys(ops []OpenOp) {
	for _, i := range x.order {
		s, pos := &ops[i].Receiver.stateless, x.slots[i].position
		if pos <= s.known {
			continue
		}
		r, added := x.runOf(&ops[i].Receiver.schedule)
		if added {
			r.key = s.near[s.known%nearSlots]
			r.keys, r.next, r.mask = s.near[:], s.known+1, nearSlots-1
		}
		r.left += int(pos - s.known)
		s.known = pos
	}
}

// openHeads starts the streams of all packets in x.order and keeps their first octets.
func (x *Scratch) openHeads(ops []OpenOp) {
	x.KeySetups += uint64(len(x.order))
	ends := [lanes]int{HeadLen, HeadLen, HeadLen, HeadLen}
	for at := 0; at < len(x.order); at += lanes {
		q, order := &x.quads[at/lanes], x.order[at:min(at+lanes, len(x.order))]
		for lane, i := range order {
			r := ops[i].Receiver
			q.setKey(lane, &r.stateless.near[x.slots[i].position%nearSlots], r.schedule.n)
		}
		q.start(len(order))
		q.run(&x.rows, 0, ends[:len(order)])
		for lane, i := range order {
			copy(x.slots[i].head[:], x.rows[lane][:])
		}
	}
}

// openRests decrypts what was accepted. The lanes of four that were all accepted go on as they are; others are moved
// together.
func (x *Scratch) openRests(ops []OpenOp) {
	var places [lanes]int // in x.order
	used := 0
	for place, i := range x.order {
		if sl := &x.slots[i]; !sl.accepted {
			continue
		}
		places[used] = place
		used++
		if used == lanes {
			x.openLanes(ops, places[:])
			used = 0
		}
	}
	if used > 0 {
		x.openLanes(ops, places[:used])
	}
}

// openLanes decrypts the bodies of up to four packets, the longest first.
func (x *Scratch) openLanes(ops []OpenOp, places []int) {
	q, ends := x.gather(places), [lanes]int{}
	for lane, place := range places {
		ends[lane] = x.slots[x.order[place]].length
	}
	q.run(&x.rows, HeadLen, ends[:len(places)])
	for lane, place := range places {
		i := x.order[place]
		body := ops[i].Buf.Bytes()
		head := min(HeadLen, len(body))
		subtle.XORBytes(body, body, x.slots[i].head[:head])
		subtle.XORBytes(body[head:], body[head:], x.rows[lane][head:len(body)])
	}
}

// gather returns the streams at these places as the first lanes of a quad.
func (x *Scratch) gather(places []int) *quad {
	first := places[0]
	if first%lanes == 0 && places[len(places)-1] == first+len(places)-1 {
		return &x.quads[first/lanes]
	}
	for lane, place := range places {
		from := &x.quads[place/lanes]
		x.spare.s[lane], x.spare.j[lane] = from.s[place%lanes], from.j[place%lanes]
	}
	return &x.spare
}
