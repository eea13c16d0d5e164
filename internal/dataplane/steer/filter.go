package steer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// ShardBits is how many low bits of an ID name its shard.
const ShardBits = 4

// MaxShards is the most shards that ShardBits can name.
const MaxShards = 1 << ShardBits

// Indexes of the counters.
const (
	countUnknown = iota
	countMalformed
	numCounts
)

// wholePacket is the verdict of a filter that keeps everything.
const wholePacket = 0xffff

// license lets the programs call what they call; none of the helpers is for the GPL alone.
const license = "Apache-2.0"

// Filter is what stands before a shard's raw socket: it lets pass what is for an ID of the shard that is open. A forged
// packet with any other ends here, at the price of a few instructions: it never wakes the shard.
//
// What has no readable ID, or one of a shard that doesn't exist, is counted by shard 0, because every raw socket gets its
// own copy to look at.
type Filter struct {
	kind   kind
	shard  int
	open   *ebpf.Map
	counts *ebpf.Map
	prog   *ebpf.Program
}

// kind is what GRE and ESP differ in.
type kind struct {
	name string // of program and maps, for bpftool
	// ids is the map of open IDs.
	ids ebpf.MapSpec
	// load jumps to "malformed" or "reject", or leaves the ID in R8. R6 is the packet, from its IP header on, R7 the
	// header's length.
	load asm.Instructions
	// key makes the map's key of the ID in R8.
	key asm.Instructions
	// opened jumps to "unknown" when the map's value, at R0, says that the ID is not open.
	opened asm.Instructions
	// set does the same from outside.
	set func(m *ebpf.Map, id uint32, open bool) error
}

func newFilter(k kind, shard, shards int) (*Filter, error) {
	f := &Filter{kind: k, shard: shard}
	k.ids.Name = k.name + "_open"
	var err error
	if f.open, err = ebpf.NewMap(&k.ids); err != nil {
		return nil, fmt.Errorf("make map of %s IDs: %w", k.name, err)
	}
	if f.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: k.name + "_refused", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: numCounts,
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("make map of counters: %w", err), f.Close())
	}
	if f.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: k.name + "_filter", Type: ebpf.SocketFilter, License: license, Instructions: f.program(shards),
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("load %s filter: %w", k.name, err), f.Close())
	}
	return f, nil
}

func (f *Filter) program(shards int) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // the loads want the packet in R6; one that is too short ends the program with 0
		asm.Mov.Imm(asm.R9, int32(f.shard)),
		asm.LoadAbs(0, asm.Byte),
		asm.And.Imm(asm.R0, 0xf),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	p = append(p, f.kind.load...)
	p = append(
		p,
		asm.Mov.Reg(asm.R0, asm.R8),
		asm.And.Imm(asm.R0, MaxShards-1),
		asm.JEq.Imm(asm.R0, int32(f.shard), "mine"),
		asm.JLT.Imm(asm.R0, int32(shards), "reject"),
		asm.JNE.Imm(asm.R9, 0, "reject"), // shard 0 counts for the shards that don't exist
		asm.Ja.Label("unknown"),

		asm.Mov.Reg(asm.R0, asm.R8).WithSymbol("mine"),
	)
	p = append(p, f.kind.key...)
	p = append(
		p,
		asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word),
		asm.LoadMapPtr(asm.R1, f.open.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "unknown"),
	)
	p = append(p, f.kind.opened...)
	return append(
		p,
		asm.Mov.Imm(asm.R0, wholePacket),
		asm.Return(),

		asm.JNE.Imm(asm.R9, 0, "reject").WithSymbol("malformed"), // and all get a copy of these
		asm.Mov.Imm(asm.R8, countMalformed),
		asm.Ja.Label("count"),
		asm.Mov.Imm(asm.R8, countUnknown).WithSymbol("unknown"),
		asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word).WithSymbol("count"),
		asm.LoadMapPtr(asm.R1, f.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "reject"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord), // several CPUs may receive at once

		asm.Mov.Imm(asm.R0, 0).WithSymbol("reject"),
		asm.Return(),
	)
}

// ProgramFD is the descriptor for SO_ATTACH_BPF; it stays the Filter's.
func (f *Filter) ProgramFD() int { return f.prog.FD() }

// Set opens or closes the way for an ID of this shard. Closing one that is not open is no error.
func (f *Filter) Set(id uint32, open bool) error {
	if int(id%MaxShards) != f.shard {
		return fmt.Errorf("%s ID %#x is not of shard %d", f.kind.name, id, f.shard)
	}
	if err := f.kind.set(f.open, id, open); err != nil {
		return fmt.Errorf("set filter for %s ID %#x: %w", f.kind.name, id, err)
	}
	return nil
}

// Refused returns how many packets were for no open ID, and how many were malformed.
func (f *Filter) Refused() (unknown, malformed uint64, err error) {
	err = errors.Join(f.counts.Lookup(uint32(countUnknown), &unknown), f.counts.Lookup(uint32(countMalformed), &malformed))
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of %s filter: %w", f.kind.name, err)
	}
	return unknown, malformed, nil
}

// Close unloads the filter. A socket that still uses it keeps it alive.
func (f *Filter) Close() error {
	var errs []error
	if f.prog != nil {
		errs = append(errs, f.prog.Close())
	}
	if f.counts != nil {
		errs = append(errs, f.counts.Close())
	}
	return errors.Join(append(errs, f.open.Close())...)
}
