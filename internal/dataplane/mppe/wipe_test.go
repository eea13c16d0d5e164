package mppe

import (
	"bytes"
	"testing"
	"unsafe"

	"concentrator/internal/dataplane/pktbuf"
)

// octets is the memory of a value.
func octets[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// TestWipe sends packets one by one and in groups, in both modes, and then looks for every key that was used.
func TestWipe(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Params
	}{
		{"128 bits", Params{Bits: 128}},
		{"40 bits", Params{Bits: 40}},
		{"128 bits, stateful", Params{Bits: 128, Stateful: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.StartKey = startKey(t, "8b7cdc149b993a1ba118cb153f56dccb")
			s, r := NewSender(tt.p), NewReceiver(tt.p)
			sent, got := NewScratch(), NewScratch()
			credible := func([]byte, int, bool) bool { return true }
			secrets := [][]byte{bytes.Clone(tt.p.StartKey[:8])}
			for round, n := range []int{1, 1, groupLen, groupLen} {
				seals, opens := make([]SealOp, n), make([]OpenOp, n)
				for i := range n {
					b := new(pktbuf.Buf)
					b.Reset()
					copy(b.Append(100), bytes.Repeat([]byte{0x5a}, 100))
					seals[i] = SealOp{Sender: s, Buf: b}
					opens[i] = OpenOp{Receiver: r, Buf: b, Seq: uint32(100*round + i), Credible: credible}
				}
				SealBatch(seals, sent)
				OpenBatch(opens, 1, got)
				for i := range opens {
					if !opens[i].Verdict.Passed() {
						t.Fatalf("round %d, packet %d: %v", round, i, opens[i].Verdict)
					}
				}
				secrets = append(secrets, bytes.Clone(s.session[:8]))
			}
			stream := s.stream
			memory := func() []byte {
				all := append(bytes.Clone(octets(s)), octets(r)...)
				all = append(append(all, octets(sent)...), octets(got)...)
				for _, x := range []*Scratch{sent, got} {
					for _, run := range x.runs[:cap(x.runs)] {
						all = append(all, run.key[:]...)
					}
				}
				return all
			}
			for i, k := range secrets {
				if i > 0 && i < len(secrets)-1 { // the stateless chain has gone on from it
					continue
				}
				if !bytes.Contains(memory(), k) {
					t.Fatalf("key %d is nowhere: the test looks in the wrong place", i)
				}
			}
			s.Wipe()
			r.Wipe()
			sent.Wipe()
			got.Wipe()
			for i, k := range secrets {
				if bytes.Contains(memory(), k) {
					t.Errorf("key %d is still there", i)
				}
			}
			if stream != nil && *stream != (rc4{}) {
				t.Error("the RC4 stream is still there")
			}
			tt.p.Wipe()
			if tt.p.StartKey != [16]byte{} {
				t.Error("the start key is still there")
			}
		})
	}
}

// TestScratchAfterWipe: what other sessions have sealed before and after can be opened.
func TestScratchAfterWipe(t *testing.T) {
	p := Params{Bits: 128, StartKey: startKey(t, "8b7cdc149b993a1ba118cb153f56dccb")}
	s, r := NewSender(p), NewReceiver(p)
	x := NewScratch()
	credible := func([]byte, int, bool) bool { return true }
	for i := range 2 * groupLen {
		b := new(pktbuf.Buf)
		b.Reset()
		want := bytes.Repeat([]byte{byte(i)}, 80)
		copy(b.Append(80), want)
		if !s.Seal(b, x) {
			t.Fatal("not sealed")
		}
		x.Wipe()
		if v := r.Open(b, uint32(i), credible, 1, x); v != OK || !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("packet %d: %v", i, v)
		}
		x.Wipe()
	}
}
