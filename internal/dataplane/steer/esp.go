package steer

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// maxSPIs bounds the open SPIs of one shard in one namespace.
const maxSPIs = 1 << 16

// minSPI is the lowest SPI that isn't reserved, RFC 4303 section 2.1.
const minSPI = 256

// espSPIs filters by SPI, the first word of an ESP packet (RFC 4303 section 2).
var espSPIs = kind{
	name: "esp",
	ids: ebpf.MapSpec{
		Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: maxSPIs,
		Flags: unix.BPF_F_NO_PREALLOC, // a few thousand are used
	},
	load: asm.Instructions{
		asm.LoadInd(asm.R0, asm.R7, 0, asm.Word),
		asm.JLT.Imm(asm.R0, minSPI, "malformed"),
		asm.Mov.Reg(asm.R8, asm.R0),
	},
	set: func(m *ebpf.Map, id uint32, open bool) error {
		if open {
			return m.Put(id, uint32(1))
		}
		if err := m.Delete(id); !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	},
}

// NewESP loads the filter for SPIs of shard, one of shards, with none open.
func NewESP(shard, shards int) (*Filter, error) { return newFilter(espSPIs, shard, shards) }
