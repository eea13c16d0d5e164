package group

import (
	"crypto/ecdh"
	"errors"
	"io"

	"concentrator/internal/wipe"
)

// ecp is a NIST curve, RFC 5903.
type ecp struct {
	curve ecdh.Curve
	bits  int // of the field and of the order, which agree in these three curves
}

// coordinateLen is the length in octets of one coordinate.
func (g *ecp) coordinateLen() int { return (g.bits + 7) / 8 }

// publicLen: a public value is x and y without the octet of SEC 1 that would say so, RFC 5903 section 7.
func (g *ecp) publicLen() int { return 2 * g.coordinateLen() }
func (g *ecp) sharedLen() int { return g.coordinateLen() }

// uncompressed is the octet before the coordinates of a point in SEC 1 section 2.3.3, which crypto/ecdh speaks.
const uncompressed = 4

// maxDraws bounds the search for a scalar below the order. Honest randomness needs more than two draws once in 2^32 times,
// a broken source would never come to an end.
const maxDraws = 64

var errRandom = errors.New("the source of randomness gives no usable scalar")

func (g *ecp) generate(rand io.Reader) (private, error) {
	scalar := make([]byte, g.coordinateLen())
	defer clear(scalar)
	for range maxDraws {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, err
		}
		scalar[0] &= 0xff >> (8*len(scalar) - g.bits)
		if key, err := g.curve.NewPrivateKey(scalar); err == nil { // neither 0 nor the order or more
			return &ecpPrivate{group: g, key: key}, nil
		}
	}
	return nil, errRandom
}

// ecpPrivate is a private scalar.
type ecpPrivate struct {
	group *ecp
	key   *ecdh.PrivateKey
}

func (p *ecpPrivate) public() []byte { return p.key.PublicKey().Bytes()[1:] }

func (p *ecpPrivate) shared(peer []byte) ([]byte, error) {
	point := append(make([]byte, 0, 1+len(peer)), uncompressed)
	key, err := p.group.curve.NewPublicKey(append(point, peer...)) // checks that it lies on the curve
	if err != nil {
		return nil, ErrPublicValue
	}
	z, err := p.key.ECDH(key)
	if err != nil {
		return nil, ErrPublicValue
	}
	return z, nil
}

// wipe clears the scalar, both copies that crypto/ecdh has of it.
func (p *ecpPrivate) wipe() {
	wipe.Bytes(p.key, "privateKey")
	wipe.BytesIn(p.key, "fips", "d")
}
