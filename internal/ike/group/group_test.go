package group

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"concentrator/internal/corpus"
	wireike "concentrator/internal/wire/ike"
)

// modps are the MODP groups with the constant of their formula in RFC 2409 section 6.2 and RFC 3526 sections 2 to 5, and the
// least length of an exponent that RFC 3526 section 8 gives for the strength.
var modps = []struct {
	id       wireike.GroupID
	prime    string
	bits     int
	constant int64
	exponent int
}{
	{wireike.GroupMODP1024, prime1024, 1024, 129093, 160},
	{wireike.GroupMODP1536, prime1536, 1536, 741804, 180},
	{wireike.GroupMODP2048, prime2048, 2048, 124476, 220},
	{wireike.GroupMODP3072, prime3072, 3072, 1690314, 260},
	{wireike.GroupMODP4096, prime4096, 4096, 240904, 300},
}

var all = []wireike.GroupID{
	wireike.GroupMODP1024, wireike.GroupMODP1536, wireike.GroupMODP2048, wireike.GroupMODP3072, wireike.GroupMODP4096,
	wireike.GroupECP256, wireike.GroupECP384, wireike.GroupECP521,
}

func get(t testing.TB, id wireike.GroupID) Group {
	t.Helper()
	g, ok := Get(id)
	if !ok || g.ID() != id {
		t.Fatalf("no group %v", id)
	}
	return g
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pow2(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }

// pi returns [2^bits pi] by Machin's formula, pi = 16 arctan 1/5 - 4 arctan 1/239.
func pi(bits int) *big.Int {
	const guard = 64
	arctan := func(x int64) *big.Int {
		power := new(big.Int).Div(pow2(bits+guard), big.NewInt(x))
		sum := new(big.Int)
		for n := int64(1); power.Sign() != 0; n += 2 {
			term := new(big.Int).Div(power, big.NewInt(n))
			if n%4 == 1 {
				sum.Add(sum, term)
			} else {
				sum.Sub(sum, term)
			}
			power.Div(power, big.NewInt(x*x))
		}
		return sum
	}
	p := arctan(5)
	p.Mul(p, big.NewInt(16)).Sub(p, new(big.Int).Mul(arctan(239), big.NewInt(4)))
	return p.Rsh(p, guard)
}

// TestRFC3526Primes: each prime is 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c), and both it and (p-1)/2 are prime.
func TestRFC3526Primes(t *testing.T) {
	for _, m := range modps {
		t.Run(m.id.String(), func(t *testing.T) {
			want := pow2(m.bits)
			want.Sub(want, pow2(m.bits-64)).Sub(want, big.NewInt(1))
			middle := pi(m.bits - 130)
			middle.Add(middle, big.NewInt(m.constant)).Mul(middle, pow2(64))
			want.Add(want, middle)
			if got := new(big.Int).SetBytes(unhex(t, m.prime)); got.Cmp(want) != 0 {
				t.Fatalf("prime is %x, want %x", got, want)
			}
			if !want.ProbablyPrime(2) || !new(big.Int).Rsh(want, 1).ProbablyPrime(2) {
				t.Error("no safe prime")
			}
			// 2 generates the subgroup of prime order, so a public value says nothing of the exponent's parity.
			if big.Jacobi(big.NewInt(2), want) != 1 {
				t.Error("2 is no square")
			}
		})
	}
}

// TestOpenSSL checks public values and shared secrets against those of OpenSSL, group by group.
func TestOpenSSL(t *testing.T) {
	text, err := os.ReadFile("testdata/openssl-3.0.19.txt")
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			fields = append(fields, line)
		}
	}
	if len(fields) != 5*len(modps) {
		t.Fatalf("%d fields", len(fields))
	}
	for ; len(fields) > 0; fields = fields[5:] {
		id, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		g := get(t, wireike.GroupID(id))
		p := &modpPrivate{group: g.kind.(*modp), exponent: unhex(t, fields[1])}
		private := &Private{group: g, private: p, pub: p.public()}
		if hex.EncodeToString(private.Public()) != fields[2] {
			t.Errorf("%v: public value %x", g.ID(), private.Public())
		}
		z, err := private.Shared(unhex(t, fields[3]))
		if err != nil || hex.EncodeToString(z) != fields[4] {
			t.Errorf("%v: shared secret %x, %v", g.ID(), z, err)
		}
	}
}

