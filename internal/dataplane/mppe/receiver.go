package mppe

import (
	"crypto/subtle"
	"encoding/binary"
	"time"

	"concentrator/internal/dataplane/pktbuf"
)

// countSpace is how many coherency counts there are.
const countSpace = 4096

// reorderSlack is by how much the coherency count may disagree with the GRE sequence number: senders that number and
// encrypt on several cores don't keep the two in step exactly.
const reorderSlack = 32

// farSeq is how far from the last good packet's a sequence number may be before even trying one key is charged to
// the budget. It is gre.FarJump.
const farSeq = 1024

// Receiver decrypts one direction of a session. It is about 3 KiB.
//
// Packets have positions: the first is 1, its count is 0, and each has one more than the one sent before it. In
// stateless mode the position is the number of key changes since the initial key.
type Receiver struct {
	schedule schedule
	// top is the highest position that was decrypted, 0 before the first packet; topSeq is its GRE sequence
	// number, seqKnown says that there is one.
	top      uint64
	topSeq   uint32
	seqKnown bool

	stateless stateless
	stateful  *stateful // nil in stateless mode
	budget    budget
}

// NewReceiver returns a receiver that expects coherency count 0.
func NewReceiver(p Params) *Receiver {
	r := &Receiver{schedule: newSchedule(p)}
	session := r.schedule.initial()
	if p.Stateful {
		r.stateful = &stateful{session: session}
		r.stateful.stream.init(&session, r.schedule.n)
		return r
	}
	r.stateless.near[0] = session
	return r
}

// Stateful reports whether packets must now be opened in the order in which they were sent. That is so in stateful mode,
// but for the time after a loss: then only a flushed packet can be opened, and the sooner the better.
func (r *Receiver) Stateful() bool {
	return r.stateful != nil && r.stateful.asked == 0
}

// Open decrypts one packet; see OpenOp. now is the caller's monotonic clock in nanoseconds.
func (r *Receiver) Open(b *pktbuf.Buf, seq uint32, credible Credible, now int64, x *Scratch) Verdict {
	op := OpenOp{Receiver: r, Buf: b, Seq: seq, Credible: credible}
	return r.open(&op, nil, now, x)
}

// NoteClear says that the GRE packet with this sequence number was delivered and wasn't encrypted. In a session that
// is idle but for LCP echoes it keeps the sequence number from running away from the coherency count.
func (r *Receiver) NoteClear(seq uint32) {
	if r.seqKnown && seq == r.topSeq+1 {
		r.topSeq = seq
	}
}

// open dispatches by mode. sl has what was done for the packet together with others; nil if nothing was.
func (r *Receiver) open(op *OpenOp, sl *slot, now int64, x *Scratch) Verdict {
	count, flushed, v := r.header(op.Buf.Bytes())
	if v != 0 {
		return v
	}
	if r.stateful != nil {
		return r.openStateful(op, count, flushed, now, x)
	}
	return r.openStateless(op, sl, count, now, x)
}

// header takes a packet's header apart. The verdict is 0 when there is nothing wrong with it; the checks are those of
// Linux's ppp_mppe, but that none closes the link: anybody could make it do so.
func (r *Receiver) header(p []byte) (count uint16, flushed bool, v Verdict) {
	if len(p) <= headerLen {
		return 0, false, Short
	}
	header := binary.BigEndian.Uint16(p)
	if header&bitEncrypted == 0 || header&bitCompressed != 0 {
		return 0, false, NotEncrypted
	}
	count, flushed = header&countMask, header&bitFlushed != 0
	if !flushed && (r.stateful == nil || isFlag(count)) {
		return 0, false, NotFlushed
	}
	return count, flushed, 0
}

// ahead is by how many positions the packet with this count and sequence number is ahead of top, as near as the two
// allow: negative when it is behind, 0 when it can only be a replay of top. farthest is the largest distance that
// has the same count; the two differ only when thousands of packets are missing.
func (r *Receiver) ahead(count uint16, seq uint32) (nearest, farthest int) {
	// The count of top is top-1 modulo 4096.
	d := int((uint64(count) + 1 - r.top) % countSpace)
	limit := countSpace / 2
	if r.seqKnown {
		limit = int(min(int32(seq-r.topSeq), 1<<30)) + reorderSlack // an int may have 32 bits
	}
	if d == 0 && limit >= countSpace {
		d = countSpace
	}
	if d > limit {
		return d - countSpace, d - countSpace
	}
	return d, d + (limit-d)/countSpace*countSpace
}

// try finds out whether the packet decrypts to something credible with the stream in x.rc4, reading only its head.
// If not, nothing has changed; if so, the first of x.rows begins with the keystream used, and finish must follow.
func (op *OpenOp) try(far bool, x *Scratch) bool {
	x.KeySetups++
	keystream := x.rows[0][:min(op.Buf.Len()-headerLen, HeadLen)]
	x.rc4.stream(keystream)
	return op.judge(keystream, far, x)
}

// judge asks whether the packet decrypts to something credible with a stream that begins with these octets: HeadLen of
// them, or as many as the packet has.
func (op *OpenOp) judge(keystream []byte, far bool, x *Scratch) bool {
	body := op.Buf.Bytes()[headerLen:]
	head := x.head[:min(len(body), HeadLen)]
	subtle.XORBytes(head, body, keystream)
	return op.Credible(head, len(body), far)
}

// finish decrypts the whole packet in place after try said yes.
func (op *OpenOp) finish(x *Scratch) {
	op.Buf.TrimFront(headerLen)
	body := op.Buf.Bytes()
	n := len(body)
	keystream := x.rows[0][:n]
	x.rc4.stream(keystream[min(n, HeadLen):])
	subtle.XORBytes(body, body, keystream)
}

// moveTop makes pos, which came with seq, the highest position.
func (r *Receiver) moveTop(pos uint64, seq uint32) {
	r.top, r.topSeq, r.seqKnown = pos, seq, true
}

// remote reports whether seq is too far from the last good packet's to be tried for nothing.
func (r *Receiver) remote(seq uint32) bool {
	apart := int32(seq - r.topSeq)
	return r.seqKnown && (apart > farSeq || apart < -farSeq)
}

// maySpend is how many keys of the budget a packet with this sequence number may spend now.
func (r *Receiver) maySpend(seq uint32, now int64) int {
	left := r.budget.left(now)
	if r.remote(seq) {
		left -= KeyReserve
	}
	return max(left, 0)
}

// budget limits what packets far away cost a session: KeyBudget keys in each second, which starts with the first one.
type budget struct {
	since int64
	spent int
}

// left is how many keys may still be spent now.
func (b *budget) left(now int64) int {
	if now-b.since >= int64(time.Second) {
		b.spent = 0
	}
	return KeyBudget - b.spent
}

// spend takes n keys, which must be left.
func (b *budget) spend(n int, now int64) {
	if b.spent == 0 {
		b.since = now
	}
	b.spent += n
}
