package checksum

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"concentrator/internal/corpus"
)

// model is the sum of RFC 1071 section 4.1, folded, as slow as it is plain.
func model(sum uint64, p []byte) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	for i, o := range p {
		if i%2 == 0 {
			sum += uint64(o) << 8
		} else {
			sum += uint64(o)
		}
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// TestRFC1071Section3: its numerical example.
func TestRFC1071Section3(t *testing.T) {
	p := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Fold(Add(0, p)); got != 0xddf2 {
		t.Errorf("sum %04x", got)
	}
	if got := Of(p); got != 0x220d {
		t.Errorf("checksum %04x", got)
	}
}

// TestRightIPv4: a header seen in the wild, the same with each of its bits turned, and none at all.
func TestRightIPv4(t *testing.T) {
	h := [20]byte{0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199}
	if !RightIPv4(&h) || Of(h[:]) != 0 {
		t.Error("the right one is wrong")
	}
	for bit := range 8 * len(h) {
		h[bit/8] ^= 1 << (bit % 8)
		if RightIPv4(&h) {
			t.Errorf("right with bit %d turned", bit)
		}
		h[bit/8] ^= 1 << (bit % 8)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 100_000 {
		for i := range h {
			h[i] = byte(r.Uint32()) | byte(r.IntN(2)*255) // many carries
		}
		h[10], h[11] = 0, 0
		binary.BigEndian.PutUint16(h[10:], Of(h[:]))
		if !RightIPv4(&h) {
			t.Fatalf("%x: wrong", h)
		}
		h[r.IntN(len(h))]++
		if RightIPv4(&h) != (Of(h[:]) == 0) {
			t.Fatalf("%x: %t", h, RightIPv4(&h))
		}
	}
	if RightIPv4(new([20]byte)) {
		t.Error("nothing but zeros is right")
	}
}

// eachWay runs test with every implementation that this processor has.
func eachWay(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("chosen", test)
	t.Run("portable", func(t *testing.T) {
		defer portable()()
		test(t)
	})
}

// fills are contents where a lost carry shows.
func fills(r *rand.Rand) map[string]func(i int) byte {
	return map[string]func(int) byte{
		"random": func(int) byte { return byte(r.Uint32()) },
		"zeros":  func(int) byte { return 0 },
		"ones":   func(int) byte { return 0xff },
		"nearly": func(i int) byte { return byte(0xff - i&7/7) },
		"high":   func(i int) byte { return []byte{0x80, 0, 0, 0x80}[i&3] },
	}
}

// modelOf is the model's sum of every beginning of p.
func modelOf(start uint64, p []byte) []uint16 {
	sum := uint64(model(start, nil))
	sums := []uint16{uint16(sum)}
	for i, o := range p {
		sum += uint64(o) << (8 * (1 - i%2))
		if sum > 0xffff {
			sum -= 0xffff
		}
		sums = append(sums, uint16(sum))
	}
	return sums
}

// longest is more than any packet that is not cut, and many turns of every loop.
const longest = 2100

// TestAdd: every length at every alignment, of one kind of octets each, and not one octet more.
func TestAdd(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		kind := 0
		for name, fill := range fills(r) {
			kind++
			array := make([]byte, 32+longest)
			for i := range array {
				array[i] = fill(i)
			}
			for at := range 32 {
				start := []uint64{0, 1, 0xffff, 1<<64 - 1, r.Uint64()}[r.IntN(5)]
				want := modelOf(start, array[at:at+longest])
				for n := (at + kind) % 5; n <= longest; n += 5 {
					if got := Fold(Add(start, array[at:at+n:at+n])); got != want[n] {
						t.Fatalf("%s, %d octets at %d, sum %x: %04x, want %04x", name, n, at, start, got, want[n])
					}
				}
			}
		}
	})
}

