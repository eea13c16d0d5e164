package keymat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cookie(t testing.TB, s string) (c [8]byte) {
	t.Helper()
	copy(c[:], unhex(t, s))
	return c
}

func hashOf(t testing.TB, id wireike.HashID) Hash {
	t.Helper()
	h, ok := HashByID(id)
	if !ok || h.ID() != id {
		t.Fatalf("no hash %v", id)
	}
	return h
}

func cipherOf(t testing.TB, id wireike.EncryptionID, bits int) Cipher {
	t.Helper()
	c, ok := CipherByID(id, bits)
	if !ok || c.ID() != id {
		t.Fatalf("no cipher %v %d", id, bits)
	}
	return c
}

// published are vectors of NIST's CAVP for the key derivation of IKEv1 (SP 800-135 section 4.1.1). An empty result is not
// published.
var published = []struct {
	name                            string
	hash                            wireike.HashID
	psk, ni, nr, cookieI, cookieR   string
	shared                          string
	skeyid, skeyidD, skeyidA, skeyE string
}{
	{
		name: "ikev1_psk SHA-1", hash: wireike.HashSHA1,
		psk: "75", ni: "b9a2d0e922dc66dd", nr: "2130166863b5ddef", cookieI: "83d374c30b3b5082", cookieR: "5afc0da06c728029",
		shared:  "739003ba2c11c982946c65e26acf661fbf8ebb78011a9fead79efa12fe3e71cc",
		skeyid:  "62b04d112877e442fc3282fc37c076997718a0b9",
		skeyidD: "369e5aad1bdb5faf6a3d929d500cdc236710a9ab",
		skeyidA: "588e957d8d790d093b3a39f121473473af78e9bb",
		skeyE:   "cd74b0c048219db81384d3fda8f6cda51e398a2b",
	},
	{
		name: "ikev1_dsa SHA-1", hash: wireike.HashSHA1,
		ni: "69a62284195f1680", nr: "80c94ba25c8abda5", cookieI: "8c3bcd3a69831d7f", cookieR: "d2d9a7ff4fbe95a7",
		shared:  "8ba4cbc73c0187301dc19a975823854dbd641c597f637f8d053a83b9514673eb",
		skeyid:  "707197817fb2d90cf54d1842606bdea59b9f4823",
		skeyidD: "384be709a8a5e63c3ed160cfe3921c4b37d5b32d",
		skeyidA: "48b327575abe3adba0f279849e289022a13e2b47",
		skeyE:   "a4a415c8e0c38c0da847c356cc61c24df8025560",
	},
	{
		name: "ikev1_dsa SHA-384", hash: wireike.HashSHA384,
		ni: "cec89d845add83ef", nr: "cebd43ab71d17db9", cookieI: "1c8aba986a00af0f", cookieR: "b049d9672f73c920",
		shared:  "1724dbd893523764bfef8c6fa927856fccfb77ae254358cce29c2769a32915c1",
		skeyid:  "6e4514610bf82d0ab7bf0260096f6146a153c712071abb633ced813c572156c783e36874a65a64690ca701d40d56ea18",
		skeyidD: "b083234e9ed7745911f93eb31faa66fcf88906266830eb17ef166d295cb1f86a3543b8b8efa5df918533df537e9c809c",
		skeyidA: "938295a374aceb4147a8024c9a007dd313403fd8fd7070dbd0cfbe1ccd308dbfbb7b9e9c64049e4df44ff551016cb7b5",
		skeyE:   "8595b249dc1fa8599729f87eb6b9dd13bfbfdfd4f9ebd78929bab6ecc402539ad32cb6e7ef4ba6a0f53da14e4df07ed4",
	},
	{
		name: "ikev1_psk SHA-384", hash: wireike.HashSHA384,
		psk: "9e", ni: "d6596b7e5b398534", nr: "136fbdfa8d0ceb8e",
		skeyid: "b54fa27cb4251051e44a659d73591845691d11f1874bf4e4088e5df6462d28e57a3a2af3ab4f9b746a8f5766f8785f2b",
	},
	{
		name: "ikev1_psk SHA-256", hash: wireike.HashSHA256,
		psk: "a0", ni: "ead9ced494868f41", nr: "f1aff4f425a94f18",
		skeyid: "558a99b299773d267cf7c8ef073bf3b7af362c206c75a538403c5ef884d4cace",
	},
}

