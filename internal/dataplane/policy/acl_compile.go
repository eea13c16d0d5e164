package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"concentrator/internal/tenant"
)

// Compile makes rules fit for packets; nil, which stands for "everything passes", if there are none. The error is
// tenant.CheckACL's. A small ACL takes half a millisecond, one as large as may be some tens; they keep some kilobytes
// and up to 6 MB.
func Compile(rules []tenant.ACLRule) (*ACL, error) {
	if err := tenant.CheckACL(rules); err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, nil
	}
	return &ACL{up: compileWay(rules, tenant.ACLUp), down: compileWay(rules, tenant.ACLDown)}, nil
}

// compileWay makes the table of one direction; nil if no rule is for it.
func compileWay(all []tenant.ACLRule, way tenant.ACLDirection) *aclTable {
	var rules []*tenant.ACLRule
	for i := range all {
		if r := &all[i]; r.Direction == way || r.Direction == tenant.ACLBoth {
			rules = append(rules, r)
		}
	}
	if len(rules) == 0 {
		return nil
	}
	c := aclCompiler{table: &aclTable{}, known: map[aclRow]uint16{}, rules: rules}
	t := c.table
	t.sources = c.addresses(func(r *tenant.ACLRule) []netip.Prefix { return r.Sources })
	t.destinations = c.addresses(func(r *tenant.ACLRule) []netip.Prefix { return r.Destinations })
	t.sourcePorts = c.ports(func(r *tenant.ACLRule) []tenant.PortRange { return r.SourcePorts })
	t.destinationPorts = c.ports(func(r *tenant.ACLRule) []tenant.PortRange { return r.DestinationPorts })
	c.protocols()
	noPorts := c.set(func(r *tenant.ACLRule) bool { return !r.HasPorts() })
	t.noPorts = c.row(&noPorts)
	t.permit = c.set(func(r *tenant.ACLRule) bool { return r.Action == tenant.ACLPermit })
	t.rows, t.notEmpty = slices.Clip(t.rows), slices.Clip(t.notEmpty)
	return t
}

// aclCompiler makes a table whose rows are all different. There are fewer than 65536: each comes from where a prefix or a
// range begins or ends (tenant.MaxACLTerms), or from a protocol.
type aclCompiler struct {
	table *aclTable
	known map[aclRow]uint16
	rules []*tenant.ACLRule
}

// row is the index of a row.
func (c *aclCompiler) row(r *aclRow) uint16 {
	if i, ok := c.known[*r]; ok {
		return i
	}
	i := uint16(len(c.table.rows))
	var notEmpty uint16
	for w, word := range r {
		if word != 0 {
			notEmpty |= 1 << w
		}
	}
	c.known[*r] = i
	c.table.rows = append(c.table.rows, *r)
	c.table.notEmpty = append(c.table.notEmpty, notEmpty)
	return i
}

// set is the rules for which f is true.
func (c *aclCompiler) set(f func(*tenant.ACLRule) bool) aclRow {
	var r aclRow
	for i, rule := range c.rules {
		if f(rule) {
			r[i/64] |= 1 << (i % 64)
		}
	}
	return r
}

// protocols gives each protocol the rules that name it and those that name none.
func (c *aclCompiler) protocols() {
	var rows [256]aclRow
	for i, r := range c.rules {
		number, any, _ := tenant.ParseACLProtocol(r.Protocol) // checked
		for n := range rows {
			if any || n == int(number) {
				rows[n][i/64] |= 1 << (i % 64)
			}
		}
	}
	for n := range rows {
		c.table.protocols[n] = c.row(&rows[n])
	}
}

// aclEdge is where a range of one rule begins or, just behind it, ends.
type aclEdge struct {
	at   uint64
	rule int
	more int // 1 or -1
}

// sweep calls each with every value at which another row begins, in order, the first being 0, and with that row.
func (c *aclCompiler) sweep(edges []aclEdge, each func(at uint64, row uint16)) {
	slices.SortFunc(edges, func(a, b aclEdge) int { return cmp.Compare(a.at, b.at) })
	// A rule without a range of its own agrees with every value.
	depth := make([]int, len(c.rules)) // ranges of one rule may overlap
	limited := make([]bool, len(c.rules))
	for _, e := range edges {
		limited[e.rule] = true
	}
	var row aclRow
	for i := range c.rules {
		if !limited[i] {
			row[i/64] |= 1 << (i % 64)
		}
	}
	last := -1
	for at := uint64(0); ; {
		for len(edges) > 0 && edges[0].at == at {
			e := edges[0]
			edges = edges[1:]
			depth[e.rule] += e.more
			if bit := uint64(1) << (e.rule % 64); depth[e.rule] > 0 {
				row[e.rule/64] |= bit
			} else {
				row[e.rule/64] &^= bit
			}
		}
		if i := c.row(&row); int(i) != last {
			last = int(i)
			each(at, i)
		}
		if len(edges) == 0 {
			return
		}
		at = edges[0].at
	}
}

func (c *aclCompiler) addresses(of func(*tenant.ACLRule) []netip.Prefix) aclAddresses {
	var edges []aclEdge
	for i, r := range c.rules {
		for _, p := range of(r) {
			a := p.Addr().As4()
			first := uint64(binary.BigEndian.Uint32(a[:]))
			edges = append(edges, aclEdge{first, i, 1}, aclEdge{first + 1<<(32-p.Bits()), i, -1})
		}
	}
	var starts []uint32
	var rows []uint16
	c.sweep(edges, func(at uint64, row uint16) {
		if at < 1<<32 {
			starts, rows = append(starts, uint32(at)), append(rows, row)
		}
	})
	return newACLAddresses(starts, rows)
}

func (c *aclCompiler) ports(of func(*tenant.ACLRule) []tenant.PortRange) aclPorts {
	var edges []aclEdge
	for i, r := range c.rules {
		for _, p := range of(r) {
			edges = append(edges, aclEdge{uint64(p.First), i, 1}, aclEdge{uint64(p.Last) + 1, i, -1})
		}
	}
	all := make([]uint16, 1<<16)
	from, now := uint64(0), uint16(0)
	fill := func(at uint64, next uint16) {
		for i := from; i < at; i++ {
			all[i] = now
		}
		from, now = at, next
	}
	c.sweep(edges, fill)
	fill(uint64(len(all)), 0)
	var f aclPorts
	known := map[[256]uint16]uint8{}
	for i := range f.block {
		block := [256]uint16(all[i*256:])
		n, ok := known[block]
		if !ok {
			n = uint8(len(f.blocks))
			known[block] = n
			f.blocks = append(f.blocks, block)
		}
		f.block[i] = n
	}
	return f
}
