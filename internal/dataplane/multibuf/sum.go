package multibuf

import (
	"encoding/binary"
	"unsafe"
)

// maxHashLanes is the most that a kernel has for hashes.
const maxHashLanes = 4

// lenLen is the length of a message's length at its end, FIPS 180-4 section 5.1.1.
const lenLen = 8

// step is what a lane of SumHMAC hashes at the moment.
type step uint8

const (
	stepIdle    step = iota
	stepStream       // whole blocks where the caller has them
	stepJoint        // a block of the end of the message and the beginning of a long tail
	stepPadding      // the last one or two blocks of the inner hash
	stepOuter        // the block of the outer hash
)

// summing is what one lane of SumHMAC does at the moment.
type summing struct {
	step step
	left int // blocks of the step
	op   *MAC
	// What comes behind the blocks of the step: first rest, then tail.
	rest, tail []byte
}

// sum does at most maxQueued packets, those of one hash after those of the other.
func (x *Scratch) sum(k *kernels, ops []MAC) {
	q := &x.queue
	q.reset()
	for i := len(ops) - 1; i >= 0; i-- {
		op := &ops[i]
		if k.hash[op.Key.hash] == nil {
			op.Key.portable().sum(op, x)
			continue
		}
		q.add(i, int(op.Key.hash), len(op.Message)/hashBlockLen/4)
	}
	for group, count := range q.count {
		if count > 0 {
			x.sumGroup(k.hasher(Hash(group), count), ops, group)
		}
	}
}

// sumGroup runs all lanes until the first has no more blocks of its step, gives that one its next, and so on.
func (x *Scratch) sumGroup(kernel *hasher, ops []MAC, group int) {
	v := x.vectors
	lanes := x.lanes[:kernel.lanes]
	busy := 0
	for l := range lanes {
		if x.sumNext(l, ops, group) {
			busy++
		}
	}
	for busy > 0 {
		n, some := 0, 0
		for l := range lanes {
			if left := lanes[l].left; left > 0 && (n == 0 || left < n) {
				n, some = left, l
			}
		}
		if busy < len(lanes) {
			for l := range lanes {
				if lanes[l].left == 0 {
					x.data[l] = x.data[some] // an idle lane has to read something
				}
			}
		}
		kernel.run(&v.state[0][0], &v.work[0], &x.data[0], n)
		for l := range lanes {
			switch left := lanes[l].left; {
			case left > n:
				lanes[l].left = left - n
				x.data[l] = (*byte)(unsafe.Add(unsafe.Pointer(x.data[l]), n*hashBlockLen))
			case left > 0 && !x.sumNext(l, ops, group):
				busy--
			}
		}
	}
	clear(x.data[:])
	clear(v.state[:])
	clear(v.work[:])
}

// sumNext brings lane l to its next step that has blocks, of the next packet if the one that it has is done.
func (x *Scratch) sumNext(l int, ops []MAC, group int) bool {
	s, v := &x.lanes[l], x.vectors
	for {
		switch s.step {
		case stepIdle:
			i := x.queue.take(group)
			if i < 0 {
				return false
			}
			s.op = &ops[i]
			s.tail = s.op.Tail
			v.state[l] = s.op.Key.inner
			if x.stream(l, s.op.Message) {
				return true
			}
		case stepStream:
			pending := &v.pending[l]
			n := copy(pending[:], s.rest)
			if n+len(s.tail) < len(pending)-lenLen {
				n += copy(pending[n:], s.tail)
				x.pad(l, n, len(s.op.Message)+len(s.op.Tail))
				s.step = stepPadding
				return true
			}
			used := copy(pending[n:hashBlockLen], s.tail)
			s.rest, s.tail = s.tail[used:], nil
			s.step, s.left, x.data[l] = stepJoint, 1, &pending[0]
			return true
		case stepJoint:
			if x.stream(l, s.rest) {
				return true
			}
		case stepPadding:
			size := s.op.Key.hash.Size()
			put(v.pending[l][:size], &v.state[l])
			x.pad(l, size, size)
			v.state[l] = s.op.Key.outer
			s.step = stepOuter
			return true
		case stepOuter:
			put(s.op.Sum[:s.op.Key.hash.Size()], &v.state[l])
			*s = summing{}
		}
	}
}

// stream makes the whole blocks of p lane l's, and false if there are none.
func (x *Scratch) stream(l int, p []byte) bool {
	s := &x.lanes[l]
	s.left = len(p) / hashBlockLen
	s.step, s.rest = stepStream, p[s.left*hashBlockLen:]
	if s.left == 0 {
		return false
	}
	x.data[l] = unsafe.SliceData(p)
	return true
}

// pad makes the last blocks of a hash lane l's: n octets, which are there already, and the padding. Before the whole
// message of length octets there was one block, of the key.
func (x *Scratch) pad(l, n, length int) {
	pending := &x.vectors.pending[l]
	x.lanes[l].left, x.data[l] = 1, &pending[0]
	end := hashBlockLen
	if n >= hashBlockLen-lenLen {
		x.lanes[l].left, end = 2, 2*hashBlockLen
	}
	pending[n] = 0x80
	clear(pending[n+1 : end-lenLen])
	binary.BigEndian.PutUint64(pending[end-lenLen:], uint64(hashBlockLen+length)*8)
}

// put is a hash's last state as octets.
func put(dst []byte, s *state) {
	for i := range len(dst) / 4 {
		binary.BigEndian.PutUint32(dst[4*i:], s[i])
	}
}