func TestNISTCAVPIKEv1(t *testing.T) {
	for _, v := range published {
		t.Run(v.name, func(t *testing.T) {
			p := &Phase1{
				Hash: hashOf(t, v.hash), Cipher: cipherOf(t, wireike.EncryptionAESCBC, 256),
				NonceI: unhex(t, v.ni), NonceR: unhex(t, v.nr), Shared: unhex(t, v.shared),
				Cookies: Cookies{cookie(t, v.cookieI), cookie(t, v.cookieR)},
			}
			k := p.WithSignatures()
			if v.psk != "" {
				k = p.WithPSK(unhex(t, v.psk))
			}
			for _, r := range []struct{ name, want, got string }{
				{"SKEYID", v.skeyid, hex.EncodeToString(k.skeyid)},
				{"SKEYID_d", v.skeyidD, hex.EncodeToString(k.skeyidD)},
				{"SKEYID_a", v.skeyidA, hex.EncodeToString(k.skeyidA)},
				{"SKEYID_e", v.skeyE, hex.EncodeToString(k.skeyidE)},
			} {
				if r.want != "" && r.got != r.want {
					t.Errorf("%s is %s, want %s", r.name, r.got, r.want)
				}
			}
		})
	}
}

// TestNISTCAVPChainSHA256 starts from the SKEYID of a vector whose nonces are 256 octets long.
func TestNISTCAVPChainSHA256(t *testing.T) {
	p := &Phase1{
		Hash: hashOf(t, wireike.HashSHA256), Cipher: cipherOf(t, wireike.EncryptionAESCBC, 128),
		Shared:  unhex(t, "a1ff3dc6cf9b4c04709943cb4ca1f1789bcf360b03f1d027de3ae8ee039e9155"),
		Cookies: Cookies{cookie(t, "6c6beb72631ddc3d"), cookie(t, "b84e24b22cffbd14")},
	}
	k := p.derive(unhex(t, "750c5c94b9c2ec20b68033e024dadf0fa87e8b48c6561b21c72478451a06583d"))
	if got := hex.EncodeToString(k.skeyidD); got != "a4f7ca7de913814813e3312099e7c943bd293483f387532330237f1b20957310" {
		t.Errorf("SKEYID_d %s", got)
	}
	if got := hex.EncodeToString(k.skeyidA); got != "1d4b705746c43b0a6fcbb8db33983c0f24ff6f8b6543e3779fed227c6067f004" {
		t.Errorf("SKEYID_a %s", got)
	}
	if got := hex.EncodeToString(k.skeyidE); got != "03e6f16cd9ce9f64b5cdc5b34cca7163483ba5389a30afebef3d14640b0a815e" {
		t.Errorf("SKEYID_e %s", got)
	}
}

// TestNSSAppendixB expands a key as NSS does (its vectors ikeV1AppB), and leaves one alone that is long enough.
func TestNSSAppendixB(t *testing.T) {
	h := hashOf(t, wireike.HashSHA256)
	e := unhex(t, "5f00d1bd2c58ec224b1e6b71fa0f19a1faa7a193952c444411b47c1a9d8ba6fe")
	want := unhex(t, "b10fff32cbeaa1e7afe6ab0b191e0bd63cd524849a4b56019146d232a24cf9af6b89494d2a360b06825db8bb0324c15cecf47fc0"+
		"bc99e39bf1171a7f4bf1733dc49ef64c642e73b054b2e82456e34fa3c822da475e27e403b3da3929da50e6aa9e7f9252c68fa069b4b0edd374e"+
		"80d35378c4f5e8ec285a1b169c92bbb5353d05ba94165")
	if got := h.cipherKey(e, 132); !bytes.Equal(got, want) {
		t.Errorf("132 octets: %x", got)
	}
	for _, n := range []int{33, 64, 65} {
		if got := h.cipherKey(e, n); !bytes.Equal(got, want[:n]) {
			t.Errorf("%d octets: %x", n, got)
		}
	}
	for _, n := range []int{32, 16, 24} {
		got := h.cipherKey(e, n)
		if !bytes.Equal(got, e[:n]) {
			t.Errorf("%d octets: %x", n, got)
		}
		if got[0]++; bytes.Equal(got, e[:n]) {
			t.Errorf("%d octets: no copy", n)
		}
	}
}

