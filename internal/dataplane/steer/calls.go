package steer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// ShardBits is how many low bits of a call ID name its shard.
const ShardBits = 4

// MaxShards is the most shards that ShardBits can name.
const MaxShards = 1 << ShardBits

// CallsPerShard is how many call IDs carry the same shard.
const CallsPerShard = 1 << (16 - ShardBits)

// Where things stand in enhanced GRE, RFC 2637 section 4.1, from the end of the IP header.
const (
	greFlags    = 0
	greProtocol = 2
	greCallID   = 6

	protocolPPP = 0x880b
	// Key present and version 1 are what makes the call ID readable at greCallID.
	greKeyed     = 0x2001
	greKeyedMask = 0x2007
)

// Indexes of the counters.
const (
	countUnknown = iota
	countMalformed
	numCounts
)

// wholePacket is the verdict of a filter that keeps everything.
const wholePacket = 0xffff

// Calls is the filter of a shard's raw GRE socket: it lets pass what is for an open call of the shard. A forged packet
// with any other call ID ends here, at the price of a few instructions: it never wakes the shard.
type Calls struct {
	shard  int
	open   *ebpf.Map // by call ID without the shard bits: 1 if open
	counts *ebpf.Map
	prog   *ebpf.Program
}

// NewCalls loads the filter of shard, one of shards, with no call open. What has no readable call ID, or one of a shard
// that doesn't exist, is counted by shard 0; GRE that is not PPTP's isn't ours and isn't counted.
func NewCalls(shard, shards int) (*Calls, error) {
	c := &Calls{shard: shard}
	var err error
	if c.open, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "gre_calls", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: CallsPerShard,
	}); err != nil {
		return nil, fmt.Errorf("make map of calls: %w", err)
	}
	if c.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "gre_refused", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: numCounts,
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("make map of counters: %w", err), c.Close())
	}
	if c.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "gre_filter", Type: ebpf.SocketFilter, License: "Apache-2.0", Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1), // the loads want the packet in R6; it starts with the IP header
			asm.Mov.Imm(asm.R9, int32(shard)),
			asm.LoadAbs(0, asm.Byte),
			asm.And.Imm(asm.R0, 0xf),
			asm.LSh.Imm(asm.R0, 2),
			asm.Mov.Reg(asm.R7, asm.R0), // length of the IP header
			asm.LoadInd(asm.R0, asm.R7, greProtocol, asm.Half),
			asm.JNE.Imm(asm.R0, protocolPPP, "reject"),
			asm.LoadInd(asm.R0, asm.R7, greFlags, asm.Half),
			asm.And.Imm(asm.R0, greKeyedMask),
			asm.JNE.Imm(asm.R0, greKeyed, "malformed"),
			asm.LoadInd(asm.R0, asm.R7, greCallID, asm.Half),
			asm.Mov.Reg(asm.R8, asm.R0),
			asm.And.Imm(asm.R0, MaxShards-1),
			asm.JEq.Imm(asm.R0, int32(shard), "mine"),
			asm.JLT.Imm(asm.R0, int32(shards), "reject"),
			asm.JNE.Imm(asm.R9, 0, "reject"), // shard 0 counts for the shards that don't exist
			asm.Ja.Label("unknown"),

			asm.RSh.Imm(asm.R8, ShardBits).WithSymbol("mine"),
			asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word),
			asm.LoadMapPtr(asm.R1, c.open.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "reject"),
			asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
			asm.JEq.Imm(asm.R0, 0, "unknown"),
			asm.Mov.Imm(asm.R0, wholePacket),
			asm.Return(),

			asm.JNE.Imm(asm.R9, 0, "reject").WithSymbol("malformed"), // and all get a copy of these
			asm.Mov.Imm(asm.R8, countMalformed),
			asm.Ja.Label("count"),
			asm.Mov.Imm(asm.R8, countUnknown).WithSymbol("unknown"),
			asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word).WithSymbol("count"),
			asm.LoadMapPtr(asm.R1, c.counts.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "reject"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord), // several CPUs may receive at once

			asm.Mov.Imm(asm.R0, 0).WithSymbol("reject"),
			asm.Return(),
		},
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("load GRE filter: %w", err), c.Close())
	}
	return c, nil
}

// ProgramFD is the descriptor for SO_ATTACH_BPF; it stays the Calls'.
func (c *Calls) ProgramFD() int { return c.prog.FD() }

// Set opens or closes the way for a call ID of this shard.
func (c *Calls) Set(id uint16, open bool) error {
	if int(id)%MaxShards != c.shard {
		return fmt.Errorf("call %d is not of shard %d", id, c.shard)
	}
	value := uint32(0)
	if open {
		value = 1
	}
	if err := c.open.Put(uint32(id>>ShardBits), value); err != nil {
		return fmt.Errorf("set filter for call %d: %w", id, err)
	}
	return nil
}

// Refused returns how many packets were for no open call, and how many were malformed.
func (c *Calls) Refused() (unknown, malformed uint64, err error) {
	err = errors.Join(c.counts.Lookup(uint32(countUnknown), &unknown), c.counts.Lookup(uint32(countMalformed), &malformed))
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of GRE filter: %w", err)
	}
	return unknown, malformed, nil
}

// Close unloads the filter. A socket that still uses it keeps it alive.
func (c *Calls) Close() error {
	var errs []error
	if c.prog != nil {
		errs = append(errs, c.prog.Close())
	}
	if c.counts != nil {
		errs = append(errs, c.counts.Close())
	}
	return errors.Join(append(errs, c.open.Close())...)
}
