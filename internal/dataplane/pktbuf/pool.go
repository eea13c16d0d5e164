package pktbuf

// Pool is a free list of Bufs that were all allocated at once. It belongs to one shard; it isn't safe for
// concurrent use.
type Pool struct {
	free []*Buf
}

// NewPool allocates n Bufs (about Size octets each).
func NewPool(n int) *Pool {
	p := &Pool{free: make([]*Buf, n)}
	bufs := make([]Buf, n)
	for i := range bufs {
		p.free[i] = &bufs[i]
	}
	return p
}

// Get takes a Buf out of the pool, reset. It returns nil when the pool is empty: the caller sheds load, it
// doesn't allocate.
func (p *Pool) Get() *Buf {
	n := len(p.free)
	if n == 0 {
		return nil
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	b.Reset()
	return b
}

// Put gives back a Buf that came from Get. The caller must not use it any more.
func (p *Pool) Put(b *Buf) {
	if len(p.free) == cap(p.free) {
		panic("pktbuf: more buffers put back than were taken")
	}
	p.free = append(p.free, b)
}

// Free is how many Bufs are in the pool.
func (p *Pool) Free() int {
	return len(p.free)
}
