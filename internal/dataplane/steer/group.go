package steer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Group steers what comes to one UDP address and port to the socket of the right shard. All its sockets have SO_REUSEPORT
// and are bound to that address; the program is attached to one of them with SO_ATTACH_REUSEPORT_EBPF.
type Group struct {
	sockets *ebpf.Map // by shard
	prog    *ebpf.Program
}

// Where the payload starts, from what the program is given: the UDP header (RFC 768).
const udpPayload = 8

// What the program returns. Passing without having chosen a socket leaves the choice to the kernel, which takes the same
// one for the same addresses and ports.
const skPass = 1

// Where things stand in an L2TP header, RFC 2661 section 3.1, from the payload on. The IDs come behind the flags, and two
// octets later when there is a length.
const (
	l2tpIDs      = 2
	l2tpLenField = 2

	l2tpVersion     = 2
	l2tpVersionMask = 0x0f
	l2tpControl     = 0x80 // of the first octet
	l2tpHasLength   = 0x40
)

// NewNATTGroup steers port 4500: ESP to the shard in its SPI's low bits (shard 0 if there is no such shard), IKE and
// keepalives (RFC 3948 section 2) to any.
func NewNATTGroup(shards int) (*Group, error) {
	p := loadPayload(0, 4)
	p = append(
		p,
		asm.LoadMem(asm.R0, asm.RFP, -4, asm.Word),
		asm.JEq.Imm(asm.R0, 0, "any"), // the non-ESP marker
		asm.LoadMem(asm.R0, asm.RFP, -1, asm.Byte),
	)
	return newGroup("natt", p, shards)
}

// NewL2TPGroup steers port 1701: data messages to the shard in their session ID's low bits, so that one tunnel fills all
// shards, control messages to that in their tunnel ID's (shard 0 if there is no such shard), the first one of a tunnel, which
// has none yet, and what is not L2TP to any.
func NewL2TPGroup(shards int) (*Group, error) {
	p := loadPayload(0, 2)
	p = append(
		p,
		asm.LoadMem(asm.R0, asm.RFP, -3, asm.Byte),
		asm.And.Imm(asm.R0, l2tpVersionMask),
		asm.JNE.Imm(asm.R0, l2tpVersion, "any"),
		asm.LoadMem(asm.R7, asm.RFP, -4, asm.Byte),
		asm.Mov.Imm(asm.R8, udpPayload+l2tpIDs),
		asm.Mov.Reg(asm.R0, asm.R7),
		asm.And.Imm(asm.R0, l2tpHasLength),
		asm.JEq.Imm(asm.R0, 0, "ids"),
		asm.Add.Imm(asm.R8, l2tpLenField),

		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("ids"),
		asm.Mov.Reg(asm.R2, asm.R8),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 4),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "any"),
		asm.LoadMem(asm.R0, asm.RFP, -1, asm.Byte), // session ID
		asm.And.Imm(asm.R7, l2tpControl),
		asm.JEq.Imm(asm.R7, 0, "choose"),
		asm.LoadMem(asm.R0, asm.RFP, -4, asm.Half), // tunnel ID
		asm.JEq.Imm(asm.R0, 0, "any"),
		asm.LoadMem(asm.R0, asm.RFP, -3, asm.Byte),
	)
	return newGroup("l2tp", p, shards)
}

// loadPayload starts a program: n octets of the payload, from offset on, to the stack at -4. What is shorter goes to any
// shard.
func loadPayload(offset, n int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, udpPayload+offset),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "any"),
	}
}

// newGroup loads a program that has the last octet of an ID in R0 where p ends.
func newGroup(name string, p asm.Instructions, shards int) (*Group, error) {
	g := &Group{}
	var err error
	if g.sockets, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: name + "_sockets", Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(shards),
	}); err != nil {
		return nil, fmt.Errorf("make map of %s sockets: %w", name, err)
	}
	p = append(
		p,
		asm.And.Imm(asm.R0, MaxShards-1).WithSymbol("choose"),
		asm.JLT.Imm(asm.R0, int32(shards), "exists"),
		asm.Mov.Imm(asm.R0, 0),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word).WithSymbol("exists"),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, g.sockets.FD()),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(),
		asm.Mov.Imm(asm.R0, skPass).WithSymbol("any"),
		asm.Return(),
	)
	if g.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name + "_steer", Type: ebpf.SkReuseport, AttachType: ebpf.AttachSkReuseportSelect, License: license,
		Instructions: p,
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("load %s steering: %w", name, err), g.Close())
	}
	return g, nil
}

// Set makes the socket fd, which must be bound already, that of shard.
func (g *Group) Set(shard, fd int) error {
	if err := g.sockets.Put(uint32(shard), uint64(fd)); err != nil {
		return fmt.Errorf("steer to socket of shard %d: %w", shard, err)
	}
	return nil
}

// ProgramFD is the descriptor for SO_ATTACH_REUSEPORT_EBPF; it stays the Group's.
func (g *Group) ProgramFD() int { return g.prog.FD() }

// Close lets go of program and map. The sockets that they are attached to keep them alive.
func (g *Group) Close() error {
	var err error
	if g.prog != nil {
		err = g.prog.Close()
	}
	return errors.Join(err, g.sockets.Close())
}
