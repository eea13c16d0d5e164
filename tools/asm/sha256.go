package main

import (
	"fmt"
	"math/big"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sha256 makes the kernels of SHA-256 (FIPS 180-4) by the SHA instructions. Two rounds are one SHA256RNDS2, which takes
// 4 cycles on AMD's Zen 3 but can begin every 2. What sha1 says of VZEROUPPER and of alignment holds here too.
func sha256(c *build.Context) {
	reverse := table(c, "sha256Reverse", 0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f)
	constants := table(c, "sha256Constants", sha256K()...)
	sha256Few(c, 1, reverse, constants)
	sha256Few(c, 2, reverse, constants)
	sha256Four(c, reverse, constants)
}

// sha256K makes the constants of FIPS 180-4 section 4.2.2: the first 32 bits of the fractions of the cube roots of the
// first 64 primes.
func sha256K() []uint32 {
	var constants []uint32
	for p := int64(2); len(constants) < 64; p++ {
		if !big.NewInt(p).ProbablyPrime(0) {
			continue
		}
		scaled := new(big.Int).Lsh(big.NewInt(p), 3*32)
		root := new(big.Int)
		for bit := 32 + 3; bit >= 0; bit-- {
			more := new(big.Int).SetBit(root, bit, 1)
			if new(big.Int).Exp(more, big.NewInt(3), nil).Cmp(scaled) <= 0 {
				root = more
			}
		}
		constants = append(constants, uint32(root.Uint64()))
	}
	return constants
}

// sha256Load gets the state of a message as SHA256RNDS2 wants it: a, b, e, f and c, d, g, h, the first at the top.
func sha256Load(c *build.Context, h operand.Mem, abef, cdgh, t reg.Register) {
	c.VPSHUFD(operand.Imm(0xb1), h, t)               // cdab
	c.VPSHUFD(operand.Imm(0x1b), h.Offset(16), cdgh) // efgh
	c.VPALIGNR(operand.Imm(8), cdgh, t, abef)
	c.VPBLENDW(operand.Imm(0xf0), t, cdgh, cdgh)
}

func sha256Store(c *build.Context, h operand.Mem, abef, cdgh, t reg.Register) {
	c.VPSHUFD(operand.Imm(0x1b), abef, t)    // feba
	c.VPSHUFD(operand.Imm(0xb1), cdgh, cdgh) // dchg
	c.VPBLENDW(operand.Imm(0xf0), cdgh, t, abef)
	c.VPALIGNR(operand.Imm(8), t, cdgh, cdgh)
	c.VMOVDQU(abef, h)
	c.VMOVDQU(cdgh, h.Offset(16))
}

// sha256Rounds does four rounds with the message vector m. SHA256RNDS2 takes the message from X0, always.
func sha256Rounds(c *build.Context, constants operand.Mem, m, abef, cdgh reg.Register) {
	c.VPADDD(constants, m, reg.X0)
	c.SHA256RNDS2(reg.X0, abef, cdgh)
	c.VPSHUFD(operand.Imm(0x0e), reg.X0, reg.X0)
	c.SHA256RNDS2(reg.X0, cdgh, abef)
}

// sha256Few has all of one or two messages in registers, six each.
func sha256Few(c *build.Context, lanes int, reverse, constants operand.Mem) {
	name := fmt.Sprintf("sha256NI%d", lanes)
	begin(c, name, hashSignature, hashDoc(name, lanes)...)
	h, w, left, data := hashArguments(c, lanes)
	k := reg.RDX
	c.LEAQ(constants, k)
	abef := func(l int) reg.Register { return xmm[1+l*6] }
	cdgh := func(l int) reg.Register { return xmm[2+l*6] }
	m := func(l, i int) reg.Register { return xmm[3+l*6+i&3] }
	t, swap := xmm[13], xmm[14]
	c.VMOVDQU(reverse, swap)
	for l := range lanes {
		sha256Load(c, at(h, l*32), abef(l), cdgh(l), t)
	}
	c.Label("block")
	for l := range lanes {
		c.VMOVDQA(abef(l), start(w, l, 0))
		c.VMOVDQA(cdgh(l), start(w, l, 1))
		for i := range 4 {
			c.VMOVDQU(at(data[l], i*16), m(l, i))
			c.VPSHUFB(swap, m(l, i), m(l, i))
		}
	}
	for i := range 16 { // of four rounds each
		for l := range lanes {
			if i >= 4 {
				c.SHA256MSG1(m(l, i-3), m(l, i))
				c.VPALIGNR(operand.Imm(4), m(l, i-2), m(l, i-1), t)
				c.VPADDD(t, m(l, i), m(l, i))
				c.SHA256MSG2(m(l, i-1), m(l, i))
			}
		}
		for l := range lanes {
			sha256Rounds(c, at(k, i*16), m(l, i), abef(l), cdgh(l))
		}
	}
	for l := range lanes {
		c.VPADDD(start(w, l, 0), abef(l), abef(l))
		c.VPADDD(start(w, l, 1), cdgh(l), cdgh(l))
		c.ADDQ(operand.Imm(64), data[l])
	}
	c.DECQ(left)
	c.JNE(operand.LabelRef("block"))
	for l := range lanes {
		sha256Store(c, at(h, l*32), abef(l), cdgh(l), t)
	}
	c.RET()
}

// sha256Four keeps the messages in memory, but for the newest vector of each.
func sha256Four(c *build.Context, reverse, constants operand.Mem) {
	const lanes = 4
	begin(c, "sha256NI4", hashSignature, hashDoc("sha256NI4", lanes)...)
	h, w, left, data := hashArguments(c, lanes)
	k := reg.RDX
	c.LEAQ(constants, k)
	abef, cdgh := xmm[1:1+lanes], xmm[1+lanes:1+2*lanes]
	pool := pool(xmm[1+2*lanes : 15])
	swap := xmm[15]
	c.VMOVDQU(reverse, swap)
	for l := range lanes {
		sha256Load(c, at(h, l*32), abef[l], cdgh[l], xmm[0])
	}
	var newest [lanes]reg.VecPhysical
	c.Label("block")
	for l := range lanes {
		c.VMOVDQA(abef[l], start(w, l, 0))
		c.VMOVDQA(cdgh[l], start(w, l, 1))
	}
	for i := range 16 { // of four rounds each
		for l := range lanes {
			m := pool.take()
			if i < 4 {
				c.VMOVDQU(at(data[l], i*16), m)
				c.VPSHUFB(swap, m, m)
			} else {
				t := pool.take()
				c.VMOVDQA(ring(w, l, i), m)
				c.SHA256MSG1(ring(w, l, i-3), m)
				c.VMOVDQA(ring(w, l, i-2), t)
				c.VPALIGNR(operand.Imm(4), t, newest[l], t)
				c.VPADDD(t, m, m)
				c.SHA256MSG2(newest[l], m)
				pool.free(t)
			}
			if i > 0 {
				pool.free(newest[l])
			}
			newest[l] = m
			if i < 14 {
				c.VMOVDQA(m, ring(w, l, i))
			}
			sha256Rounds(c, at(k, i*16), m, abef[l], cdgh[l])
		}
	}
	for l := range lanes {
		pool.free(newest[l])
		c.VPADDD(start(w, l, 0), abef[l], abef[l])
		c.VPADDD(start(w, l, 1), cdgh[l], cdgh[l])
		c.ADDQ(operand.Imm(64), data[l])
	}
	c.DECQ(left)
	c.JNE(operand.LabelRef("block"))
	for l := range lanes {
		sha256Store(c, at(h, l*32), abef[l], cdgh[l], xmm[0])
	}
	c.RET()
}
