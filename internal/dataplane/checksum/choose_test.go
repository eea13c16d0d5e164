//go:build amd64 && !purego

package checksum

import (
	"math/rand/v2"
	"testing"
)

// portable takes the kernels away; its result gives them back.
func portable() func() {
	before := vectors
	vectors = false
	return func() { vectors = before }
}

// TestKernelBounds: what a kernel returns for most octets at their worst leaves room for what the callers do to it.
func TestKernelBounds(t *testing.T) {
	if !vectors {
		t.Skip("no kernel")
	}
	p := make([]byte, 2*most-1)
	for i := range p {
		p[i] = 0xff
	}
	sum := sumAVX2(&p[0], len(p))
	if want := uint64(len(p)/8+1) << 33; sum == 0 || sum >= want || swapped(sum)>>8 != sum {
		t.Errorf("%x, want less than %x", sum, want)
	}
	if got, want := Fold(swapped(sum)), model(0, p); got != want {
		t.Errorf("%04x, want %04x", got, want)
	}
}

// TestKernelsFromTheirLeast: lengths that the callers keep from them, down to what they say they can do.
func TestKernelsFromTheirLeast(t *testing.T) {
	if !vectors {
		t.Skip("no kernel")
	}
	r := rand.New(rand.NewPCG(9, 10))
	src, dst := make([]byte, 32+least), make([]byte, 32+least)
	for i := range src {
		src[i] = byte(r.Uint32())
	}
	for at := range 32 {
		for n := 32; n <= least; n++ {
			want := model(0, src[at:at+n])
			if got := Fold(swapped(sumAVX2(&src[at], n))); got != want {
				t.Fatalf("%d octets at %d: %04x, want %04x", n, at, got, want)
			}
			to := r.IntN(32)
			if got := Fold(swapped(copyAVX2(&dst[to], &src[at], n))); got != want {
				t.Fatalf("%d octets copied from %d to %d: %04x, want %04x", n, at, to, got, want)
			}
		}
	}
}
