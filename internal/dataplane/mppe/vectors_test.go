package mppe

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func startKey(t testing.TB, s string) (k [16]byte) {
	t.Helper()
	copy(k[:], unhex(t, s))
	return k
}

// TestRFC6229 has the keystreams of RFC 6229 section 2 whose keys are as long as those of MPPE.
func TestRFC6229(t *testing.T) {
	for _, tt := range []struct{ name, key, at0 string }{
		{"64 bits", "0102030405060708", "97ab8a1bf0afb96132f2f67258da15a8"},
		{"128 bits", "0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := unhex(t, tt.key)
			var k key
			copy(k[:], raw)
			var c rc4
			c.init(&k, len(raw))
			got := make([]byte, 16)
			c.stream(got)
			if want := unhex(t, tt.at0); !bytes.Equal(got, want) {
				t.Errorf("keystream %x, want %x", got, want)
			}
		})
	}
}

// TestRC4AgreesWithStandardLibrary reads the stream in pieces, as try and finish do.
func TestRC4AgreesWithStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{8, 16} {
		for range 50 {
			var k key
			for i := range n {
				k[i] = byte(r.Uint32())
			}
			std, err := stdrc4.NewCipher(k[:n])
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 2000)
			std.XORKeyStream(want, want)
			var c rc4
			c.init(&k, n)
			got := make([]byte, 2000)
			cut := r.IntN(len(got))
			c.stream(got[:cut])
			c.stream(got[cut:])
			if !bytes.Equal(got, want) {
				t.Fatalf("key %x cut at %d: another stream than crypto/rc4", k[:n], cut)
			}
		}
	}
}

// TestRFC3079Section3_5 has the session keys and ciphertexts of RFC 3079 sections 3.5.1 to 3.5.3. The RFC prints the last
// octet of the 56-bit ciphertext as 58; with its own key it is b8.
func TestRFC3079Section3_5(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		bits                    int
		start, session, crypted string
	}{
		{"3.5.1 40 bits", 40, "8b7cdc149b993a1b", "d1269ec49fa62e3e", "929137917e5803d668d75898"},
		{"3.5.2 56 bits", 56, "8b7cdc149b993a1b", "d15c00c49fa62e3e", "3f106833fa448da842bc57b8"},
		{
			"3.5.3 128 bits", 128, "8b7cdc149b993a1ba118cb153f56dccb", "405cb2247a7956e6e211007ae27b22d4",
			"81848317df68846272fb5abe",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSchedule(Params{Bits: tt.bits, StartKey: startKey(t, tt.start)})
			k := s.initial()
			if want := unhex(t, tt.session); !bytes.Equal(k[:s.n], want) {
				t.Fatalf("session key %x, want %x", k[:s.n], want)
			}
			var c rc4
			c.init(&k, s.n)
			got := make([]byte, 12)
			c.stream(got)
			for i, o := range []byte("test message") {
				got[i] ^= o
			}
			if want := unhex(t, tt.crypted); !bytes.Equal(got, want) {
				t.Errorf("ciphertext %x, want %x", got, want)
			}
		})
	}
}

// TestKeyChanges compares a chain of key changes with one made with the standard library alone.
func TestKeyChanges(t *testing.T) {
	start := startKey(t, "8b7cdc149b993a1ba118cb153f56dccb")
	for _, bits := range []int{128, 56, 40} {
		x := NewScratch()
		s := newSchedule(Params{Bits: bits, StartKey: start})
		k := s.initial()
		ref := newLinuxState(Params{Bits: bits, StartKey: start})
		for i := range 5000 {
			if !bytes.Equal(k[:s.n], ref.session) {
				t.Fatalf("%d bits: after %d changes %x, want %x", bits, i, k[:s.n], ref.session)
			}
			s.change(&k, x)
			ref.rekey(false)
		}
		if x.KeyChanges != 5000 {
			t.Errorf("%d key changes counted, want 5000", x.KeyChanges)
		}
	}
}
