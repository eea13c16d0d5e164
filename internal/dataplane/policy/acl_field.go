package policy

import (
	"math"
	"slices"
)

// aclFan is how many ways a step of the search for an address goes. Each step waits for the one before, and with four there
// are half as many as with two.
const aclFan = 4

// aclNode is the last addresses of its first three ways; behind the third one the fourth begins.
type aclNode [aclFan - 1]uint32

// aclAddresses tells the row of an address.
type aclAddresses struct {
	steps [][]aclNode // the first has one node, each of the others up to one for each way of the step before
	rows  []uint16    // one for each way of the last step that exists
}

// row searches without a branch that depends on the address: a wrong guess costs more than a step.
func (f *aclAddresses) row(addr uint32) uint16 {
	at := uint(0)
	for _, step := range f.steps {
		n := &step[at]
		at = at*aclFan + behind(addr, n[0]) + behind(addr, n[1]) + behind(addr, n[2])
	}
	return f.rows[at]
}

// behind is 1 if addr > last, else 0.
func behind(addr, last uint32) uint { return uint((uint64(last) - uint64(addr)) >> 63) }

// newACLAddresses takes the addresses at which another row begins, in order, the first being 0, and these rows.
func newACLAddresses(starts []uint32, rows []uint16) aclAddresses {
	f := aclAddresses{rows: rows}
	for len(starts) > 1 {
		var step []aclNode
		var upper []uint32
		for ways := range slices.Chunk(starts, aclFan) {
			n := aclNode{math.MaxUint32, math.MaxUint32, math.MaxUint32} // no address is behind a way that does not exist
			for i, start := range ways[1:] {
				n[i] = start - 1
			}
			step, upper = append(step, n), append(upper, ways[0])
		}
		f.steps = append(f.steps, slices.Clip(step))
		starts = upper
	}
	slices.Reverse(f.steps)
	return f
}

// aclPorts tells the row of a port by two looks: the upper octet finds a block, the lower one the row in it.
type aclPorts struct {
	block  [256]uint8
	blocks [][256]uint16
}

func (f *aclPorts) row(port uint16) uint16 {
	return f.blocks[f.block[port>>8]][port&0xff]
}
