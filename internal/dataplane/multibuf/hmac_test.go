package multibuf

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
	"math/rand/v2"
	"testing"
)

var hashes = [SHA256 + 1]func() hash.Hash{SHA1: sha1.New, SHA256: sha256.New}

func newHMAC(t testing.TB, h Hash, key []byte) *HMAC {
	t.Helper()
	k, err := NewHMAC(h, key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// message is one that is authenticated, with what crypto/hmac makes of it.
type message struct {
	hash          Hash
	message, tail *guarded
	want          []byte
}

func newMessage(r *rand.Rand, h Hash, key []byte, k *HMAC, n, tail int) (message, MAC) {
	m := message{hash: h, message: newGuarded(r, r.IntN(64), n), tail: newGuarded(r, r.IntN(16), tail)}
	d := hmac.New(hashes[h], key)
	d.Write(m.message.data)
	d.Write(m.tail.data)
	m.want = d.Sum(nil)
	return m, MAC{Key: k, Message: m.message.data, Tail: m.tail.data}
}

func (m *message) check(t *testing.T, op *MAC) {
	t.Helper()
	if size := m.hash.Size(); !bytes.Equal(op.Sum[:size], m.want) {
		t.Fatalf("hash %d of %d and %d octets: %x, want %x", m.hash, len(op.Message), len(op.Tail), op.Sum[:size], m.want)
	}
	if !m.message.whole(0) || !m.tail.whole(0) {
		t.Fatalf("hash %d of %d and %d octets: written", m.hash, len(op.Message), len(op.Tail))
	}
}

// TestSumHMAC compares with crypto/hmac: messages of all lengths, in batches of many sizes, with one hash and with both.
func TestSumHMAC(t *testing.T) {
	underAll(t, func(t *testing.T) {
		r := seeded(1)
		x := NewScratch()
		for _, among := range [][]Hash{{SHA1}, {SHA256}, {SHA1, SHA256}} {
			var messages []message
			var ops []MAC
			for _, n := range r.Perm(maxLen + 1) {
				h := among[r.IntN(len(among))]
				key := random(r, r.IntN(hashBlockLen+1))
				m, op := newMessage(r, h, key, newHMAC(t, h, key), n, []int{0, 4, r.IntN(20), r.IntN(300)}[r.IntN(4)])
				messages, ops = append(messages, m), append(ops, op)
			}
			batches(r, ops, func(ops []MAC) { SumHMAC(ops, x) })
			for i := range messages {
				messages[i].check(t, &ops[i])
			}
		}
	})
}

// TestSumHMACTails does all splits around the blocks' ends, alone and in one batch.
func TestSumHMACTails(t *testing.T) {
	underAll(t, func(t *testing.T) {
		r := seeded(2)
		x := NewScratch()
		for h := SHA1; h <= SHA256; h++ {
			key := random(r, h.Size())
			k := newHMAC(t, h, key)
			var messages []message
			var ops []MAC
			for n := range 131 {
				for _, tail := range []int{0, 1, 4, 8, 9, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 129, 191, 192, 193} {
					m, op := newMessage(r, h, key, k, n, tail)
					alone := []MAC{op}
					SumHMAC(alone, x)
					m.check(t, &alone[0])
					messages, ops = append(messages, m), append(ops, op)
				}
			}
			SumHMAC(ops, x)
			for i := range messages {
				messages[i].check(t, &ops[i])
			}
		}
	})
}

func TestNewHMAC(t *testing.T) {
	for _, test := range []struct {
		hash Hash
		len  int
		good bool
	}{
		{SHA1, 0, true},
		{SHA1, 20, true},
		{SHA256, 64, true},
		{SHA1, 65, false},
		{SHA256, 65, false},
		{0, 20, false},
		{SHA256 + 1, 20, false},
	} {
		_, err := NewHMAC(test.hash, make([]byte, test.len))
		if test.good != (err == nil) || !test.good && !errors.Is(err, ErrKey) {
			t.Errorf("hash %d, %d octets of key: %v", test.hash, test.len, err)
		}
	}
}

func TestHMACWipe(t *testing.T) {
	underAll(t, func(t *testing.T) {
		k := newHMAC(t, SHA256, bytes.Repeat([]byte{7}, 32))
		s := k.portable()
		k.Wipe()
		if k.inner != (state{}) || k.outer != (state{}) || k.key != [hashBlockLen]byte{} {
			t.Error("the key is left")
		}
		if none := make([]byte, len(s.inner)); !bytes.Equal(s.inner, none) || !bytes.Equal(s.outer, none) {
			t.Error("the standard library's key is left")
		}
	})
}
