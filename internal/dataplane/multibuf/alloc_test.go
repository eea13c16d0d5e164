package multibuf

import "testing"

// imix are lengths of inner packets as they are mixed on the Internet, rounded up to AES's blocks.
var imix = []int{64, 64, 592, 64, 1424, 64, 592, 64, 592, 64, 592, 64}

// load is a batch of packets of the lengths, in turns, each with a key of its own.
func load(t testing.TB, packets, keyLen int, h Hash, lengths ...int) ([]CBC, []MAC) {
	r := seeded(4)
	ops, macs := make([]CBC, packets), make([]MAC, packets)
	memory := make([]byte, packets*(2048+192)) // a power of two would put all packets into the same lines of the cache
	for i := range packets {
		data := memory[i*(2048+192)+40:][:lengths[i%len(lengths)]]
		ops[i] = CBC{Key: newAES(t, random(r, keyLen)), Data: data}
		macs[i] = MAC{Key: newHMAC(t, h, random(r, h.Size())), Message: data, Tail: data[:4]}
	}
	return ops, macs
}

func TestNoAllocations(t *testing.T) {
	underAll(t, func(t *testing.T) {
		x := NewScratch()
		for _, packets := range []int{1, 3, 64, 320} {
			ops, macs := load(t, packets, 32, SHA1, imix...)
			_, more := load(t, packets, 32, SHA256, imix...)
			if n := testing.AllocsPerRun(10, func() {
				EncryptCBC(ops, x)
				DecryptCBC(ops, x)
				SumHMAC(macs, x)
				SumHMAC(more, x)
			}); n != 0 {
				t.Errorf("%d packets: %v allocations, want 0", packets, n)
			}
		}
	})
}