// model is RFC 2409 written down once more in the plainest way, to be compared with.
type model struct {
	hash func() hash.Hash
}

func (m model) prf(key []byte, text ...[]byte) []byte {
	h := hmac.New(m.hash, key)
	h.Write(bytes.Join(text, nil))
	return h.Sum(nil)
}

func (m model) sum(text ...[]byte) []byte {
	h := m.hash()
	h.Write(bytes.Join(text, nil))
	return h.Sum(nil)
}

var models = map[wireike.HashID]model{
	wireike.HashMD5: {md5.New}, wireike.HashSHA1: {sha1.New}, wireike.HashSHA256: {sha256.New},
	wireike.HashSHA384: {sha512.New384}, wireike.HashSHA512: {sha512.New},
}

var ciphers = []struct {
	id    wireike.EncryptionID
	bits  int
	block func([]byte) (cipher.Block, error)
	key   int
}{
	{wireike.EncryptionAESCBC, 128, aes.NewCipher, 16},
	{wireike.EncryptionAESCBC, 192, aes.NewCipher, 24},
	{wireike.EncryptionAESCBC, 256, aes.NewCipher, 32},
	{wireike.Encryption3DES, 0, des.NewTripleDESCipher, 24},
}

// eachSuite runs f with the keys of each hash and cipher, and with those of the model.
func eachSuite(t *testing.T, f func(t *testing.T, m model, p *Phase1, k *Keys)) {
	for id, m := range models {
		for _, c := range ciphers {
			t.Run(fmt.Sprintf("%v-%v-%d", id, c.id, c.bits), func(t *testing.T) {
				p := phase1(t, id, c.id, c.bits)
				f(t, m, p, p.WithPSK(tenant.Secret("a shared secret")))
			})
		}
	}
}

func phase1(t testing.TB, h wireike.HashID, c wireike.EncryptionID, bits int) *Phase1 {
	return &Phase1{
		Hash: hashOf(t, h), Cipher: cipherOf(t, c, bits),
		NonceI: []byte("nonce of the initiator"), NonceR: []byte("nonce of the responder"),
		PublicI: bytes.Repeat([]byte("I"), 256), PublicR: bytes.Repeat([]byte("R"), 256),
		Shared: bytes.Repeat([]byte("xy"), 128), SA: []byte("body of the SA payload"),
		Cookies: Cookies{[8]byte{1, 2, 3, 4, 5, 6, 7, 8}, [8]byte{9, 10, 11, 12, 13, 14, 15, 16}},
	}
}

