package ikev1

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// UDP ports of IKE.
const (
	portIKE  = 500
	portNATT = 4500 // with the non-ESP marker, RFC 3948
)

// Sizes of datagrams with fragments, IP and UDP headers included.
const (
	maxWhole = 1280 // what is sent in one piece to a peer that takes fragments
	// A client that cuts its messages says that something on the way is narrow: Windows does so only after a message of its
	// own went unanswered, and then to 576 octets with IPv4 ([MS-IKEE] section 3.1).
	maxNarrow  = 576
	ipv6Header = 40
	udpHeader  = 8
	markerLen  = 4
)

// fragmenter cuts messages to one peer. The zero fragmenter sends everything whole.
type fragmenter struct {
	able   bool // the peer announced that it takes fragments
	narrow bool // it has sent some itself
	next   uint16
}

// cut returns a message as it is to be sent: whole or in fragments.
func (f *fragmenter) cut(p Path, msg []byte) [][]byte {
	limit := maxWhole
	if f.narrow && p.Remote.Addr().Is4() {
		limit = maxNarrow
	}
	room := limit - ipv6Header - udpHeader - markerLen
	if !f.able && !f.narrow || len(msg) <= room {
		return [][]byte{msg}
	}
	room -= wireike.FragmentOverhead
	h, err := wireike.ParseHeader(msg)
	if err != nil || len(msg) > room*255 {
		return [][]byte{msg}
	}
	f.next++
	var out [][]byte
	for n := uint8(1); len(msg) > 0; n++ {
		size := min(room, len(msg))
		out = append(out, wireike.AppendFragment(nil, h, wireike.Fragment{
			ID: f.next, Number: n, Last: size == len(msg), Data: msg[:size],
		}))
		msg = msg[size:]
	}
	return out
}

// Bounds of reassembly, for each SA.
const (
	maxReassembly   = 64 << 10 // octets in one message
	maxReassemblies = 2
	reassemblyTime  = 70 * time.Second // [MS-IKEE] section 3.1
)

// reassembly is one message of which fragments have come.
type reassembly struct {
	id     uint16
	begun  time.Time
	last   uint8 // number of the last fragment; 0: not known yet
	size   int
	pieces map[uint8][]byte
}

// reassembler puts fragments together, [MS-IKEE] section 3.1.5. The zero reassembler is ready.
type reassembler struct {
	open []*reassembly
}

// add takes a message with a fragment and returns the whole message if it was the last piece, else nil. What does not fit
// is dropped; a message that turns out impossible is forgotten.
func (r *reassembler) add(now time.Time, h wireike.Header, msg []byte) []byte {
	m, err := wireike.ParseMessage(msg)
	if err != nil || m.Payloads.First() != wireike.PayloadFragment {
		return nil
	}
	body, _ := m.Payloads.Get(wireike.PayloadFragment)
	f, err := wireike.ParseFragment(body)
	if err != nil || wireike.FragmentOverhead+len(f.Data) != len(msg) { // another payload beside it
		return nil
	}
	r.open = slices.DeleteFunc(r.open, func(q *reassembly) bool { return now.Sub(q.begun) >= reassemblyTime })
	at := slices.IndexFunc(r.open, func(q *reassembly) bool { return q.id == f.ID })
	if at < 0 {
		if len(r.open) == maxReassemblies {
			r.open = slices.Delete(r.open, 0, 1)
		}
		r.open = append(r.open, &reassembly{id: f.ID, begun: now, pieces: map[uint8][]byte{}})
		at = len(r.open) - 1
	}
	q := r.open[at]
	if q.pieces[f.Number] != nil {
		return nil
	}
	wrong := f.Last && q.last != 0 || q.last != 0 && f.Number > q.last || q.size+len(f.Data) > maxReassembly
	if f.Last && !wrong {
		q.last = f.Number
		for n := range q.pieces {
			wrong = wrong || n > q.last
		}
	}
	if wrong {
		r.open = slices.Delete(r.open, at, at+1)
		return nil
	}
	q.pieces[f.Number] = f.Data
	q.size += len(f.Data)
	if q.last == 0 || len(q.pieces) < int(q.last) {
		return nil
	}
	r.open = slices.Delete(r.open, at, at+1)
	return q.join(h)
}

// join returns the whole message, whose own header stands at the front; nil if it is none of the same SA.
func (q *reassembly) join(h wireike.Header) []byte {
	out := make([]byte, 0, wireike.HeaderLen+q.size)
	for n := 1; n <= int(q.last); n++ {
		out = append(out, q.pieces[uint8(n)]...)
	}
	if own, err := wireike.ParseHeader(out); err == nil && own.Initiator == h.Initiator && own.Responder == h.Responder {
		if own.Next == wireike.PayloadFragment {
			return nil // a fragment in fragments
		}
		return out
	}
	return nil
}

// cache remembers the last message of an exchange and what answered it, so that a copy gets the same answer and moves
// nothing. The zero cache knows no message.
type cache struct {
	seen    [sha256.Size]byte
	full    bool
	replies [][]byte
	count   int
}

// store remembers a message and its answer, in pieces as it was sent; none for a message without an answer.
func (c *cache) store(msg []byte, replies [][]byte) {
	*c = cache{seen: sha256.Sum256(msg), full: true, replies: replies}
}

// knows says whether a message is a copy of the last one.
func (c *cache) knows(msg []byte) bool {
	return c.full && c.seen == sha256.Sum256(msg)
}

// again sends the answer once more, a bounded number of times.
func (c *cache) again(h Host, p Path) {
	if c.count >= maxReplies {
		return
	}
	c.count++
	for _, r := range c.replies {
		h.Send(p, slices.Clone(r))
	}
}

// sendAll sends pieces, keeping them.
func sendAll(h Host, p Path, pieces [][]byte) {
	for _, m := range pieces {
		h.Send(p, slices.Clone(m))
	}
}

// resender repeats what we sent as initiator until it is answered. The zero resender has nothing to repeat.
type resender struct {
	pieces [][]byte
	due    time.Time
	wait   time.Duration
	count  int
}

// start remembers what has just been sent.
func (r *resender) start(now time.Time, pieces [][]byte) {
	*r = resender{pieces: pieces, wait: firstResend, due: now.Add(firstResend)}
}

func (r *resender) stop() { *r = resender{} }

// tick says what to do at a time: nothing, send the pieces again, or give up.
func (r *resender) tick(now time.Time) (again, dead bool) {
	if r.due.IsZero() || now.Before(r.due) {
		return false, false
	}
	if r.count == maxResends {
		return false, true
	}
	r.count++
	r.wait = time.Duration(float64(r.wait) * resendFactor)
	r.due = now.Add(r.wait)
	return true, false
}

// putID32 is a message ID or SPI in network order.
func putID32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// earliest returns the first of the times that are set.
func earliest(ts ...time.Time) time.Time {
	var first time.Time
	for _, t := range ts {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