// rfc5903 is RFC 5903 section 8.
var rfc5903 = []struct {
	id                     wireike.GroupID
	i, r, gix, giy, shared string
}{
	{
		wireike.GroupECP256,
		"C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
		"C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
		"DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180",
		"5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
		"D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
	},
	{
		wireike.GroupECP384,
		"099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655 E35B5380 41E649EE 3FAEF896 783AB194",
		"41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060 855CC9BD A0AA2942 E0308312 916B8ED2 960E4BD5 5A7448FC",
		"667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3 1634FE72 B4C55EE6 DE3AC808 ACB4BDB4 C88732AE E95F41AA",
		"",
		"11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4 D6031355 69B9E9D0 9CF5D4A2 70F59746",
	},
	{
		wireike.GroupECP521,
		"0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0 95AA85A3 0FE1C295 2C6771D9 37BA9777 " +
			"F5957B26 39BAB072 462F68C2 7A57382D 4A52",
		"0145BA99 A847AF43 793FDD0E 872E7CDF A16BE30F DC780F97 BCCC3F07 8380201E 9C677D60 0B343757 A3BDBF2A 3163E4C2 " +
			"F869CCA7 458AA4A4 EFFC311F 5CB15168 5EB9",
		"0015417E 84DBF28C 0AD3C278 713349DC 7DF153C8 97A1891B D98BAB43 57C9ECBE E1E3BF42 E00B8E38 0AEAE57C 2D107564 " +
			"94188594 2AF5A7F4 601723C4 195D176C ED3E",
		"",
		"01144C7D 79AE6956 BC8EDB8E 7C787C45 21CB086F A64407F9 7894E5E6 B2D79B04 D1427E73 CA4BAA24 0A347868 59810C06 " +
			"B3C715A3 A8CC3151 F2BEE417 996D19F3 DDEA",
	},
}

func TestRFC5903Section8(t *testing.T) {
	for _, v := range rfc5903 {
		t.Run(v.id.String(), func(t *testing.T) {
			g := get(t, v.id)
			i, errI := g.Generate(bytes.NewReader(unhex(t, v.i)))
			r, errR := g.Generate(bytes.NewReader(unhex(t, v.r)))
			if errI != nil || errR != nil {
				t.Fatal(errI, errR)
			}
			if want := unhex(t, v.gix+v.giy); !bytes.HasPrefix(i.Public(), want) {
				t.Errorf("public value %x, want %x", i.Public(), want)
			}
			for _, side := range []struct{ own, peer *Private }{{i, r}, {r, i}} {
				z, err := side.own.Shared(side.peer.Public())
				if err != nil || !bytes.Equal(z, unhex(t, v.shared)) {
					t.Errorf("shared secret %x, %v", z, err)
				}
			}
		})
	}
}

// TestAgree: both sides get the same secret, of the full length, in every group.
func TestAgree(t *testing.T) {
	for _, id := range all {
		g := get(t, id)
		a, errA := g.Generate(rand.Reader)
		b, errB := g.Generate(rand.Reader)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		za, errA := a.Shared(b.Public())
		zb, errB := b.Shared(a.Public())
		if errA != nil || errB != nil || !bytes.Equal(za, zb) || len(za) != g.SharedLen() || len(a.Public()) != g.PublicLen() {
			t.Errorf("%v: %x, %x, %v, %v", id, za, zb, errA, errB)
		}
		if bytes.Equal(a.Public(), b.Public()) {
			t.Errorf("%v: the same value twice", id)
		}
		if a.Group() != g {
			t.Errorf("%v: group %v", id, a.Group().ID())
		}
		if legacy := id == wireike.GroupMODP1024 || id == wireike.GroupMODP1536; g.Legacy() != legacy {
			t.Errorf("%v: Legacy is %v", id, g.Legacy())
		}
	}
}

// TestExponents: private exponents have 256 to 320 bits, not less than RFC 3526 section 8 wants, and never begin with 0.
func TestExponents(t *testing.T) {
	for _, m := range modps {
		p, err := get(t, m.id).Generate(zeros{})
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).SetBytes(p.private.(*modpPrivate).exponent).BitLen()
		if n < 256 || n > 320 || n < m.exponent || n%8 != 0 {
			t.Errorf("%v: %d bits", m.id, n)
		}
	}
}

