package ippool

import "time"

// pool hands out the addresses of one Parsed. An address of it is in one of three states: leased; released, which is
// in the history; or fresh, which is not in use as long as anyone remembers and takes no memory.
type pool struct {
	name    string
	books   *books
	notes   *notes
	spec    *Parsed
	leased  int    // leases of addresses in spec.usable
	cursor  uint32 // the search for a fresh address goes on here; those behind it were leased before
	history history
}

// newPool makes a pool that needs resize before use.
func newPool(name string, b *books, n *notes) *pool {
	return &pool{name: name, books: b, notes: n, history: newHistory()}
}

// resize gives the pool its addresses; leases are all of the tenant's.
func (p *pool) resize(spec *Parsed, leases map[uint32]lease) {
	before := p.spec
	p.spec = spec
	p.leased = 0
	for a, l := range leases {
		if before != nil && (&pool{name: p.name, spec: before}).lists(a, l) || p.lists(a, l) {
			p.note(a)
		}
		in := contains(spec.usable, a)
		if in {
			p.leased++
		}
		if in != (before != nil && contains(before.usable, a)) {
			p.mark(a)
		}
	}
	for r := range p.history.all {
		p.note(r.addr) // its quarantine may be another
		if !contains(spec.usable, r.addr) {
			p.forget(r.addr)
		}
	}
}

// take chooses an address, or returns false when all are leased or in quarantine.
func (p *pool) take(user string, leases map[uint32]lease, now time.Time) (uint32, bool) {
	if a, ok := p.history.lastOf(user); ok {
		p.takeKnown(a)
		return a, true
	}
	switch fresh := p.spec.Size() - p.leased - p.history.len(); {
	case fresh > 0:
		// There is one, so the search ends; it passes over leased and remembered addresses only.
		for {
			a := p.at(p.cursor)
			p.cursor = a + 1
			_, leased := leases[a]
			if _, remembered := p.history.get(a); !leased && !remembered {
				p.takeKnown(a)
				return a, true
			}
		}
	case p.history.len() > 0 && !p.history.oldest().at.After(now.Add(-p.spec.quarantine)):
		a := p.history.oldest().addr
		p.takeKnown(a)
		return a, true
	}
	return 0, false
}

// at returns the first usable address from a on, around the end.
func (p *pool) at(a uint32) uint32 {
	i := find(p.spec.usable, a)
	if i == len(p.spec.usable) {
		return p.spec.usable[0].lo
	}
	return max(a, p.spec.usable[i].lo)
}

// takeKnown marks a free address of the pool as leased.
func (p *pool) takeKnown(a uint32) {
	p.leased++
	p.forget(a)
}

// giveBack marks a leased address of the pool as free: fresh, if its user shall not have it again.
func (p *pool) giveBack(a uint32, l lease, now time.Time) {
	p.leased--
	p.mark(a)
	if !l.forget {
		p.remember(released{a, l.user, now})
	}
}

// remember puts a free address into the history, and bounds that.
func (p *pool) remember(r released) {
	p.history.add(r)
	p.note(r.addr)
	if p.history.len() > historyCap {
		p.forget(p.history.oldest().addr)
	}
}

// forget takes an address out of the history, if it is in it.
func (p *pool) forget(a uint32) {
	p.history.remove(a)
	p.mark(a)
}

// mark notes that what is kept of an address is no longer so.
func (p *pool) mark(a uint32) {
	p.books.mark(p.name, a)
	p.note(a)
}

// note has an address told to who watches, when the call is done.
func (p *pool) note(a uint32) { p.notes.add(p.name, a) }

// until is when the quarantine of a released address ends.
func (p *pool) until(r released) time.Time { return r.at.Add(p.spec.quarantine) }

// usage counts the pool's addresses.
func (p *pool) usage(now time.Time) Usage {
	return Usage{
		Size: p.spec.Size(), Leased: p.leased, Quarantined: p.history.quarantined(now.Add(-p.spec.quarantine)),
	}
}

// exhausted is why take found nothing.
func (p *pool) exhausted(now time.Time) *ExhaustedError {
	e := &ExhaustedError{Usage: p.usage(now)}
	if e.Quarantined > 0 {
		e.Until = p.until(p.history.oldest())
	}
	return e
}