func TestRFC2409Section5Hashes(t *testing.T) {
	eachSuite(t, func(t *testing.T, m model, p *Phase1, k *Keys) {
		skeyid := m.prf([]byte("a shared secret"), p.NonceI, p.NonceR)
		ci, cr := p.Cookies.Initiator[:], p.Cookies.Responder[:]
		a := m.prf(skeyid, m.prf(skeyid, p.Shared, ci, cr, []byte{0}), p.Shared, ci, cr, []byte{1})
		first := p.FirstIV()
		id, rest, mid := []byte("id payload"), []byte("payloads"), []byte{0, 0, 0, 7}
		hashI := func(m model) []byte { return m.prf(skeyid, p.PublicI, p.PublicR, ci, cr, p.SA, id) }
		hashR := func(m model) []byte { return m.prf(skeyid, p.PublicR, p.PublicI, cr, ci, p.SA, id) }
		for _, r := range []struct {
			name      string
			got, want []byte
		}{
			{"HASH_I", k.HashI(wireike.AuthPSK, id), hashI(m)},
			{"HASH_R", k.HashR(wireike.AuthPSK, id), hashR(m)},
			{"HASH_I to be signed by RSA", k.HashI(wireike.AuthRSASignature, id), hashI(m)},
			{"HASH_R to be signed by RSA", k.HashR(wireike.AuthRSASignature, id), hashR(m)},
			// RFC 4754 section 4: each curve brings its hash along.
			{"HASH_I to be signed by P-256", k.HashI(wireike.AuthECDSA256, id), hashI(models[wireike.HashSHA256])},
			{"HASH_I to be signed by P-384", k.HashI(wireike.AuthECDSA384, id), hashI(models[wireike.HashSHA384])},
			{"HASH_R to be signed by P-384", k.HashR(wireike.AuthECDSA384, id), hashR(models[wireike.HashSHA384])},
			{"HASH_R to be signed by P-521", k.HashR(wireike.AuthECDSA521, id), hashR(models[wireike.HashSHA512])},
			{"HASH(1)", k.Hash1(7, rest), m.prf(a, mid, rest)},
			{"HASH(2)", k.Hash2(7, p.NonceI, rest), m.prf(a, mid, p.NonceI, rest)},
			{"HASH(3)", k.Hash3(7, p.NonceI, p.NonceR), m.prf(a, []byte{0}, mid, p.NonceI, p.NonceR)},
			{"HASH of an Informational", k.HashInformational(7, rest), m.prf(a, mid, rest)},
			{"first IV", first.block[:p.Cipher.BlockSize()], m.sum(p.PublicI, p.PublicR)[:p.Cipher.BlockSize()]},
			{"NAT-D", p.Hash.NATD(p.Cookies, netip.MustParseAddrPort("192.0.2.1:4500")), m.sum(ci, cr, []byte{192, 0, 2, 1, 0x11, 0x94})},
			{"NAT-D, mapped", p.Hash.NATD(p.Cookies, netip.MustParseAddrPort("[::ffff:192.0.2.1]:4500")), m.sum(ci, cr, []byte{192, 0, 2, 1, 0x11, 0x94})},
		} {
			if !bytes.Equal(r.got, r.want) {
				t.Errorf("%s is %x, want %x", r.name, r.got, r.want)
			}
		}
		if p.Hash.Size() != len(a) {
			t.Errorf("size %d", p.Hash.Size())
		}
	})
}

// TestRFC2409AppendixB walks a phase 1 and a Quick Mode through the cipher as both sides do.
func TestRFC2409AppendixB(t *testing.T) {
	eachSuite(t, func(t *testing.T, m model, p *Phase1, k *Keys) {
		// The key, once more.
		var key []byte
		if p.Cipher.KeyLen() <= len(k.skeyidE) {
			key = k.skeyidE[:p.Cipher.KeyLen()]
		} else {
			for last := m.prf(k.skeyidE, []byte{0}); len(key) < p.Cipher.KeyLen(); last = m.prf(k.skeyidE, last) {
				key = append(key, last...)
			}
			key = key[:p.Cipher.KeyLen()]
		}
		var block cipher.Block
		for _, c := range ciphers {
			if c.id == p.Cipher.ID() && c.key == p.Cipher.KeyLen() {
				block, _ = c.block(key)
			}
		}
		size := block.BlockSize()
		if size != p.Cipher.BlockSize() {
			t.Fatalf("block size %d", p.Cipher.BlockSize())
		}

		// Message 5 and message 6, which goes on with its last block.
		five, six := []byte("message 5, no whole number of blocks"), bytes.Repeat([]byte("6"), 4*size)
		iv := p.FirstIV()
		body, next := k.Encrypt(iv, five)
		padded := append(bytes.Clone(five), make([]byte, (size-len(five)%size)%size)...)
		want := make([]byte, len(padded))
		cipher.NewCBCEncrypter(block, m.sum(p.PublicI, p.PublicR)[:size]).CryptBlocks(want, padded)
		if !bytes.Equal(body, want) {
			t.Fatalf("message 5 is %x, want %x", body, want)
		}
		if iv != p.FirstIV() {
			t.Error("Encrypt has changed its IV")
		}
		got, next5, err := k.Decrypt(iv, body)
		if err != nil || !bytes.Equal(got, padded) || next5 != next {
			t.Errorf("message 5 comes out as %q, %v", got, err)
		}
		body6, last := k.Encrypt(next, six)
		if len(body6) != len(six) {
			t.Errorf("message 6 is %d octets long", len(body6))
		}
		want = make([]byte, len(six))
		cipher.NewCBCEncrypter(block, body[len(body)-size:]).CryptBlocks(want, six)
		if !bytes.Equal(body6, want) {
			t.Errorf("message 6 is %x, want %x", body6, want)
		}

		// A Quick Mode.
		quick := k.ExchangeIV(last, 0x01020304)
		if want := m.sum(body6[len(body6)-size:], []byte{1, 2, 3, 4})[:size]; !bytes.Equal(quick.block[:size], want) {
			t.Errorf("IV of the Quick Mode is %x, want %x", quick.block[:size], want)
		}
		if k.ExchangeIV(last, 0x01020305) == quick {
			t.Error("two exchanges have one IV")
		}
	})
}

