package multibuf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"math/rand/v2"
	"testing"
)

// packet is one that is encrypted and decrypted, with what crypto/cipher makes of it.
type packet struct {
	key    []byte
	buffer *guarded
	want   []byte
}

type way struct {
	name string
	run  func(ops []CBC, x *Scratch)
	mode func(b cipher.Block, iv []byte) cipher.BlockMode
}

var ways = []way{
	{"encrypt", EncryptCBC, cipher.NewCBCEncrypter},
	{"decrypt", DecryptCBC, cipher.NewCBCDecrypter},
}

// newPacket makes a packet of n octets and its operation.
func newPacket(t *testing.T, r *rand.Rand, w way, key []byte, k *AES, n int) (packet, CBC) {
	t.Helper()
	p := packet{key: key, buffer: newGuarded(r, r.IntN(64), n)}
	op := CBC{Key: k, IV: [blockLen]byte(random(r, blockLen)), Data: p.buffer.data}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	p.want = make([]byte, n&^(blockLen-1))
	w.mode(block, op.IV[:]).CryptBlocks(p.want, p.buffer.data[:len(p.want)])
	return p, op
}

func (p *packet) check(t *testing.T) {
	t.Helper()
	n := len(p.want)
	if !bytes.Equal(p.buffer.data[:n], p.want) {
		t.Fatalf("%d octets with %d of key: wrong", len(p.buffer.data), len(p.key))
	}
	if !p.buffer.whole(n) {
		t.Fatalf("%d octets with %d of key: written outside", len(p.buffer.data), len(p.key))
	}
}

func newAES(t testing.TB, key []byte) *AES {
	t.Helper()
	k, err := NewAES(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestCBC compares with crypto/cipher: packets of all lengths, in batches of many sizes, with keys that several packets
// have and keys of one packet, the lengths of keys mixed and not mixed.
func TestCBC(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { underAll(t, func(t *testing.T) { testCBC(t, w) }) })
	}
}

func testCBC(t *testing.T, w way) {
	r := seeded(1)
	x := NewScratch()
	for _, sizes := range [][]int{{16}, {24}, {32}, {16, 24, 32}} {
		var packets []packet
		var ops []CBC
		var key []byte
		var k *AES
		for _, n := range r.Perm(maxLen + 1) {
			if k == nil || r.IntN(3) == 0 {
				key = random(r, sizes[r.IntN(len(sizes))])
				k = newAES(t, key)
			}
			p, op := newPacket(t, r, w, key, k, n)
			packets, ops = append(packets, p), append(ops, op)
		}
		batches(r, ops, func(ops []CBC) { w.run(ops, x) })
		for i := range packets {
			packets[i].check(t)
		}
	}
}

// TestCBCBatches does all sizes of small batches, of short packets and of longer ones, with all lengths equal and with one
// that differs.
func TestCBCBatches(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { underAll(t, func(t *testing.T) { testBatches(t, w) }) })
	}
}

func testBatches(t *testing.T, w way) {
	r := seeded(2)
	x := NewScratch()
	for size := range 40 {
		for _, lengths := range [][2]int{{16, 0}, {48, 16}, {48, 48}, {160, 0}, {160, 16}, {160, 160}, {160, 1040}, {160, 4096}} {
			var packets []packet
			var ops []CBC
			for i := range size {
				n := lengths[0]
				if i == size/2 {
					n = lengths[1]
				}
				key := random(r, 16)
				p, op := newPacket(t, r, w, key, newAES(t, key), n)
				packets, ops = append(packets, p), append(ops, op)
			}
			w.run(ops, x)
			for i := range packets {
				packets[i].check(t)
			}
		}
	}
}

func TestNewAES(t *testing.T) {
	for n := range 40 {
		_, err := NewAES(make([]byte, n))
		if good := n == 16 || n == 24 || n == 32; good != (err == nil) || !good && !errors.Is(err, ErrKey) {
			t.Errorf("%d octets of key: %v", n, err)
		}
	}
}

func TestAESWipe(t *testing.T) {
	underAll(t, func(t *testing.T) {
		k := newAES(t, bytes.Repeat([]byte{7}, 32))
		k.portable()
		k.Wipe()
		if k.enc != (schedule{}) || k.dec != (schedule{}) {
			t.Error("round keys are left")
		}
		// A mode whose key is gone says so by a panic, or encrypts to something else.
		defer func() { _ = recover() }()
		got, want := make([]byte, blockLen), make([]byte, blockLen)
		newStdAES(bytes.Repeat([]byte{7}, 32)).encrypt(new([blockLen]byte), want)
		k.std.encrypt(new([blockLen]byte), got)
		if bytes.Equal(got, want) {
			t.Error("the standard library has the key still")
		}
	})
}

// TestScratchForgets looks for round keys and states behind a call.
func TestScratchForgets(t *testing.T) {
	underAll(t, func(t *testing.T) {
		x := NewScratch()
		r := seeded(3)
		var ops []CBC
		var macs []MAC
		for i := range 20 {
			ops = append(ops, CBC{Key: newAES(t, random(r, 16+8*(i%3))), Data: make([]byte, 16*i)})
			macs = append(macs, MAC{Key: newHMAC(t, SHA1+Hash(i%2), random(r, 20)), Message: make([]byte, 16*i)})
		}
		EncryptCBC(ops, x)
		SumHMAC(macs, x)
		if x.vectors.keys != [len(x.vectors.keys)]byte{} {
			t.Error("round keys are left")
		}
		if x.vectors.state != [maxHashLanes]state{} || x.vectors.work != [len(x.vectors.work)]byte{} {
			t.Error("states are left")
		}
		if x.encryption.key != [maxLanes]*AES{} || x.data != [maxHashLanes]*byte{} {
			t.Error("references are left")
		}
		for _, data := range x.encryption.data {
			if data != nil && data != &x.vectors.idle[0] {
				t.Error("references to packets are left")
			}
		}
		for i := range x.lanes {
			if l := &x.lanes[i]; l.op != nil || l.rest != nil || l.tail != nil {
				t.Error("references to packets are left")
			}
		}
	})
}
