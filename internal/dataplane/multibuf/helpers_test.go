package multibuf

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// maxLen is the longest message of the tests that try all lengths: more than a packet.
const maxLen = 2100

// guard is how many octets before and behind a buffer are watched.
const guard = 80

// underAll runs a test with every set of kernels that this processor has, and with none.
func underAll(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, k := range available() {
		t.Run(k.name, func(t *testing.T) {
			defer replace(k)()
			test(t)
		})
	}
}

// guarded is a buffer that notices what is written before and behind it.
type guarded struct {
	memory []byte
	data   []byte
	before []byte
}

// newGuarded makes a buffer of n random octets that begins skip octets behind a boundary of the allocator's.
func newGuarded(r *rand.Rand, skip, n int) *guarded {
	g := &guarded{memory: random(r, guard+skip+n+guard)}
	g.before = bytes.Clone(g.memory)
	g.data = g.memory[guard+skip:][:n]
	return g
}

// whole says whether only the first n octets of the data have been written.
func (g *guarded) whole(n int) bool {
	from := len(g.memory) - guard - len(g.data)
	return bytes.Equal(g.memory[:from], g.before[:from]) && bytes.Equal(g.memory[from+n:], g.before[from+n:])
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n+7)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n:n]
}

// seeded makes a test's choices the same each time.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// batches cuts ops into calls of random sizes, small ones often.
func batches[T any](r *rand.Rand, ops []T, call func(ops []T)) {
	for len(ops) > 0 {
		n := 1 + r.IntN([]int{3, 14, 70, 600}[r.IntN(4)])
		n = min(n, len(ops))
		call(ops[:n])
		ops = ops[n:]
	}
}
