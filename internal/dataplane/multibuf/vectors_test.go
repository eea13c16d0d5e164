package multibuf

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCBCVectors: RFC 3602 section 4, and NIST SP 800-38A sections F.2.3 and F.2.5 for the longer keys.
func TestCBCVectors(t *testing.T) {
	const nist = `6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
		30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710`
	for _, test := range []struct{ name, key, iv, plain, cipher string }{
		{
			"RFC 3602 case 1", "06a9214036b8a15b512e03d534120006", "3dafba429d9eb430b422da802c9fac41",
			hex.EncodeToString([]byte("Single block msg")), "e353779c1079aeb82708942dbe77181a",
		},
		{
			"RFC 3602 case 2", "c286696d887c9aa0611bbb3e2025a45a", "562e17996d093d28ddb3ba695a2e6f58",
			"000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f",
			"d296cd94c2cccf8a3a863028b5e1dc0a 7586602d253cfff91b8266bea6d61ab1",
		},
		{
			"RFC 3602 case 3", "6c3ea0477630ce21a2ce334aa746c2cd", "c782dc4c098c66cbd9cd27d825682c81",
			hex.EncodeToString([]byte("This is a 48-byte message (exactly 3 AES blocks)")),
			"d0a02b3836451753d493665d33f0e886 2dea54cdb293abc7506939276772f8d5 021c19216bad525c8579695d83ba2684",
		},
		{
			"RFC 3602 case 4", "56e47a38c5598974bc46903dba290349", "8ce82eefbea0da3c44699ed7db51b7d9",
			`a0a1a2a3a4a5a6a7a8a9aaabacadaeaf b0b1b2b3b4b5b6b7b8b9babbbcbdbebf
			c0c1c2c3c4c5c6c7c8c9cacbcccdcecf d0d1d2d3d4d5d6d7d8d9dadbdcdddedf`,
			`c30e32ffedc0774e6aff6af0869f71aa 0f3af07a9a31a9c684db207eb0ef8e4e
			35907aa632c3ffdf868bb7b29d3d46ad 83ce9f9a102ee99d49a53e87f4c3da55`,
		},
		{
			"NIST F.2.3", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "000102030405060708090a0b0c0d0e0f", nist,
			`4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a
			571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd`,
		},
		{
			"NIST F.2.5", "603deb1015ca71be2b73aef0857d7781 1f352c073b6108d72d9810a30914dff4",
			"000102030405060708090a0b0c0d0e0f", nist,
			`f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
			39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			underAll(t, func(t *testing.T) {
				plain, want := unhex(t, test.plain), unhex(t, test.cipher)
				x := NewScratch()
				ops := []CBC{{
					Key: newAES(t, unhex(t, test.key)), IV: [blockLen]byte(unhex(t, test.iv)), Data: bytes.Clone(plain),
				}}
				EncryptCBC(ops, x)
				if !bytes.Equal(ops[0].Data, want) {
					t.Errorf("encrypted %x, want %x", ops[0].Data, want)
				}
				ops[0].Data = bytes.Clone(want)
				DecryptCBC(ops, x)
				if !bytes.Equal(ops[0].Data, plain) {
					t.Errorf("decrypted %x, want %x", ops[0].Data, plain)
				}
			})
		})
	}
}

// TestHMACVectors: RFC 2202 section 3 and RFC 4231 section 4, but for the cases with keys longer than a block.
func TestHMACVectors(t *testing.T) {
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	for _, test := range []struct {
		name               string
		hash               Hash
		key, message, want string
	}{
		{"RFC 2202 case 1", SHA1, strings.Repeat("0b", 20), text("Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00"},
		{
			"RFC 2202 case 2", SHA1, text("Jefe"), text("what do ya want for nothing?"),
			"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
		},
		{
			"RFC 2202 case 3", SHA1, strings.Repeat("aa", 20), strings.Repeat("dd", 50),
			"125d7342b9ac11cd91a39af48aa17b4f63f175d3",
		},
		{
			"RFC 2202 case 4", SHA1, "0102030405060708090a0b0c0d0e0f10111213141516171819", strings.Repeat("cd", 50),
			"4c9007f4026250c6bc8414f9bf50c86c2d7235da",
		},
		{
			"RFC 2202 case 5", SHA1, strings.Repeat("0c", 20), text("Test With Truncation"),
			"4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
		},
		{
			"RFC 4231 case 1", SHA256, strings.Repeat("0b", 20), text("Hi There"),
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		},
		{
			"RFC 4231 case 2", SHA256, text("Jefe"), text("what do ya want for nothing?"),
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		},
		{
			"RFC 4231 case 3", SHA256, strings.Repeat("aa", 20), strings.Repeat("dd", 50),
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
		},
		{
			"RFC 4231 case 4", SHA256, "0102030405060708090a0b0c0d0e0f10111213141516171819", strings.Repeat("cd", 50),
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			underAll(t, func(t *testing.T) {
				whole, want := unhex(t, test.message), unhex(t, test.want)
				k := newHMAC(t, test.hash, unhex(t, test.key))
				for cut := range len(whole) + 1 {
					ops := []MAC{{Key: k, Message: whole[:cut], Tail: whole[cut:]}}
					SumHMAC(ops, NewScratch())
					if got := ops[0].Sum[:test.hash.Size()]; !bytes.Equal(got, want) {
						t.Errorf("cut at %d: %x, want %x", cut, got, want)
					}
				}
			})
		})
	}
}
