package mppe

import (
	"crypto/subtle"
	"encoding/binary"
)

// sealGroup encrypts up to groupLen packets: first the key chains of all sessions, then the keystreams of all packets, four
// side by side. Stateful packets, of which each goes on where the last one ended, are encrypted one by one.
func (x *Scratch) sealGroup(ops []SealOp) {
	if len(ops) < fewest {
		for i := range ops {
			ops[i].OK = ops[i].Sender.seal(ops[i].Buf, x)
		}
		return
	}
	x.beginGroup(len(ops))
	for i := range ops {
		op, sl := &ops[i], &x.slots[i]
		switch {
		case op.Sender.stream != nil:
			op.OK = op.Sender.seal(op.Buf, x)
		case !sealable(op.Buf):
			op.OK = false
		default:
			op.OK = true
			sl.length, sl.header = op.Buf.Len(), op.Sender.nextHeader()|bitFlushed
			r, added := x.runOf(&op.Sender.schedule)
			if added {
				r.key = op.Sender.session
			}
			sl.run, sl.nth = r, r.left
			r.left++
		}
	}
	x.sealKeys(ops)
	x.sortByLength(len(ops))
	for order := x.order; len(order) > 0; {
		n := min(len(order), lanes)
		x.sealLanes(ops, order[:n])
		order = order[n:]
	}
	x.endGroup()
}

// sealKeys gives each packet of the group its key, and each sender its last one.
func (x *Scratch) sealKeys(ops []SealOp) {
	keys := x.keys[:]
	for i := range x.runs {
		r := &x.runs[i]
		r.keys, r.next, r.mask = keys[:r.left], 0, groupLen-1
		keys = keys[r.left:]
	}
	x.derive()
	for i := range ops {
		if sl := &x.slots[i]; sl.length > 0 {
			ops[i].Sender.session = sl.run.keys[sl.nth]
		}
	}
}

// sealLanes encrypts up to four packets, the longest first.
func (x *Scratch) sealLanes(ops []SealOp, order []uint8) {
	q, ends := &x.quads[0], [lanes]int{}
	for lane, i := range order {
		sl := &x.slots[i]
		q.setKey(lane, &sl.run.keys[sl.nth], sl.run.schedule.n)
		ends[lane] = sl.length
	}
	q.start(len(order))
	q.run(&x.rows, 0, ends[:len(order)])
	for lane, i := range order {
		b := ops[i].Buf
		body := b.Bytes()
		subtle.XORBytes(body, body, x.rows[lane][:ends[lane]])
		binary.BigEndian.PutUint16(b.Prepend(headerLen), x.slots[i].header)
	}
}
