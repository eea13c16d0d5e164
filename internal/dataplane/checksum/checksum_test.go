package checksum

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
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

// TestLengthsAndAlignments: every length up to four blocks and beyond at every alignment, and not one octet more.
func TestLengthsAndAlignments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, fill := range fills(r) {
		array := make([]byte, 16+400)
		for i := range array {
			array[i] = fill(i)
		}
		for at := range 16 {
			for n := range 400 {
				p := array[at : at+n : at+n]
				for _, sum := range []uint64{0, 1, 0xffff, 1<<64 - 1, r.Uint64()} {
					if got, want := Fold(Add(sum, p)), model(sum, p); got != want {
						t.Fatalf("%s, %d octets at %d, sum %x: %04x, want %04x", name, n, at, sum, got, want)
					}
				}
			}
		}
	}
}

func TestLong(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, fill := range fills(r) {
		p := make([]byte, 65535)
		for i := range p {
			p[i] = fill(i)
		}
		for range 50 {
			p := p[:r.IntN(len(p)+1)]
			if got, want := Fold(Add(0, p)), model(0, p); got != want {
				t.Fatalf("%s, %d octets: %04x, want %04x", name, len(p), got, want)
			}
		}
	}
}

// TestPieces: a sum goes on over pieces of even length.
func TestPieces(t *testing.T) {
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
	f.Add(uint64(0), []byte(nil))
	f.Add(uint64(1<<64-1), make([]byte, 129))
	f.Fuzz(func(t *testing.T, sum uint64, p []byte) {
		if got, want := Fold(Add(sum, p)), model(sum, p); got != want {
			t.Errorf("%x + %s: %04x, want %04x", sum, hex.EncodeToString(p), got, want)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	p, sum := make([]byte, 1400), uint16(0)
	if n := testing.AllocsPerRun(100, func() {
		sum = Fold(Add(Pseudo([4]byte(p), [4]byte(p[4:]), 6, len(p)), p))
	}); n != 0 {
		t.Errorf("%v allocations, sum %04x", n, sum)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{20, 40, 1400} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			p, sum := make([]byte, size), uint64(0)
			b.SetBytes(int64(size))
			for b.Loop() {
				sum = Add(sum, p)
			}
		})
	}
}
