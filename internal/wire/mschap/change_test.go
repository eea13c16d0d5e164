package mschap

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

// counting gives 0, 1, 2, ... 250, 0, ...
type counting struct{ n int }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c.n % 251)
		c.n++
	}
	return len(b), nil
}

// TestRFC2759Section8_9: RFC 2759 has no example of a change. These values were computed with OpenSSL's MD4, RC4 and DES.
func TestRFC2759Section8_9(t *testing.T) {
	const oldPassword, newPassword = "clientPass", "Neues Pa\u00dfwort \U0001F511"
	oldHash, newHash := NTPasswordHash(oldPassword), NTPasswordHash(newPassword)
	block, err := NewPasswordEncryptedWithOldHash(&counting{}, newPassword, oldHash)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(block[:])
	hash := OldHashEncryptedWithNewHash(oldHash, newHash)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"hash of the new password", newHash[:], "47f9ffe84dadac7e5ef382830e9bcb0e"},
		{"begin of the block", block[:16], "92e3c9ecb7fcf6132005f1836c3c39ef"},
		{"end of the block", block[508:], "bc9dea8592343a7c"},
		{"the whole block", sum[:], "610b648bdcbb48f39f3efe7845f541536b408b04fc89fbb6eb594af020188e89"},
		{"encrypted hash", hash[:], "c55dcb22ef0372530f2287c05db8544e"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
}

// TestClientChangePassword is a change from end to end: the server learns the new password and nobody else can have it set.
func TestClientChangePassword(t *testing.T) {
	var auth, peer [ChallengeLen]byte
	rand.Read(auth[:])
	rand.Read(peer[:])
	oldHash := NTPasswordHash("old")
	for _, password := range []string{"", "n", "\U0001F511", strings.Repeat("x", 256)} {
		sent, err := ClientChangePassword(rand.Reader, auth, peer, `DOM\alice`, "old", password)
		if err != nil {
			t.Fatal(err)
		}
		data, err := sent.AppendBinary(nil)
		if err != nil || len(data) != ChangePasswordLen {
			t.Fatalf("%d octets %v", len(data), err)
		}
		c, err := ParseChangePassword(data)
		if err != nil || c != sent {
			t.Fatalf("%+v became %+v %v", sent, c, err)
		}
		got, err := DecryptNewPassword(c.EncryptedPassword, oldHash)
		if err != nil || got != password {
			t.Errorf("%q became %q %v", password, got, err)
		}
		if !c.CheckOldHash(oldHash, NTPasswordHash(got)) {
			t.Errorf("%q: the old password is not accepted", password)
		}
		if c.CheckOldHash(NTPasswordHash("other"), NTPasswordHash(got)) {
			t.Errorf("%q: another old password is accepted", password)
		}
		if c.Response() != ClientResponse(auth, peer, "alice", password) {
			t.Errorf("%q: response %+v", password, c.Response())
		}
		if got, err := DecryptNewPassword(c.EncryptedPassword, NTPasswordHash("other")); err == nil && got == password {
			t.Errorf("%q: opened with another password", password)
		}
	}
	if _, err := ClientChangePassword(rand.Reader, auth, peer, "a", "b", strings.Repeat("x", 257)); !errors.Is(err, ErrPasswordLen) {
		t.Errorf("257 characters: %v", err)
	}
	if _, err := ClientChangePassword(bytes.NewReader(nil), auth, peer, "a", "b", "c"); err == nil {
		t.Error("a block without randomness")
	}
}

// TestDecryptNewPasswordRefuses blocks that hold no password.
func TestDecryptNewPasswordRefuses(t *testing.T) {
	key := NTPasswordHash("old")
	for name, end := range map[string]string{
		"longer than the block":  "61000000" + "01020000",
		"huge":                   "61000000" + "ffffffff",
		"odd length":             "61000000" + "01000000",
		"lone high surrogate":    "610000d8" + "02000000",
		"high and no low one":    "00d86100" + "04000000",
		"lone low surrogate":     "610000dc" + "02000000",
		"low before high one":    "00dc00d8" + "04000000",
		"length as a big endian": "61000000" + "00000002",
	} {
		var block [EncryptedPasswordLen]byte
		copy(block[EncryptedPasswordLen-8:], unhex(t, end))
		cryptBlock(&block, key)
		if got, err := DecryptNewPassword(block, key); !errors.Is(err, ErrOldPassword) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestParseChangePassword(t *testing.T) {
	b := make([]byte, ChangePasswordLen)
	for i := range b {
		b[i] = byte(i % 251)
	}
	c, err := ParseChangePassword(b)
	if err != nil || !bytes.Equal(c.EncryptedPassword[:], b[:516]) || !bytes.Equal(c.EncryptedHash[:], b[516:532]) ||
		!bytes.Equal(c.PeerChallenge[:], b[532:548]) || !bytes.Equal(c.NTResponse[:], b[556:580]) || c.Flags != uint16(b[580])<<8|uint16(b[581]) {
		t.Errorf("%+v %v", c, err)
	}
	for _, n := range []int{0, ChangePasswordLen - 1, ChangePasswordLen + 1} {
		if _, err := ParseChangePassword(make([]byte, n)); !errors.Is(err, ErrChangePasswordLen) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func FuzzParseChangePassword(f *testing.F) {
	corpus.Add(f)
	f.Add(make([]byte, ChangePasswordLen))
	f.Add(make([]byte, ChangePasswordLen-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChangePassword(b)
		if err != nil {
			return
		}
		b = bytes.Clone(b)
		clear(b[548:556])
		if got, err := c.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
		key := NTPasswordHash("old")
		password, err := DecryptNewPassword(c.EncryptedPassword, key)
		if err != nil {
			return
		}
		block, err := NewPasswordEncryptedWithOldHash(&counting{}, password, key)
		if err != nil {
			t.Fatalf("%q: %v", password, err)
		}
		if again, err := DecryptNewPassword(block, key); err != nil || again != password {
			t.Fatalf("%q became %q %v", password, again, err)
		}
	})
}