func TestDecryptRefusesPartBlocks(t *testing.T) {
	for _, c := range ciphers {
		p := phase1(t, wireike.HashSHA1, c.id, c.bits)
		k, iv := p.WithSignatures(), p.FirstIV()
		for _, n := range []int{0, 1, 7, p.Cipher.BlockSize() - 1, p.Cipher.BlockSize() + 1} {
			got, next, err := k.Decrypt(iv, make([]byte, n))
			if !errors.Is(err, ErrCiphertext) || got != nil || next != iv {
				t.Errorf("%v: %d octets give %x, %v", c.id, n, got, err)
			}
		}
		if body, next := k.Encrypt(iv, nil); len(body) != 0 || next != iv {
			t.Errorf("%v: nothing gives %x", c.id, body)
		}
	}
}

// TestRFC2409Section5_5 derives the keys of ESP, with and without perfect forward secrecy.
func TestRFC2409Section5_5(t *testing.T) {
	eachSuite(t, func(t *testing.T, m model, p *Phase1, k *Keys) {
		for _, shared := range []tenant.Secret{nil, bytes.Repeat([]byte{0xab}, 256)} {
			q := QuickMode{Shared: shared, Protocol: wireike.ProtocolESP, NonceI: []byte("Ni, 8 octets"), NonceR: []byte("Nr")}
			for _, n := range []struct{ encryption, integrity int }{{32, 20}, {16, 32}, {24, 16}, {20, 0}, {36, 0}, {32, 64}} {
				spi := []byte{0xc0, 1, 2, 3}
				seed := bytes.Join([][]byte{shared, {3}, spi, q.NonceI, q.NonceR}, nil)
				var want []byte
				for last := m.prf(k.skeyidD, seed); len(want) < n.encryption+n.integrity; last = m.prf(k.skeyidD, last, seed) {
					want = append(want, last...)
				}
				got := k.SAKeys(q, 0xc0010203, n.encryption, n.integrity)
				if !bytes.Equal(got.Encryption, want[:n.encryption]) || !bytes.Equal(got.Integrity, want[n.encryption:n.encryption+n.integrity]) {
					t.Errorf("%v: %x %x, want %x", n, []byte(got.Encryption), []byte(got.Integrity), want)
				}
				if cap(got.Encryption) != n.encryption || cap(got.Integrity) != n.integrity {
					t.Errorf("%v: octets of the keys stay behind them", n)
				}
			}
		}
	})
}

func TestEqual(t *testing.T) {
	if !Equal([]byte("abc"), []byte("abc")) || Equal([]byte("abc"), []byte("abd")) || Equal([]byte("abc"), []byte("ab")) || Equal(nil, []byte{0}) {
		t.Error("Equal does not compare")
	}
}

func TestUnknownAlgorithms(t *testing.T) {
	for _, id := range []wireike.HashID{0, 3, 7, 65535} {
		if _, ok := HashByID(id); ok {
			t.Errorf("hash %v", id)
		}
	}
	for _, c := range []struct {
		id   wireike.EncryptionID
		bits int
	}{
		{0, 0},
		{wireike.EncryptionDES, 0},
		{wireike.EncryptionAESCBC, 0},
		{wireike.EncryptionAESCBC, 64},
		{wireike.EncryptionAESCBC, 127},
		{wireike.EncryptionAESCBC, 512},
		{wireike.Encryption3DES, 192},
		{wireike.Encryption3DES, 128},
		{6, 128},
		{wireike.EncryptionAESCBC, -128},
	} {
		if got, ok := CipherByID(c.id, c.bits); ok || got != (Cipher{}) {
			t.Errorf("cipher %v %d", c.id, c.bits)
		}
	}
}