// TestPadding: a secret and a public value with leading zeros keep the length of the group. The peer's value is 2^k, so
// that the secret with the exponent 2^255 is known to be small only by search: the search is over peers.
func TestPadding(t *testing.T) {
	g := get(t, wireike.GroupMODP1024)
	p, err := g.Generate(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	prime := new(big.Int).SetBytes(unhex(t, prime1024))
	x := new(big.Int).SetBytes(p.private.(*modpPrivate).exponent)
	for k := int64(2); k < 5000; k++ {
		want := new(big.Int).Exp(big.NewInt(k), x, prime)
		if want.BitLen() > 1024-8 {
			continue
		}
		z, err := p.Shared(big.NewInt(k).FillBytes(make([]byte, 128)))
		if err != nil || !bytes.Equal(z, want.FillBytes(make([]byte, 128))) || z[0] != 0 {
			t.Fatalf("%x, %v, want %x", z, err, want)
		}
		return
	}
	t.Fatal("no secret begins with a zero octet")
}

// refused are values that Shared must refuse.
func refused(t testing.TB, id wireike.GroupID) map[string][]byte {
	g := get(t, id)
	n := g.PublicLen()
	one := make([]byte, n)
	one[n-1] = 1
	out := map[string][]byte{
		"empty": {}, "0": make([]byte, n), "1": one, "short": one[1:], "long": append([]byte{0}, one...),
		"short 2": append(make([]byte, n-2), 2), "all ones": bytes.Repeat([]byte{0xff}, n),
	}
	for _, m := range modps {
		if m.id == id {
			p := new(big.Int).SetBytes(unhex(t, m.prime))
			out["p-1"] = new(big.Int).Sub(p, big.NewInt(1)).Bytes()
			out["p"] = p.Bytes()
			out["p+1"] = new(big.Int).Add(p, big.NewInt(1)).Bytes()
			out["p+2"] = new(big.Int).Add(p, big.NewInt(2)).Bytes()
		}
	}
	if e, ok := g.kind.(*ecp); ok {
		k, err := g.Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		off := bytes.Clone(k.Public())
		off[n-1] ^= 1
		out["off the curve"] = off
		swapped := append(bytes.Clone(k.Public()[n/2:]), k.Public()[:n/2]...)
		out["y|x"] = swapped
		out["SEC 1"] = append([]byte{4}, k.Public()...)
		out["x only"] = k.Public()[:e.coordinateLen()]
	}
	return out
}

func TestPublicValueRefused(t *testing.T) {
	for _, id := range all {
		p, err := get(t, id).Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range refused(t, id) {
			if z, err := p.Shared(v); !errors.Is(err, ErrPublicValue) || z != nil {
				t.Errorf("%v: %s gives %x, %v", id, name, z, err)
			}
		}
	}
	// 2 and p-2 are allowed, however unlikely.
	for _, m := range modps {
		p, err := get(t, m.id).Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		prime := new(big.Int).SetBytes(unhex(t, m.prime))
		for _, v := range []*big.Int{big.NewInt(2), new(big.Int).Sub(prime, big.NewInt(2))} {
			z, err := p.Shared(v.FillBytes(make([]byte, m.bits/8)))
			want := new(big.Int).Exp(v, new(big.Int).SetBytes(p.private.(*modpPrivate).exponent), prime)
			if err != nil || new(big.Int).SetBytes(z).Cmp(want) != 0 {
				t.Errorf("%v: %x^x gives %x, %v", m.id, v, z, err)
			}
		}
	}
}

func TestGetUnknown(t *testing.T) {
	for _, id := range []wireike.GroupID{0, 1, 3, 4, 17, 22, 25, 31, 1025, 65535} {
		if g, ok := Get(id); ok {
			t.Errorf("group %v: %v", id, g)
		}
	}
}

// zeros and ones are broken sources of randomness.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

type ones struct{}

func (ones) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0xff
	}
	return len(b), nil
}

func TestBrokenRandom(t *testing.T) {
	for _, id := range all {
		if p, err := get(t, id).Generate(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) || p != nil {
			t.Errorf("%v: %v, %v", id, p, err)
		}
	}
	for _, v := range rfc5903 {
		for _, r := range []io.Reader{zeros{}, ones{}} {
			if p, err := get(t, v.id).Generate(r); !errors.Is(err, errRandom) || p != nil {
				t.Errorf("%v from %T: %v, %v", v.id, r, p, err)
			}
		}
	}
}

