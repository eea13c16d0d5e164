package mppe

import (
	"bytes"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

// FuzzOpen gives a receiver in the middle of a stream any packet with any sequence number. It must not pass, must not
// change the buffer, and the peer's next packet must still be read.
func FuzzOpen(f *testing.F) {
	corpus.Add(f)
	f.Add(false, uint32(10), []byte{0x90, 10, 1, 2, 3})
	f.Add(false, uint32(100), []byte{0x90, 100, 1, 2, 3})
	f.Add(false, uint32(5000), []byte{0x90, 10, 1, 2, 3})
	f.Add(false, uint32(0xffffff00), []byte{0x90, 9, 1, 2, 3})
	f.Add(true, uint32(10), []byte{0x10, 10, 1, 2, 3})
	f.Add(true, uint32(600), []byte{0x92, 88, 1, 2, 3})
	f.Add(true, uint32(10), []byte{0x10, 0xff})
	f.Fuzz(func(t *testing.T, stateful bool, seq uint32, wire []byte) {
		if len(wire) > pktbuf.MaxRead {
			return
		}
		p := params(128, stateful)
		l := newLink(t, p)
		ps := stream(t, NewSender(p), 0, 11, 0)
		l.want(OK, ps[:10]...)
		for range 3 {
			for _, genuine := range ps {
				if bytes.Equal(wire, genuine.wire) {
					return
				}
			}
			if v := l.open(packet{-1, seq, wire}); v.Passed() {
				t.Fatalf("rubbish passed: %v", v)
			}
		}
		if limit := uint64(10 + NearKeys + KeyBudget); l.x.KeyChanges > limit {
			t.Fatalf("%d key changes, limit %d", l.x.KeyChanges, limit)
		}
		l.want(OK, ps[10])
	})
}

// FuzzOpenOrder gives a receiver a stream in an order that the input chooses, with losses and repetitions. Each packet
// is read at most once, and right.
func FuzzOpenOrder(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 1, 2, 3, 2, 1, 0})
	f.Add([]byte{10, 100, 101, 12, 200, 201})
	f.Add([]byte{63, 64, 0, 130, 131, 66})
	p := params(40, false)
	ps := stream(f, NewSender(p), 0, 256, 0xffffff80)
	f.Fuzz(func(t *testing.T, order []byte) {
		l, read := newLink(t, p), [256]bool{}
		for i, n := range order {
			l.now = int64(i) * second / 10
			if l.open(ps[n]).Passed() {
				if read[n] {
					t.Fatalf("packet %d is read twice", n)
				}
				read[n] = true
			}
		}
	})
}
