package checksum

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/corpus"
)

const canary = 0xa5

// canaries are what lies around a copy.
var canaries = bytes.Repeat([]byte{canary}, 1<<20)

// copyChecked copies src to an alignment of to and compares the copy, its sum, and what lies around it.
func copyChecked(t *testing.T, array, src []byte, to int, want uint16) {
	t.Helper()
	copy(array, canaries)
	dst := array[to : to+len(src)]
	sum := Copy(dst, src)
	if got := Fold(sum); got != want || sum>>33 != 0 {
		t.Fatalf("%d octets to %d: %x folds to %04x, want %04x", len(src), to, sum, got, want)
	}
	if !bytes.Equal(dst, src) {
		t.Fatalf("%d octets to %d: they are not as they were", len(src), to)
	}
	if behind := array[to+len(src):]; !bytes.Equal(array[:to], canaries[:to]) || !bytes.Equal(behind, canaries[:len(behind)]) {
		t.Fatalf("%d octets to %d: others were written", len(src), to)
	}
}

// TestCopy: every length from every alignment, of one kind of octets each, and some lengths from every alignment to every
// one.
func TestCopy(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		array := make([]byte, longest+64)
		kind := 0
		for name, fill := range fills(r) {
			kind++
			src := make([]byte, 32+longest)
			for i := range src {
				src[i] = fill(i)
			}
			before := bytes.Clone(src)
			for at := range 32 {
				want := modelOf(0, src[at:at+longest])
				for n := (at + kind) % 5; n <= longest; n += 5 {
					copyChecked(t, array[:n+64], src[at:at+n:at+n], r.IntN(32), want[n])
				}
				for to := range 32 {
					n := r.IntN(longest + 1)
					copyChecked(t, array[:n+64], src[at:at+n:at+n], to, want[n])
				}
			}
			if !bytes.Equal(src, before) {
				t.Fatalf("%s: the source was written", name)
			}
		}
	})
}

// TestCopyLengths: the shorter of both counts.
func TestCopyLengths(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		src := make([]byte, 300)
		for i := range src {
			src[i] = byte(i)
		}
		for _, n := range []int{0, 1, 63, 64, 200, 299} {
			dst := bytes.Repeat([]byte{canary}, 400)
			if got, want := Fold(Copy(dst[:n], src)), model(0, src[:n]); got != want {
				t.Errorf("room for %d: %04x, want %04x", n, got, want)
			}
			if got, want := Fold(Copy(dst, src[:n])), model(0, src[:n]); got != want {
				t.Errorf("%d given: %04x, want %04x", n, got, want)
			}
			if !bytes.Equal(dst[:n], src[:n]) || dst[n] != canary {
				t.Errorf("%d octets: copied %x", n, dst)
			}
		}
	})
}

// TestCopyInPlace: the same octets as source and destination stay and are summed.
func TestCopyInPlace(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		p := make([]byte, 1501)
		for i := range p {
			p[i] = byte(i * 7)
		}
		before := bytes.Clone(p)
		want := modelOf(0, p)
		for n := range len(p) + 1 {
			if got := Fold(Copy(p[:n], p)); got != want[n] || !bytes.Equal(p, before) {
				t.Fatalf("%d octets: %04x, want %04x", n, got, want[n])
			}
		}
	})
}

// fenced is memory of a page with none before and behind it.
func fenced(t *testing.T) []byte {
	t.Helper()
	page := unix.Getpagesize()
	m, err := unix.Mmap(-1, 0, 3*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	p := m[page : 2*page : 2*page]
	if err := unix.Mprotect(p, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNothingOutside: at both ends of a page, a load or store outside ends the program.
func TestNothingOutside(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		src, dst := fenced(t), fenced(t)
		for i := range src {
			src[i] = byte(i * 5)
		}
		for n := range longest + 1 {
			for _, p := range [][]byte{src[:n], src[len(src)-n:]} {
				want := Fold(Add(0, p))
				if got := Fold(Copy(dst, p)); got != want {
					t.Fatalf("%d octets to a beginning: %04x, want %04x", n, got, want)
				}
				if got := Fold(Copy(dst[len(dst)-n:], p)); got != want {
					t.Fatalf("%d octets to an end: %04x, want %04x", n, got, want)
				}
			}
		}
	})
}

func FuzzCopy(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte(nil), uint8(0))
	f.Add(make([]byte, 129), uint8(3))
	f.Fuzz(func(t *testing.T, src []byte, to uint8) {
		to %= 32
		want := model(0, src)
		if len(src)+64 > len(canaries) {
			t.Skip("longer than any train")
		}
		copyChecked(t, make([]byte, len(src)+64), src, int(to), want)
		if got := Fold(copyPortable(make([]byte, len(src)), src)); got != want {
			t.Errorf("%s: %04x without assembly, want %04x", hex.EncodeToString(src), got, want)
		}
	})
}