func TestWipe(t *testing.T) {
	for _, id := range all {
		g := get(t, id)
		p, err := g.Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got, want := fmt.Sprintf(format, p), "private value of group "+id.String(); got != want {
				t.Errorf("%v: %s shows %s", id, format, got)
			}
		}
		m, isMODP := p.private.(*modpPrivate)
		pub := bytes.Clone(p.Public())
		p.Wipe()
		p.Wipe()
		if isMODP && !bytes.Equal(m.exponent, make([]byte, len(m.exponent))) {
			t.Errorf("%v: the exponent is still there", id)
		}
		if z, err := p.Shared(pub); err == nil {
			t.Errorf("%v: %x", id, z)
		}
		if !bytes.Equal(p.Public(), pub) {
			t.Errorf("%v: the public value has changed", id)
		}
	}
}

// FuzzShared gives Shared any value, in a group of each kind, and compares with plain arithmetic.
func FuzzShared(f *testing.F) {
	corpus.Add(f)
	for i, id := range []wireike.GroupID{wireike.GroupMODP1024, wireike.GroupECP256, wireike.GroupECP521} {
		for _, v := range refused(f, id) {
			f.Add(uint8(i), v)
		}
	}
	prime := new(big.Int).SetBytes(unhex(f, prime1024))
	least := new(big.Int).Sub(prime, big.NewInt(1))
	f.Fuzz(func(t *testing.T, which uint8, peer []byte) {
		id := []wireike.GroupID{wireike.GroupMODP1024, wireike.GroupECP256, wireike.GroupECP521}[which%3]
		g := get(t, id)
		p, err := g.Generate(&counter{})
		if err != nil {
			t.Fatal(err)
		}
		z, err := p.Shared(peer)
		if (z == nil) == (err == nil) || (z != nil && len(z) != g.SharedLen()) {
			t.Fatalf("%x, %v", z, err)
		}
		if m, ok := p.private.(*modpPrivate); ok {
			v := new(big.Int).SetBytes(peer)
			good := len(peer) == 128 && v.Cmp(big.NewInt(1)) > 0 && v.Cmp(least) < 0
			if good != (err == nil) {
				t.Fatalf("%x: %v", peer, err)
			}
			if want := new(big.Int).Exp(v, new(big.Int).SetBytes(m.exponent), prime); good && want.Cmp(new(big.Int).SetBytes(z)) != 0 {
				t.Fatalf("%x^x is %x, want %x", peer, z, want)
			}
		}
	})
}

// counter is a source of octets that is the same each time.
type counter struct{ n uint64 }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, c.n))
		b[i] = sum[0]
	}
	return len(b), nil
}

func BenchmarkGenerate(b *testing.B) {
	for _, id := range all {
		b.Run(id.String(), func(b *testing.B) {
			g := get(b, id)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Generate(rand.Reader); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkShared(b *testing.B) {
	for _, id := range all {
		b.Run(fmt.Sprint(id), func(b *testing.B) {
			g := get(b, id)
			x, errX := g.Generate(rand.Reader)
			y, errY := g.Generate(rand.Reader)
			if errX != nil || errY != nil {
				b.Fatal(errX, errY)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Shared(y.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestWipeLeavesNothing: a private value that was wiped computes nothing any more, and its octets are gone.
func TestWipeLeavesNothing(t *testing.T) {
	for _, id := range []wireike.GroupID{wireike.GroupMODP2048, wireike.GroupECP256, wireike.GroupECP384, wireike.GroupECP521} {
		g, _ := Get(id)
		p, err := g.Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var left []byte
		switch inner := p.private.(type) {
		case *modpPrivate:
			p.Wipe()
			left = inner.exponent
		case *ecpPrivate:
			p.Wipe()
			left = inner.key.Bytes()
		}
		if len(left) == 0 || !bytes.Equal(left, make([]byte, len(left))) {
			t.Errorf("group %v: %x is left", id, left)
		}
		if _, err := p.Shared(p.Public()); err == nil {
			t.Errorf("group %v: it still computes", id)
		}
	}
}