func TestLegacy(t *testing.T) {
	for id := range models {
		if got := hashOf(t, id).Legacy(); got != (id == wireike.HashMD5) {
			t.Errorf("%v: %v", id, got)
		}
	}
	for _, c := range ciphers {
		if got := cipherOf(t, c.id, c.bits).Legacy(); got != (c.id == wireike.Encryption3DES) {
			t.Errorf("%v: %v", c.id, got)
		}
	}
}

func TestWipe(t *testing.T) {
	p := phase1(t, wireike.HashSHA256, wireike.EncryptionAESCBC, 256)
	k := p.WithPSK(tenant.Secret("a shared secret"))
	shared, skeyid, d, a, e := p.Shared, k.skeyid, k.skeyidD, k.skeyidA, k.skeyidE
	zero := func(name string, s tenant.Secret, want bool) {
		t.Helper()
		if got := bytes.Equal(s, make([]byte, len(s))); got != want || len(s) == 0 {
			t.Errorf("%s cleared: %v", name, got)
		}
	}
	hash1 := k.Hash1(1, nil)
	k.EndPhase1()
	zero("SKEYID", skeyid, true)
	zero("SKEYID_e", e, true)
	zero("SKEYID_d", d, false)
	zero("SKEYID_a", a, false)
	zero("g^xy", shared, false)
	if !bytes.Equal(k.Hash1(1, nil), hash1) {
		t.Error("HASH(1) has changed")
	}
	p.Wipe()
	zero("g^xy", shared, true)
	k.Wipe()
	k.Wipe()
	zero("SKEYID_d", d, true)
	zero("SKEYID_a", a, true)
}

// TestSecretsDoNotPrint: no form of keys shows them.
func TestSecretsDoNotPrint(t *testing.T) {
	k := phase1(t, wireike.HashSHA256, wireike.EncryptionAESCBC, 256).WithPSK(nil)
	sa := k.SAKeys(QuickMode{Protocol: wireike.ProtocolESP}, 1, 16, 20)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, sa); !strings.Contains(got, "redacted") || strings.Contains(got, fmt.Sprint([]byte(sa.Encryption))) {
			t.Errorf("%s shows %s", format, got)
		}
		if got := fmt.Sprintf(format, k); got != "keys of SHA2-256, AES-CBC" {
			t.Errorf("%s shows %s", format, got)
		}
	}
}

// FuzzDecrypt gives any body to Decrypt. What it accepts comes out of Encrypt again, block by block.
func FuzzDecrypt(f *testing.F) {
	corpus.Add(f)
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), make([]byte, 16))
	f.Add(uint8(3), make([]byte, 24))
	f.Add(uint8(3), make([]byte, 23))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		c := ciphers[int(which)%len(ciphers)]
		p := phase1(t, wireike.HashSHA1, c.id, c.bits)
		k, iv := p.WithSignatures(), p.FirstIV()
		got, next, err := k.Decrypt(iv, body)
		if good := len(body) > 0 && len(body)%p.Cipher.BlockSize() == 0; good != (err == nil) {
			t.Fatalf("%d octets: %v", len(body), err)
		}
		if err != nil {
			return
		}
		if again, next2 := k.Encrypt(iv, got); !bytes.Equal(again, body) || next2 != next {
			t.Fatalf("%x becomes %x", body, again)
		}
	})
}

// BenchmarkTryPSK is one candidate of message 5: all keys, one decryption, HASH_I.
func BenchmarkTryPSK(b *testing.B) {
	for _, id := range []wireike.HashID{wireike.HashSHA1, wireike.HashSHA256, wireike.HashSHA512} {
		b.Run(id.String(), func(b *testing.B) {
			p, body := phase1(b, id, wireike.EncryptionAESCBC, 256), make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				k := p.WithPSK(tenant.Secret("a shared secret"))
				if _, _, err := k.Decrypt(p.FirstIV(), body); err != nil {
					b.Fatal(err)
				}
				k.HashI(wireike.AuthPSK, body)
			}
		})
	}
}

func BenchmarkSAKeys(b *testing.B) {
	k := phase1(b, wireike.HashSHA1, wireike.EncryptionAESCBC, 256).WithPSK(nil)
	q := QuickMode{Protocol: wireike.ProtocolESP, NonceI: make([]byte, 48), NonceR: make([]byte, 16)}
	b.ReportAllocs()
	for b.Loop() {
		k.SAKeys(q, 1000, 32, 20)
	}
}
