package esp

import (
	"math/rand/v2"
	"testing"
)

// TestWindow is the table of the replay window.
func TestWindow(t *testing.T) {
	type step struct {
		seq  uint64
		want bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{1, true}, {2, true}, {3, true}, {3, false}, {1, false}}},
		{"0 never", []step{{0, false}, {1, true}, {0, false}}},
		{"out of order", []step{{5, true}, {3, true}, {4, true}, {3, false}, {5, false}, {1, true}, {2, true}}},
		{"the oldest", []step{{windowSize + 100, true}, {101, true}, {101, false}, {100, false}, {99, false}}},
		{"within one block", []step{{64, true}, {127, true}, {65, true}, {126, true}, {64, false}, {127, false}}},
		{"forget when moving on", []step{{1, true}, {1 + 64*windowBlocks, true}, {64 * windowBlocks, true}, {1 + 64, false}, {2 + 64, true}}},
		{"a jump over the whole ring", []step{{1, true}, {1 << 40, true}, {1<<40 - windowSize + 1, true}, {1<<40 - windowSize, false}, {1<<40 - 1, true}, {1 << 40, false}}},
		{"a jump of exactly the ring", []step{{63, true}, {62, true}, {63 + 64*windowBlocks, true}, {62 + 64*windowBlocks, true}, {63, false}, {62, false}}},
		{"to the end", []step{{1<<64 - 1, true}, {1<<64 - 1, false}, {1<<64 - 2, true}, {1<<64 - windowSize, true}, {1<<64 - 1 - windowSize, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			for i, s := range tt.steps {
				if got := w.fresh(s.seq); got != s.want {
					t.Fatalf("step %d: %d is fresh: %t", i, s.seq, got)
				}
				if s.want {
					w.accept(s.seq)
				}
			}
		})
	}
}

// TestWindowSize: the issue asks for 1024.
func TestWindowSize(t *testing.T) {
	if windowSize < 1024 {
		t.Errorf("%d", windowSize)
	}
}

// TestWindowModel compares the ring with a set, over jumps of all sizes.
func TestWindowModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		var w window
		seen := map[uint64]bool{}
		top := uint64(0)
		for range 5000 {
			var seq uint64
			switch rng.Uint32N(20) {
			case 0:
				seq = top + rng.Uint64N(4*windowSize)
			case 1, 2, 3, 4:
				seq = top + rng.Uint64N(100)
			default:
				seq = top + 1 - min(top+1, rng.Uint64N(windowSize+200))
			}
			want := seq != 0 && !seen[seq] && (seq > top || top-seq < windowSize)
			if got := w.fresh(seq); got != want {
				t.Fatalf("%d with top %d is fresh: %t", seq, top, got)
			}
			if want {
				w.accept(seq)
				seen[seq] = true
				top = max(top, seq)
			}
		}
	}
}

// TestExtend is RFC 4303 appendix A2.2: where a number of 32 bits belongs.
func TestExtend(t *testing.T) {
	const w = windowSize
	for _, tt := range []struct {
		name string
		top  uint64
		low  uint32
		want uint64
	}{
		{"the first", 0, 1, 1},
		{"far ahead at the start", 0, 0x80000000, 0x80000000},
		{"before the start", 0, 0xffffffff, 0},
		{"the last before the start", 0, 0xffffffff - w + 2, 0},
		{"not yet before the start", 0, 0xffffffff - w + 1, 0xffffffff - w + 1},
		{"case A, in the window", 5000, 4990, 4990},
		{"case A, at its bottom", 5000, 5000 - w + 1, 5000 - w + 1},
		{"case A, below it", 5000, 5000 - w, 1<<32 + 5000 - w},
		{"case A, ahead", 5000, 9000, 9000},
		{"case A, where it begins", w - 1, 0, 0},
		{"case A, next subspace", 0x2_ffffff00, 5, 0x3_00000005},
		{"case A, the end", 0x2_ffffffff, 0, 0x3_00000000},
		{"case B, in the window", 0x3_00000005, 3, 0x3_00000003},
		{"case B, ahead", 0x3_00000005, 0x70000000, 0x3_70000000},
		{"case B, subspace before", 0x3_00000005, 0xffffff00, 0x2_ffffff00},
		{"case B, at its bottom", 0x3_00000005, 0xffffffff - w + 1 + 6, 0x3_00000005 - w + 1},
		{"case B, below it", 0x3_00000005, 0xffffffff - w + 6, 0x3_00000005 - w + 1<<32},
		{"case B, its last", 0x3_00000000 + w - 2, 0xffffffff, 0x2_ffffffff},
		{"case A again", 0x3_00000000 + w - 1, 0xffffffff, 0x3_ffffffff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := window{top: tt.top}
			if got := v.extend(tt.low); got != tt.want {
				t.Errorf("%#x, want %#x", got, tt.want)
			}
		})
	}
}

// TestExtendNearest: the result is always the number with these low bits that lies in the window or first above it.
func TestExtendNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200000 {
		top := rng.Uint64N(1 << 34)
		if rng.Uint32N(2) == 0 {
			top = top&^0xffffffff + rng.Uint64N(3*windowSize)
		}
		seq := top + rng.Uint64N(1<<32-windowSize) + 1
		if rng.Uint32N(2) == 0 {
			seq = top - min(top, rng.Uint64N(windowSize))
		}
		w := window{top: top}
		if got := w.extend(uint32(seq)); got != seq {
			t.Fatalf("top %#x: %#x is taken for %#x", top, seq, got)
		}
	}
}
