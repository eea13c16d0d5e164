package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

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

func rsaPrivate(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	return rsa2048().(*rsa.PrivateKey)
}

// TestRFC4754Section8 checks the RFC's signatures of "abc".
func TestRFC4754Section8(t *testing.T) {
	h256, h384, h512 := sha256.Sum256([]byte("abc")), sha512.Sum384([]byte("abc")), sha512.Sum512([]byte("abc"))
	for _, v := range []struct {
		method  wireike.AuthMethod
		curve   elliptic.Curve
		hash    []byte
		w, r, s string
	}{
		{
			wireike.AuthECDSA256, elliptic.P256(), h256[:],
			"DC51D386 6A15BACD E33D96F9 92FCA99D A7E6EF09 34E70975 59C27F16 14C88A7F",
			"CB28E099 9B9C7715 FD0A80D8 E47A7707 9716CBBF 917DD72E 97566EA1 C066957C",
			"86FA3BB4 E26CAD5B F90B7F81 899256CE 7594BB1E A0C89212 748BFF3B 3D5B0315",
		},
		{
			wireike.AuthECDSA384, elliptic.P384(), h384[:],
			"0BEB6466 34BA8773 5D77AE48 09A0EBEA 865535DE 4C1E1DCB 692E8470 8E81A5AF 62E528C3 8B2A81B3 5309668D 73524D9F",
			"FB017B91 4E291494 32D8BAC2 9A514640 B46F53DD AB2C6994 8084E293 0F1C8F7E 08E07C9C 63F2D21A 07DCB56A 6AF56EB3",
			"B263A130 5E057F98 4D38726A 1B468741 09F417BC A112674C 528262A4 0A629AF1 CBB9F516 CE0FA7D2 FF630863 A00E8B9F",
		},
		{
			wireike.AuthECDSA521, elliptic.P521(), h512[:],
			"0065FDA3 409451DC AB0A0EAD 45495112 A3D813C1 7BFD34BD F8C1209D 7DF58491 20597779 060A7FF9 D704ADF7 8B570FFA " +
				"D6F062E9 5C7E0C5D 5481C5B1 53B48B37 5FA1",
			"0154FD38 36AF92D0 DCA57DD5 341D3053 988534FD E8318FC6 AAAAB68E 2E6F4339 B19F2F28 1A7E0B22 C269D93C F8794A92 " +
				"78880ED7 DBB8D936 2CAEACEE 54432055 2251",
			"017705A7 030290D1 CEB605A9 A1BB03FF 9CDD521E 87A696EC 926C8C10 C8362DF4 97536710 1F67D1CF 9BCCBF2F 3D239534 " +
				"FA509E70 AAC851AE 01AAC68D 62F86647 2660",
		},
	} {
		t.Run(v.method.String(), func(t *testing.T) {
			key, err := ecdsa.ParseRawPrivateKey(v.curve, unhex(t, v.w))
			if err != nil {
				t.Fatal(err)
			}
			p := &Peer{leaf: &x509.Certificate{PublicKey: &key.PublicKey}}
			if err := p.CheckSignature(v.method, v.hash, unhex(t, v.r+v.s)); err != nil {
				t.Error(err)
			}
			if err := p.CheckSignature(v.method, v.hash, unhex(t, v.s+v.r)); err == nil {
				t.Error("s|r is accepted")
			}
		})
	}
}

func TestSignature(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	methods := map[wireike.AuthMethod]crypto.Signer{
		wireike.AuthRSASignature: rsa2048(), wireike.AuthECDSA256: p256(), wireike.AuthECDSA384: p384(), wireike.AuthECDSA521: p521(),
	}
	lengths := map[wireike.AuthMethod]int{
		wireike.AuthRSASignature: 256, wireike.AuthECDSA256: 64, wireike.AuthECDSA384: 96, wireike.AuthECDSA521: 132,
	}
	for method, key := range methods {
		t.Run(method.String(), func(t *testing.T) {
			server := issue(t, root, "server", withKey(key))
			o, err := ParseOwn(pemOf(server), keyPEM(t, key))
			if err != nil {
				t.Fatal(err)
			}
			p := present(t, server)
			if p.Method() != method {
				t.Errorf("method %v", p.Method())
			}
			for _, n := range []int{16, 20, 32, 48, 64} { // each hash of phase 1
				hash := make([]byte, n)
				if _, err := rand.Read(hash); err != nil {
					t.Fatal(err)
				}
				sig, err := o.Sign(hash)
				if err != nil || len(sig) != lengths[method] {
					t.Fatalf("%d octets, %v", len(sig), err)
				}
				if err := p.CheckSignature(method, hash, sig); err != nil {
					t.Errorf("%d: %v", n, err)
				}
				for other := range methods {
					if err := p.CheckSignature(other, hash, sig); other != method && reasonOf(t, err) != isUntrusted {
						t.Errorf("%v passes as %v", method, other)
					}
				}
				if err := p.CheckSignature(wireike.AuthPSK, hash, sig); err == nil {
					t.Error("passes as PSK")
				}
				hash[0] ^= 1
				if err := p.CheckSignature(method, hash, sig); reasonOf(t, err) != isUntrusted {
					t.Errorf("another hash: %v", err)
				}
				hash[0] ^= 1
				for _, i := range []int{0, len(sig) / 2, len(sig) - 1} {
					bad := bytes.Clone(sig)
					bad[i] ^= 1
					if err := p.CheckSignature(method, hash, bad); reasonOf(t, err) != isUntrusted {
						t.Errorf("octet %d changed: %v", i, err)
					}
				}
				for _, bad := range [][]byte{nil, {}, sig[:len(sig)-1], append(bytes.Clone(sig), 0), make([]byte, len(sig)), bytes.Repeat([]byte{0xff}, len(sig))} {
					if err := p.CheckSignature(method, hash, bad); reasonOf(t, err) != isUntrusted {
						t.Errorf("%d octets: %v", len(bad), err)
					}
				}
			}
		})
	}
}

// TestRFC2409Section5_1: an RSA signature is 00 01 ff.. 00 hash, without DigestInfo, to the private exponent.
func TestRFC2409Section5_1(t *testing.T) {
	key := rsaPrivate(t)
	server := issue(t, nil, "server", withKey(key))
	o, err := ParseOwn(pemOf(server), keyPEM(t, key))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha1.Sum([]byte("HASH_R"))
	sig, err := o.Sign(hash[:])
	if err != nil {
		t.Fatal(err)
	}
	got := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, 256))
	want := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-20)...)
	want = append(append(want, 0), hash[:]...)
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	with, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := present(t, server).CheckSignature(wireike.AuthRSASignature, hash[:], with); err == nil {
		t.Error("a signature with DigestInfo is accepted")
	}
}
