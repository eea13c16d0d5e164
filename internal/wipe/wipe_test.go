package wipe

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

func TestValue(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	h.Write(key)
	before := h.Sum(nil)
	Value(h)
	if after := h.Sum(nil); bytes.Equal(before, after) {
		t.Error("a hash is as before")
	}
	in, a, b := make([]byte, 16), make([]byte, 16), make([]byte, 16)
	block.Encrypt(a, in)
	Value(block)
	func() {
		defer func() { _ = recover() }() // without rounds some of the library's code gives up
		block.Encrypt(b, in)
	}()
	if bytes.Equal(a, b) {
		t.Error("AES still encrypts with its key")
	}
	Value(nil)
	Value(3)
	Value((*int)(nil))
}

func TestBytes(t *testing.T) {
	type inner struct{ secret []byte }
	v := &struct {
		secret []byte
		other  string
		in     *inner
	}{[]byte("abc"), "abc", &inner{[]byte("def")}}
	if !Bytes(v, "secret") || !bytes.Equal(v.secret, make([]byte, 3)) {
		t.Errorf("secret is %q", v.secret)
	}
	if !BytesIn(v, "in", "secret") || !bytes.Equal(v.in.secret, make([]byte, 3)) {
		t.Errorf("inner secret is %q", v.in.secret)
	}
	for _, field := range []string{"other", "none", "in"} {
		if Bytes(v, field) || BytesIn(v, field, "none") || BytesIn(v, "other", field) {
			t.Errorf("field %s was cleared", field)
		}
	}
	if Bytes(nil, "secret") || Bytes(3, "secret") || BytesIn((*inner)(nil), "in", "secret") || v.other != "abc" {
		t.Error("cleared where there is nothing")
	}
}

// TestLibrary fails when the standard library keeps its private keys in other fields than those that are cleared.
func TestLibrary(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !Bytes(key, "privateKey") || !BytesIn(key, "fips", "d") {
		t.Fatal("crypto/ecdh has other fields")
	}
	if !bytes.Equal(key.Bytes(), make([]byte, 32)) {
		t.Errorf("the scalar is still %x", key.Bytes())
	}
}