// TestLong: trains, and where a kernel is called several times.
func TestLong(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, name := range []string{"random", "ones"} {
			fill := fills(r)[name]
			p := make([]byte, 3<<20+5)
			for i := range p[:1<<16] {
				p[i] = fill(i)
			}
			for i := 1 << 16; i < len(p); i *= 2 {
				copy(p[i:], p[:i])
			}
			want := modelOf(0, p)
			dst := make([]byte, len(p))
			for i := range 60 {
				n := r.IntN(65536)
				switch {
				case i < 10:
					n = i/5<<20 + 1<<20 + i%5 - 2 // by one and two octets beside the limits
				case i < 14:
					n = len(p) - i + 10
				}
				if got := Fold(Add(0, p[:n])); got != want[n] {
					t.Fatalf("%s, %d octets: %04x, want %04x", name, n, got, want[n])
				}
				if got := Fold(Copy(dst[:n], p)); got != want[n] {
					t.Fatalf("%s, %d octets copied: %04x, want %04x", name, n, got, want[n])
				}
				if !bytes.Equal(dst[:n], p[:n]) {
					t.Fatalf("%s: %d octets are not as they were", name, n)
				}
			}
		}
	})
}

// TestPieces: a sum goes on over pieces of even length.
func TestPieces(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		p := make([]byte, 1501)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		for range 200 {
			cut := r.IntN(750) * 2
			if got, want := Fold(Add(Add(0, p[:cut]), p[cut:])), model(0, p); got != want {
				t.Fatalf("cut at %d: %04x, want %04x", cut, got, want)
			}
		}
	})
}

func TestPseudo(t *testing.T) {
	for _, tt := range []struct {
		src, dst [4]byte
		protocol uint8
		length   int
	}{
		{[4]byte{10, 50, 0, 7}, [4]byte{192, 0, 2, 1}, 6, 1400},
		{[4]byte{255, 255, 255, 255}, [4]byte{255, 255, 255, 255}, 255, 65535},
		{[4]byte{}, [4]byte{}, 17, 8},
	} {
		header := append(append([]byte{}, tt.src[:]...), tt.dst[:]...)
		header = binary.BigEndian.AppendUint16(append(header, 0, tt.protocol), uint16(tt.length))
		if got, want := Fold(Pseudo(tt.src, tt.dst, tt.protocol, tt.length)), model(0, header); got != want {
			t.Errorf("%+v: %04x, want %04x", tt, got, want)
		}
	}
}

// TestFold: the carries of carries.
func TestFold(t *testing.T) {
	for _, sum := range []uint64{
		0, 1, 0xffff, 0x10000, 0x1ffff, 0xffff0000, 0xffff0001, 0xffffffff, 1<<48 - 1, 0xfffffffeffff0001, 1<<64 - 1, 1 << 63,
		0xffff_ffff_0000_ffff, 0x0000_ffff_ffff_ffff, 0x0001_ffff_ffff_fffe,
	} {
		if got, want := Fold(sum), model(sum, nil); got != want {
			t.Errorf("%x: %04x, want %04x", sum, got, want)
		}
	}
}

func FuzzAdd(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(0), []byte(nil))
	f.Add(uint64(1<<64-1), make([]byte, 129))
	f.Fuzz(func(t *testing.T, sum uint64, p []byte) {
		want := model(sum, p)
		if got := Fold(Add(sum, p)); got != want {
			t.Errorf("%x + %s: %04x, want %04x", sum, hex.EncodeToString(p), got, want)
		}
		if got := Fold(addPortable(sum, p)); got != want {
			t.Errorf("%x + %s: %04x without assembly, want %04x", sum, hex.EncodeToString(p), got, want)
		}
	})
}

// TestNoAllocation: of arrays on the caller's stack too.
func TestNoAllocation(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		sum := uint16(0)
		if n := testing.AllocsPerRun(100, func() {
			var p, q [1400]byte
			p[0]++
			sum = Fold(Add(Pseudo([4]byte(p[:]), [4]byte(p[4:]), 6, len(p))+Copy(q[:], p[:]), q[:]))
		}); n != 0 {
			t.Errorf("%v allocations, sum %04x", n, sum)
		}
	})
}
