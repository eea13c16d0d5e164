package dataplane

import (
	"math/rand/v2"

	"concentrator/internal/dataplane/steer"
)

// idsPerShard is how many call IDs carry one shard.
const idsPerShard = 1 << (16 - steer.ShardBits)

// idQueue hands out the call IDs of one shard, the one longest out of use first, so that stray packets of an ended call
// meet no new one. The order at the start is random. Not safe for concurrent use.
type idQueue struct {
	free [idsPerShard]uint16
	head int // index of the next to hand out
	n    int // how many are free
}

func newIDQueue(shard int) *idQueue {
	q := &idQueue{}
	for _, i := range rand.Perm(idsPerShard) { //nolint:gosec // not a secret: every peer is told its ID
		if id := uint16(i)<<steer.ShardBits | uint16(shard); id != 0 {
			q.put(id)
		}
	}
	return q
}

func (q *idQueue) take() (id uint16, ok bool) {
	if q.n == 0 {
		return 0, false
	}
	id = q.free[q.head]
	q.head = (q.head + 1) % idsPerShard
	q.n--
	return id, true
}

func (q *idQueue) put(id uint16) {
	q.free[(q.head+q.n)%idsPerShard] = id
	q.n++
}
