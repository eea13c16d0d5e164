package dataplane

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// entry is what an inner prefix leads to.
type entry struct {
	net   *network
	shard int   // that owns the session
	call  *call // on that shard; nil on the others
}

// prefixes finds the entry of the longest prefix that an inner IPv4 address is in. It belongs to one shard; looking up
// neither allocates nor locks.
type prefixes struct {
	lengths uint64 // bit n: some prefix is n bits long
	byLen   [33]map[uint32]*entry

	// What was found last, nil for nothing: packets come in trains.
	known bool
	addr  uint32
	found *entry
}

// hostOrder is a as a number.
func hostOrder(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func maskOf(length int) uint32 { return uint32(0xffffffff << (32 - length)) }

func (t *prefixes) lookup(addr uint32) *entry {
	if !t.known || t.addr != addr {
		t.known, t.addr, t.found = true, addr, t.search(addr)
	}
	return t.found
}

func (t *prefixes) search(addr uint32) *entry {
	for left := t.lengths; left != 0; {
		n := bits.Len64(left) - 1
		if e := t.byLen[n][addr&maskOf(n)]; e != nil {
			return e
		}
		left &^= 1 << n
	}
	return nil
}

// forget is for when what was found may be another now.
func (t *prefixes) forget() { t.known, t.found = false, nil }

func (t *prefixes) set(p netip.Prefix, e *entry) {
	t.forget()
	n := p.Bits()
	if t.byLen[n] == nil {
		t.byLen[n] = map[uint32]*entry{}
	}
	t.byLen[n][hostOrder(p.Masked().Addr())] = e
	t.lengths |= 1 << n
}

// unset removes p.
func (t *prefixes) unset(p netip.Prefix) {
	t.forget()
	n := p.Bits()
	delete(t.byLen[n], hostOrder(p.Masked().Addr()))
	if len(t.byLen[n]) == 0 {
		t.lengths &^= 1 << n
	}
}

// unsetNetwork removes all that leads to net.
func (t *prefixes) unsetNetwork(net *network) {
	t.forget()
	for n, m := range t.byLen {
		for addr, e := range m {
			if e.net == net {
				delete(m, addr)
			}
		}
		if len(m) == 0 {
			t.lengths &^= 1 << n
		}
	}
}
