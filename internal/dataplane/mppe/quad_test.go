package mppe

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestQuadAgreesWithStandardLibrary has one to four lanes with keys of both lengths, read in two pieces up to different ends.
func TestQuadAgreesWithStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q quad
	var dst rows
	for range 200 {
		used := 1 + r.IntN(lanes)
		cut := r.IntN(300)
		var ends []int
		var want [][]byte
		for lane := range used {
			var k key
			n := 8 << r.IntN(2)
			for i := range n {
				k[i] = byte(r.Uint32())
			}
			q.setKey(lane, &k, n)
			std, err := stdrc4.NewCipher(k[:n])
			if err != nil {
				t.Fatal(err)
			}
			stream := make([]byte, streamLen)
			std.XORKeyStream(stream, stream)
			want = append(want, stream)
			ends = append(ends, r.IntN(streamLen+1))
		}
		slices.SortFunc(ends, func(a, b int) int { return b - a })
		q.start(used)
		q.run(&dst, 0, slices.Repeat([]int{cut}, used))
		first := dst
		q.run(&dst, cut, ends)
		for lane, end := range ends {
			if got := first[lane][:cut]; !bytes.Equal(got, want[lane][:cut]) {
				t.Fatalf("lane %d of %d: another beginning than crypto/rc4", lane, used)
			}
			if end > cut && !bytes.Equal(dst[lane][cut:end], want[lane][cut:end]) {
				t.Fatalf("lane %d of %d, from %d to %d of %v: another stream than crypto/rc4", lane, used, cut, end, ends)
			}
		}
	}
}

// TestKeysRepeat: a key of 8 octets twice over does what the key does.
func TestKeysRepeat(t *testing.T) {
	k := key{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	if got := k.repeated(8); got != (key{1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("8: %x", got)
	}
	if got := k.repeated(16); got != k {
		t.Errorf("16: %x", got)
	}
}
