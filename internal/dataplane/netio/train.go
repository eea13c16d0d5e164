package netio

import (
	"math"

	"golang.org/x/sys/unix"
)

// none ends a list of messages.
const none = -1

// maxTrain is how many octets of UDP payload one call may send: what fits an IPv4 packet.
const maxTrain = math.MaxUint16 - 20 - 8

// forgetAfter is how many batches a socket remembers that payloads of some length can't be sent as trains.
const forgetAfter = 1 << 16

// run is what one call of sendmsg(2) sends: messages of a batch to one address and port, all size octets long but for the
// last, which may be shorter.
type run struct {
	first, last int // of its messages
	n           int
	size, total int // octets
	full        bool
}

// trains puts together what can be sent by one call: UDP_SEGMENT takes the way through the kernel once for all of it. The
// zero value makes none.
type trains struct {
	on      bool
	runs    [BatchSize]run
	next    [BatchSize]int // of the same run, by message; none: it is the last
	table   [2 * BatchSize]uint8
	tooLong int // payloads of this length and more have been refused as trains; 0: none
	age     int // batches since then
}

// plan divides msgs into runs and returns how many there are. Messages to one address and port stay in order.
func (t *trains) plan(msgs []Message) int {
	if !t.on {
		for i := range msgs {
			t.runs[i].begin(i, 0)
			t.next[i] = none
		}
		return len(msgs)
	}
	if t.tooLong != 0 {
		if t.age++; t.age > forgetAfter {
			t.tooLong = 0
		}
	}
	clear(t.table[:])
	n := 0
	for i := range msgs {
		t.next[i] = none
		slot := &t.table[msgs[i].hash()%uint32(len(t.table))]
		if *slot != 0 && t.join(&t.runs[*slot-1], msgs, i) {
			continue
		}
		t.runs[n].begin(i, len(msgs[i].Data))
		n++
		*slot = uint8(n) // another peer's run that was there grows no more, and nothing changes its place
	}
	return n
}

// begin makes r a run of message i alone, of size octets.
func (r *run) begin(i, size int) {
	r.first, r.last, r.n = i, i, 1
	r.size, r.total, r.full = size, size, false
}

// join makes message i the next of r, if it may be.
func (t *trains) join(r *run, msgs []Message, i int) bool {
	m, head := &msgs[i], &msgs[r.first]
	size := len(m.Data)
	switch {
	case r.full || size > r.size || size == 0 || r.total+size > maxTrain:
	case t.tooLong != 0 && r.size >= t.tooLong:
	case m.To != head.To || m.Port != head.Port || m.From != head.From || m.TOS != head.TOS:
	default:
		t.next[r.last] = i
		r.last = i
		r.n++
		r.total += size
		r.full = size < r.size
		return true
	}
	return false
}

// hash is of what all messages of a run have in common.
func (m *Message) hash() uint32 {
	h := uint32(m.To[0]) | uint32(m.To[1])<<8 | uint32(m.To[2])<<16 | uint32(m.To[3])<<24
	h ^= uint32(m.Port)<<16 | uint32(m.Port)
	h *= 0x9e3779b1 // 2^32 divided by the golden ratio
	return h >> 20
}

// settle says of all messages of run i what became of them, and how many were sent.
func (t *trains) settle(i int, msgs []Message, errno unix.Errno) (sent int) {
	for m := t.runs[i].first; m != none; m = t.next[m] {
		msgs[m].Errno = errno
	}
	if errno != 0 {
		return 0
	}
	return t.runs[i].n
}

// refused says whether the kernel would rather have the messages of run i one by one, and remembers it: a segment that
// doesn't fit the link's MTU, which would have to be fragmented, or a device that can't.
func (t *trains) refused(errno unix.Errno, i int) bool {
	if errno != unix.EINVAL && errno != unix.EMSGSIZE && errno != unix.EIO && errno != unix.EOPNOTSUPP {
		return false
	}
	size := t.runs[i].size
	if t.tooLong == 0 || size < t.tooLong {
		t.tooLong = size
	}
	t.age = 0
	return true
}
