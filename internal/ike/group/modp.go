package group

import (
	"encoding/hex"
	"io"
	"sync"

	"filippo.io/bigmod"
)

// modp is a group of integers modulo a safe prime with the generator 2.
type modp struct {
	exponentLen int // octets of a private exponent
	len         int // octets of the prime
	modulus     func() *bigmod.Modulus
}

// newMODP returns the group of a prime in hexadecimal, with private exponents of so many bits.
func newMODP(prime string, exponentBits int) *modp {
	return &modp{
		exponentLen: exponentBits / 8,
		len:         len(prime) / 2,
		modulus: sync.OnceValue(func() *bigmod.Modulus {
			b, err := hex.DecodeString(prime)
			if err != nil {
				panic(err) // a misprint in this package
			}
			m, err := bigmod.NewModulus(b)
			if err != nil {
				panic(err)
			}
			return m
		}),
	}
}

func (g *modp) publicLen() int { return g.len }
func (g *modp) sharedLen() int { return g.len }

func (g *modp) generate(rand io.Reader) (private, error) {
	x := make([]byte, g.exponentLen)
	if _, err := io.ReadFull(rand, x); err != nil {
		return nil, err
	}
	// With its first bit set the exponent is never 0 or short, whatever was drawn.
	x[0] |= 0x80
	return &modpPrivate{group: g, exponent: x}, nil
}

// modpPrivate is a private exponent.
type modpPrivate struct {
	group    *modp
	exponent []byte
}

func (p *modpPrivate) public() []byte {
	m := p.group.modulus()
	generator := bigmod.NewNat().SetUint(2).ExpandFor(m)
	return bigmod.NewNat().Exp(generator, p.exponent, m).Bytes(m)
}

func (p *modpPrivate) shared(peer []byte) ([]byte, error) {
	m := p.group.modulus()
	y, err := bigmod.NewNat().SetBytes(peer, m)
	if err != nil {
		return nil, ErrPublicValue // p or more
	}
	if y.IsZero()|y.IsOne()|y.IsMinusOne(m) != 0 {
		return nil, ErrPublicValue
	}
	z := bigmod.NewNat().Exp(y, p.exponent, m)
	out := z.Bytes(m)
	clear(z.Bits())
	return out, nil
}

func (p *modpPrivate) wipe() { clear(p.exponent) }
