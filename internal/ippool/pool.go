package ippool

import "container/list"

// historyCap bounds the released addresses that a pool remembers, with their users. The oldest is forgotten first; it
// can still be leased, but then in the order of addresses.
const historyCap = 1 << 14

// pool hands out the addresses of one Parsed. An address of it is in one of three states: leased; released, which is
// in the history; or fresh, which is not in use as long as anyone remembers and takes no memory.
type pool struct {
	spec   *Parsed
	leased int    // leases of addresses in spec.usable
	cursor uint32 // the search for a fresh address goes on here; those behind it were leased before

	history *list.List               // of released, longest free first
	byAddr  map[uint32]*list.Element // each element of history
	byUser  map[string]uint32        // the address in history that a user had last
}

// released is an address nobody holds, and who had it last.
type released struct {
	addr uint32
	user string
}

// newPool makes a pool that needs resize before use.
func newPool() *pool {
	return &pool{history: list.New(), byAddr: make(map[uint32]*list.Element), byUser: make(map[string]uint32)}
}

// resize gives the pool its addresses; leases are all of the tenant's.
func (p *pool) resize(spec *Parsed, leases map[uint32]lease) {
	p.spec = spec
	p.leased = 0
	for a := range leases {
		if contains(spec.usable, a) {
			p.leased++
		}
	}
	var next *list.Element
	for e := p.history.Front(); e != nil; e = next {
		next = e.Next()
		if !contains(spec.usable, e.Value.(released).addr) {
			p.forget(e)
		}
	}
}

// take chooses an address, or returns false when all are leased.
func (p *pool) take(user string, leases map[uint32]lease) (uint32, bool) {
	if a, ok := p.byUser[user]; ok {
		p.takeStatic(a)
		return a, true
	}
	switch fresh := p.spec.Size() - p.leased - p.history.Len(); {
	case fresh > 0:
		// There is one, so the search ends; it passes over leased and remembered addresses only.
		for {
			a := p.at(p.cursor)
			p.cursor = a + 1
			_, leased := leases[a]
			if _, remembered := p.byAddr[a]; !leased && !remembered {
				p.leased++
				return a, true
			}
		}
	case p.history.Len() > 0:
		a := p.history.Front().Value.(released).addr
		p.takeStatic(a)
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

// takeStatic marks a free address of the pool as leased.
func (p *pool) takeStatic(a uint32) {
	p.leased++
	if e, ok := p.byAddr[a]; ok {
		p.forget(e)
	}
}

// giveBack marks a leased address of the pool as free.
func (p *pool) giveBack(a uint32, user string) {
	p.leased--
	p.byAddr[a] = p.history.PushBack(released{a, user})
	if user != "" {
		p.byUser[user] = a
	}
	if p.history.Len() > historyCap {
		p.forget(p.history.Front())
	}
}

func (p *pool) forget(e *list.Element) {
	r := p.history.Remove(e).(released)
	delete(p.byAddr, r.addr)
	if p.byUser[r.user] == r.addr {
		delete(p.byUser, r.user)
	}
}
