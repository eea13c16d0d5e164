package l2tpdata

import (
	"testing"

	"concentrator/internal/corpus"
)

func TestSequencer(t *testing.T) {
	type step struct {
		ns   uint16
		want Verdict
	}
	for _, tt := range []struct {
		name  string
		steps []step
		lost  uint64
	}{
		{"in order", []step{{0, OK}, {1, OK}, {2, OK}}, 0},
		{"repeated", []step{{0, OK}, {0, Late}, {1, OK}, {0, Late}, {1, Late}}, 0},
		{"one lost", []step{{0, OK}, {2, OK}, {3, OK}}, 1},
		{"one late", []step{{0, OK}, {2, OK}, {1, Late}, {3, OK}}, 1},
		{"doesn't begin at 0", []step{{5, OK}, {6, OK}}, 5},
		{"begins far from 0", []step{{40000, Far}, {40001, OK}, {40002, OK}}, 0},
		{"a jump at the start", []step{{1024, OK}, {1, Late}, {0, Far}, {1025, OK}}, 1024},
		{"wraps around", []step{{0x8000, Far}, {0x8001, OK}, {0x8001 + 1024 + 1, OK}, {0xffff, Far}, {0, OK}, {0xfffe, Late}, {1, OK}}, 1024},
		{"the farthest jump", []step{{0, OK}, {1 + farJump, OK}}, farJump},
		{"a jump too far", []step{{0, OK}, {2 + farJump, Far}, {1, OK}, {2, OK}}, 0},
		{"confirmed", []step{{0, OK}, {5000, Far}, {5001, OK}, {5002, OK}, {5000, Late}}, 0},
		{"confirmed later", []step{{0, OK}, {5000, Far}, {5002, Far}, {5003, OK}}, 0},
		{"only in a row", []step{{0, OK}, {5000, Far}, {1, OK}, {5001, Far}, {2, OK}}, 0},
		{"the same once more", []step{{0, OK}, {5000, Far}, {5000, Far}, {1, OK}}, 0},
		{"started again", []step{{30000, Far}, {30001, OK}, {0, Far}, {1, OK}, {2, OK}, {0, Late}}, 0},
		{"the farthest late", []step{{9000, Far}, {9001, OK}, {9002 - farJump, Late}, {9001 - farJump, Far}, {9002, OK}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Sequencer
			for i, st := range tt.steps {
				if got := s.Accept(st.ns); got != st.want {
					t.Fatalf("step %d: Ns %d is %v, want %v", i, st.ns, got, st.want)
				}
			}
			if s.Lost() != tt.lost {
				t.Errorf("%d lost, want %d", s.Lost(), tt.lost)
			}
		})
	}
}

// TestSequencerLong sends three times around through a link that loses and repeats: all that is not lost is delivered, once.
func TestSequencerLong(t *testing.T) {
	var out, in Sequencer
	sent, delivered, lost := 0, 0, uint64(0)
	for i := range 200000 {
		ns := out.next()
		if i%17 == 5 || i%1000 < 30 {
			lost++
			continue
		}
		sent++
		if in.Accept(ns) == OK {
			delivered++
		}
		if i%3 == 0 && in.Accept(ns) != Late {
			t.Fatalf("Ns %d is delivered again", ns)
		}
	}
	if delivered != sent || in.Lost() != lost {
		t.Errorf("%d of %d delivered, %d of %d counted as lost", delivered, sent, in.Lost(), lost)
	}
}

// FuzzSequencerEvents: what is delivered goes forward, but for a jump that two in a row have made.
func FuzzSequencerEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 0, 0, 1, 0, 3, 0, 2})
	f.Add([]byte{0, 0, 0x40, 0, 0x40, 1, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Sequencer
		last, lastVerdict := uint16(0), OK
		for ; len(in) >= 2; in = in[2:] {
			ns, expected := uint16(in[0])<<8|uint16(in[1]), s.expected
			v := s.Accept(ns)
			ahead := int(int16(ns - expected))
			near := ahead >= -farJump && ahead <= farJump
			switch {
			case v == Late && (!near || ahead >= 0),
				v == Far && near,
				v == OK && !near && (lastVerdict == OK || ns != last+1),
				v == OK && near && ahead < 0:
				t.Fatalf("Ns %d is %v, expected is %d, before it came %d", ns, v, expected, last)
			case v == OK && s.expected != ns+1, v != OK && s.expected != expected:
				t.Fatalf("after Ns %d, %v: expected is %d", ns, v, s.expected)
			}
			if v != Late {
				last, lastVerdict = ns, v
			}
		}
	})
}
