package steer

import (
	"encoding/hex"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatal("CONCENTRATOR_REAL=1, but not root: BPF programs can't be loaded")
	}
	t.Skip("needs root to load BPF programs")
}

const (
	ip20 = "4500002400000000402f0000c6336402c6336401"
	ip24 = "4600002800000000402f0000c6336402c633640101010100"
)

// TestGRE runs the loaded filters on packets through the kernel's own test run.
func TestGRE(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name   string
		packet string
		shards int
		want   int // the one shard that takes it; -1: none
		counts int // the one shard that counts it; -1: none
		which  int
	}{
		{"data, shard 0", ip20 + "3001880b000400100000000000000000", 4, 0, -1, 0},
		{"data, shard 3", ip20 + "3001880b000400130000000000000000", 4, 3, -1, 0},
		{"ack only", ip20 + "2081880b0000ff2200000001", 4, 2, -1, 0},
		{"IP options", ip24 + "3001880b000400110000000000000000", 4, 1, -1, 0},
		{"a closed call", ip20 + "3001880b000400210000000000000000", 4, -1, 1, countUnknown},
		{"the last call", ip20 + "3001880b0004fff10000000000000000", 4, -1, 1, countUnknown},
		{"call 0", ip20 + "3001880b000400000000000000000000", 4, -1, 0, countUnknown},
		{"no such shard", ip20 + "3001880b0004001d0000000000000000", 4, -1, 0, countUnknown},
		{"sixteen shards", ip20 + "3001880b0004001f0000000000000000", 16, 15, -1, 0},
		{"no key", ip20 + "1001880b0004001300000000", 4, -1, 0, countMalformed},
		{"version 0", ip20 + "3000880b0004001300000000", 4, -1, 0, countMalformed},
		{"plain GRE is not ours", ip20 + "0000080045000000", 4, -1, -1, 0},
		{"cut before the call ID", ip20 + "3001880b0004", 4, -1, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkt, err := hex.DecodeString(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			for shard := range c.shards {
				filter, err := NewGRE(shard, c.shards)
				if err != nil {
					t.Fatal(err)
				}
				for _, id := range []int{0x10 | shard, 0xff20 | shard} {
					if err := filter.Set(uint32(id), true); err != nil {
						t.Fatal(err)
					}
				}
				if err := filter.Set(uint32(0x10|shard^1), true); err == nil {
					t.Error("takes another shard's call")
				}
				// The test run wants an Ethernet header and hides it from socket filters.
				got, err := filter.prog.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), pkt...)})
				if err != nil {
					t.Fatal(err)
				}
				if (got != 0) != (shard == c.want) {
					t.Errorf("shard %d gives %d", shard, got)
				}
				var n [numCounts]uint64
				if n[countUnknown], n[countMalformed], err = filter.Refused(); err != nil {
					t.Fatal(err)
				}
				var want [numCounts]uint64
				if shard == c.counts {
					want[c.which] = 1
				}
				if n != want {
					t.Errorf("shard %d counts %v, want %v", shard, n, want)
				}
				for _, id := range []int{0x10 | shard, 0xff20 | shard} {
					if err := filter.Set(uint32(id), false); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := filter.prog.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), pkt...)}); err != nil || got != 0 {
					t.Errorf("shard %d, after all calls closed: %d, %v", shard, got, err)
				}
				if err := filter.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestESP does the same with the filter for SPIs.
func TestESP(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name   string
		packet string
		shards int
		want   int // the one shard that takes it; -1: none
		counts int // the one shard that counts it; -1: none
		which  int
	}{
		{"shard 0", ip20 + "0000010000000001", 4, 0, -1, 0},
		{"shard 3", ip20 + "fffffff300000001", 4, 3, -1, 0},
		{"IP options", ip24 + "fffffff100000001", 4, 1, -1, 0},
		{"sixteen shards", ip20 + "ffffffff00000001", 16, 15, -1, 0},
		{"a closed SPI", ip20 + "0012345100000001", 4, -1, 1, countUnknown},
		{"no such shard", ip20 + "fffffffd00000001", 4, -1, 0, countUnknown},
		{"a reserved SPI", ip20 + "000000f100000001", 4, -1, 0, countMalformed},
		{"SPI 0", ip20 + "0000000000000001", 4, -1, 0, countMalformed},
		{"cut in the SPI", ip20 + "ffffff", 4, -1, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkt, err := hex.DecodeString(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			for shard := range c.shards {
				filter, err := NewESP(shard, c.shards)
				if err != nil {
					t.Fatal(err)
				}
				open := []uint32{0x100 | uint32(shard), 0xfffffff0 | uint32(shard)}
				for _, spi := range open {
					if err := filter.Set(spi, true); err != nil {
						t.Fatal(err)
					}
				}
				if err := filter.Set(0xfffffff0|uint32(shard^1), true); err == nil {
					t.Error("takes another shard's SPI")
				}
				got, err := filter.prog.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), pkt...)})
				if err != nil {
					t.Fatal(err)
				}
				if (got != 0) != (shard == c.want) {
					t.Errorf("shard %d gives %d", shard, got)
				}
				var n, want [numCounts]uint64
				if n[countUnknown], n[countMalformed], err = filter.Refused(); err != nil {
					t.Fatal(err)
				}
				if shard == c.counts {
					want[c.which] = 1
				}
				if n != want {
					t.Errorf("shard %d counts %v, want %v", shard, n, want)
				}
				for range 2 { // the second time there is nothing to close
					for _, spi := range open {
						if err := filter.Set(spi, false); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got, err := filter.prog.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), pkt...)}); err != nil || got != 0 {
					t.Errorf("shard %d, after all SPIs closed: %d, %v", shard, got, err)
				}
				if err := filter.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
