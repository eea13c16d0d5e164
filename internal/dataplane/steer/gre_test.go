package steer

import (
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run interprets the few instructions that GREFilter uses, as the kernel does: a load past the end rejects.
func run(t *testing.T, prog []unix.SockFilter, pkt []byte) uint32 {
	t.Helper()
	var a, x uint32
	for pc := 0; pc < len(prog); pc++ {
		ins := prog[pc]
		switch ins.Code {
		case unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH:
			if len(pkt) <= int(ins.K) {
				return 0
			}
			x = uint32(pkt[ins.K]&0xf) * 4
		case unix.BPF_LD | unix.BPF_H | unix.BPF_IND:
			at := int(x + ins.K)
			if at+2 > len(pkt) {
				return 0
			}
			a = uint32(pkt[at])<<8 | uint32(pkt[at+1])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= ins.K
		case unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K:
			a %= ins.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == ins.K {
				pc += int(ins.Jt)
			} else {
				pc += int(ins.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return ins.K
		default:
			t.Fatalf("instruction %d has code %#x", pc, ins.Code)
		}
	}
	t.Fatal("ran off the end")
	return 0
}

const (
	ip20 = "4500002400000000402f0000c6336402c6336401"
	ip24 = "4600002800000000402f0000c6336402c633640101010100"
)

func TestGREFilter(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet string
		shards int
		want   int // the one shard that takes it; -1: none
	}{
		{"data, shard 0", ip20 + "3001880b000400100000000000000000", 4, 0},
		{"data, shard 3", ip20 + "3001880b000400130000000000000000", 4, 3},
		{"ack only", ip20 + "2081880b0000ff2200000001", 4, 2},
		{"IP options", ip24 + "3001880b000400110000000000000000", 4, 1},
		{"no such shard is spread", ip20 + "3001880b0004001d0000000000000000", 4, 1},
		{"one shard takes all", ip20 + "3001880b0004001d0000000000000000", 1, 0},
		{"sixteen shards", ip20 + "3001880b0004001f0000000000000000", 16, 15},
		{"no key goes to shard 0", ip20 + "1001880b0004001300000000", 4, 0},
		{"version 0 goes to shard 0", ip20 + "3000880b0004001300000000", 4, 0},
		{"plain GRE is not ours", ip20 + "0000080045000000", 4, -1},
		{"cut before the call ID", ip20 + "3001880b0004", 4, -1},
		{"only an IP header", ip20, 4, -1},
		{"empty", "", 4, -1},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			pkt, err := hex.DecodeString(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			for shard := range c.shards {
				got := run(t, GREFilter(shard, c.shards), pkt) != 0
				if got != (shard == c.want) {
					t.Errorf("shard %d accepts: %v", shard, got)
				}
			}
		})
	}
}
