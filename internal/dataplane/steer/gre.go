package steer

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// callsPerShard is how many call IDs carry the same shard.
const callsPerShard = 1 << (16 - ShardBits)

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

// greCalls filters by call ID. All call IDs of a shard fit an array, which costs nothing to look up.
var greCalls = kind{
	name: "gre",
	ids:  ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: callsPerShard},
	load: asm.Instructions{
		asm.LoadInd(asm.R0, asm.R7, greProtocol, asm.Half),
		asm.JNE.Imm(asm.R0, protocolPPP, "reject"),
		asm.LoadInd(asm.R0, asm.R7, greFlags, asm.Half),
		asm.And.Imm(asm.R0, greKeyedMask),
		asm.JNE.Imm(asm.R0, greKeyed, "malformed"),
		asm.LoadInd(asm.R0, asm.R7, greCallID, asm.Half),
		asm.Mov.Reg(asm.R8, asm.R0),
	},
	key: asm.Instructions{asm.RSh.Imm(asm.R8, ShardBits)},
	opened: asm.Instructions{
		asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
		asm.JEq.Imm(asm.R0, 0, "unknown"),
	},
	set: func(m *ebpf.Map, id uint32, open bool) error {
		if id > 0xffff {
			return fmt.Errorf("a call ID has 16 bits")
		}
		value := uint32(0)
		if open {
			value = 1
		}
		return m.Put(id>>ShardBits, value)
	},
}

// NewGRE loads the filter for call IDs of shard, one of shards, with none open. GRE that is not PPTP's isn't ours and isn't
// counted.
func NewGRE(shard, shards int) (*Filter, error) { return newFilter(greCalls, shard, shards) }
