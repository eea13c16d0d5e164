package steer

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// maxPrefixes bounds the steering map of one device: addresses and framed routes of its sessions.
const maxPrefixes = 1 << 16

// IPv4 destination address, from the IP header on (RFC 791 section 3.1).
const ipDestination = 16

// Table steers what a TUN device reads from the kernel to one of its queues, by the longest inner prefix.
// A destination that is in no prefix, and whatever is not IPv4, comes to queue 0.
type Table struct {
	m    *ebpf.Map
	prog *ebpf.Program
}

// lpmKey is the key of a BPF_MAP_TYPE_LPM_TRIE over IPv4 addresses.
type lpmKey struct {
	Bits uint32
	Addr [4]byte
}

// NewTable loads an empty table into the kernel.
func NewTable() (*Table, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "inner_prefixes", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: maxPrefixes,
		Flags: unix.BPF_F_NO_PREALLOC, // a trie demands it
	})
	if err != nil {
		return nil, fmt.Errorf("make steering map: %w", err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tun_steer", Type: ebpf.SocketFilter, License: license, Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1), // LoadAbs wants the packet in R6
			asm.LoadAbs(0, asm.Byte),
			asm.RSh.Imm(asm.R0, 4),
			asm.JNE.Imm(asm.R0, 4, "none"),
			asm.LoadAbs(ipDestination, asm.Word),
			asm.HostTo(asm.BE, asm.R0, asm.Word),
			// The key: the address, of which all 32 bits count. The constant is stored last: Linux 6.1 refuses, from who has no more than
			// CAP_BPF, what is stored beside a constant in its eight octets.
			asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
			asm.StoreImm(asm.RFP, -8, 32, asm.Word),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "none"),
			asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
			asm.Return(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("none"),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load steering program: %w", err), m.Close())
	}
	return &Table{m: m, prog: prog}, nil
}

// ProgramFD is the descriptor for TUNSETSTEERINGEBPF; it stays the Table's.
func (t *Table) ProgramFD() int { return t.prog.FD() }

func keyOf(p netip.Prefix) (lpmKey, error) {
	if !p.Addr().Is4() || !p.IsValid() {
		return lpmKey{}, fmt.Errorf("%v is not an IPv4 prefix", p)
	}
	return lpmKey{Bits: uint32(p.Bits()), Addr: p.Masked().Addr().As4()}, nil
}

// Set steers p to queue.
func (t *Table) Set(p netip.Prefix, queue int) error {
	k, err := keyOf(p)
	if err == nil {
		err = t.m.Put(k, uint32(queue))
	}
	if err != nil {
		return fmt.Errorf("steer %v to queue %d: %w", p, queue, err)
	}
	return nil
}

// Unset forgets p; one that is not there is no error.
func (t *Table) Unset(p netip.Prefix) error {
	k, err := keyOf(p)
	if err == nil {
		err = t.m.Delete(k)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("stop steering %v: %w", p, err)
	}
	return nil
}

// Close unloads the table. A device that still uses the program keeps it alive.
func (t *Table) Close() error {
	return errors.Join(t.prog.Close(), t.m.Close())
}
