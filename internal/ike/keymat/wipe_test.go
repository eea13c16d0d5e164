package keymat

import (
	"bytes"
	"testing"

	wireike "concentrator/internal/wire/ike"
)

// TestWipeReachesTheLibrary looks at what the SA has had, from outside.
func TestWipeReachesTheLibrary(t *testing.T) {
	shared := bytes.Repeat([]byte{5}, 32)
	p := &Phase1{
		Hash: hashOf(t, wireike.HashSHA256), Cipher: cipherOf(t, wireike.EncryptionAESCBC, 256), NonceI: []byte("ni"), NonceR: []byte("nr"),
		Shared: shared,
	}
	k := p.WithPSK([]byte("psk"))
	had := make(map[string][]byte)
	k.Reveal(func(name string, key []byte) { had[name] = key })
	if len(had) != 5 {
		t.Fatalf("revealed are %d keys", len(had))
	}
	block := k.block
	plain, before := make([]byte, 16), make([]byte, 16)
	block.Encrypt(before, plain)
	k.Wipe()
	p.Wipe()
	for name, key := range had {
		if !bytes.Equal(key, make([]byte, len(key))) {
			t.Errorf("%s is still %x", name, key)
		}
	}
	if !bytes.Equal(shared, make([]byte, 32)) {
		t.Error("g^xy is still there")
	}
	after := make([]byte, 16)
	func() {
		defer func() { _ = recover() }() // without rounds some of the library's code gives up
		block.Encrypt(after, plain)
	}()
	if bytes.Equal(before, after) {
		t.Error("AES still has its key")
	}
	k.Reveal(func(name string, key []byte) {
		if len(key) != 0 {
			t.Errorf("%s is revealed after its end", name)
		}
	})
}
