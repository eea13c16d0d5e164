package multibuf

import "unsafe"

// maxLanes is the most that a kernel has for encryption.
const maxLanes = 12

// idleBlocks is how many blocks a lane without a packet can go on for.
const idleBlocks = 64

// encryption is what the lanes of EncryptCBC do at the moment.
type encryption struct {
	key  [maxLanes]*AES  // whose round keys the lane has
	data [maxLanes]*byte // where the lane goes on
	left [maxLanes]int   // blocks; 0: the lane is idle
}

// fewBlocks is up to how many blocks of up to as many packets as the narrowest kernel has lanes are faster one by one:
// a lane costs as much to begin with as some three blocks.
const fewBlocks = 16

// encrypt does at most maxQueued packets. Kernels want keys of one length, so that there are up to three groups.
func (x *Scratch) encrypt(k *kernels, ops []CBC) {
	if len(ops) == 1 {
		x.encryptOne(k, &ops[0])
		return
	}
	q := &x.queue
	q.reset()
	var total [len(q.count)]int // blocks
	for i := len(ops) - 1; i >= 0; i-- {
		if blocks := len(ops[i].Data) / blockLen; blocks > 0 {
			group := (ops[i].Key.rounds - minRounds) / 2
			q.add(i, group, blocks/16)
			total[group] += blocks
		}
	}
	for group, packets := range q.count {
		switch {
		case packets == 0:
		case packets == 1 || packets <= k.encrypt[0].lanes && total[group] <= fewBlocks:
			for range packets {
				x.encryptOne(k, &ops[q.take(group)])
			}
		default:
			x.encryptGroup(k.encrypter(packets), ops, group)
		}
	}
}

// encryptOne encrypts a packet with its own key schedule: no other's is beside it.
func (x *Scratch) encryptOne(k *kernels, op *CBC) {
	size := len(op.Data) &^ (blockLen - 1)
	if size == 0 {
		return
	}
	e, iv := &x.encryption, &x.vectors.iv[0]
	*iv, e.data[0] = op.IV, unsafe.SliceData(op.Data)
	k.encryptOne(&op.Key.enc[0], &iv[0], &e.data[0], op.Key.rounds, size)
	e.data[0] = nil
}

// encryptGroup runs all lanes until the first has no more blocks, gives that one another packet, and so on.
func (x *Scratch) encryptGroup(kernel *encrypter, ops []CBC, group int) {
	e, v := &x.encryption, x.vectors
	lanes, rounds := kernel.lanes, minRounds+2*group
	busy := 0
	for l := range lanes {
		if x.encryptNext(l, lanes, ops, group) {
			busy++
		}
	}
	for busy > 0 {
		n := idleBlocks
		if busy == lanes {
			n = e.left[0]
		}
		for _, left := range e.left[:lanes] {
			if left > 0 {
				n = min(n, left)
			}
		}
		kernel.run(&v.keys[0], &v.iv[0][0], &e.data[0], rounds, n*blockLen)
		for l := range lanes {
			switch left := e.left[l]; {
			case left > n:
				e.left[l] = left - n
				e.data[l] = (*byte)(unsafe.Add(unsafe.Pointer(e.data[l]), n*blockLen))
			case left > 0 && !x.encryptNext(l, lanes, ops, group):
				busy--
			}
		}
	}
	clear(v.keys[:(rounds+1)*lanes*blockLen])
	clear(e.key[:])
}

// encryptNext gives lane l the next packet, or makes it idle.
func (x *Scratch) encryptNext(l, lanes int, ops []CBC, group int) bool {
	e, v := &x.encryption, x.vectors
	i := x.queue.take(group)
	if i < 0 {
		e.left[l], e.data[l] = 0, &v.idle[0]
		return false
	}
	op := &ops[i]
	e.left[l], e.data[l] = len(op.Data)/blockLen, unsafe.SliceData(op.Data)
	v.iv[l] = op.IV
	if e.key[l] == op.Key {
		return true
	}
	e.key[l] = op.Key
	for from, to := 0, l*blockLen; from <= op.Key.rounds*blockLen; from, to = from+blockLen, to+lanes*blockLen {
		*(*[blockLen]byte)(v.keys[to:]) = [blockLen]byte(op.Key.enc[from:])
	}
	return true
}
