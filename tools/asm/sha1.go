package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Where a lane's things lie in the working memory of the hashes' kernels with four lanes: four message vectors in a ring,
// then the two vectors of the state that the block began with.
const laneSize = 6 * 16

func ring(w reg.Register, lane, i int) operand.Mem  { return at(w, lane*laneSize+(i&3)*16) }
func start(w reg.Register, lane, i int) operand.Mem { return at(w, lane*laneSize+64+i*16) }

// sha1 makes the kernels of SHA-1 (FIPS 180-4) by the SHA instructions. Four rounds are one SHA1RNDS4, which takes 6
// cycles on AMD's Zen 3 but can begin every 2, so two messages cost as much as one.
//
// The SHA instructions have no VEX form. Mixing is harmless as long as the registers' upper halves are clean, hence the
// VZEROUPPER at the beginning. Memory operands of theirs must be aligned to 16.
func sha1(c *build.Context) {
	reverse := table(c, "sha1Reverse", 0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203)
	sha1Few(c, 1, reverse)
	sha1Few(c, 2, reverse)
	sha1Four(c, reverse)
}

// hashArguments loads the arguments of a hash's kernel.
func hashArguments(c *build.Context, lanes int) (h, w, left reg.Register, data []reg.Register) {
	h, w, left = reg.RAX, reg.RBX, reg.RCX
	data = []reg.Register{reg.RSI, reg.RDI, reg.R8, reg.R9}[:lanes]
	c.Load(c.Param("data"), left.(reg.GPPhysical))
	for l := range lanes {
		c.MOVQ(at(left, l*8), data[l])
	}
	c.Load(c.Param("h"), h.(reg.GPPhysical))
	c.Load(c.Param("w"), w.(reg.GPPhysical))
	c.Load(c.Param("blocks"), left.(reg.GPPhysical))
	c.VZEROUPPER()
	return h, w, left, data
}

const hashSignature = "func(h *uint32, w *byte, data **byte, blocks int)"

func hashDoc(name string, lanes int) []string {
	return []string{
		fmt.Sprintf("%s hashes blocks blocks of 64 octets, not 0, of each of %s. h: [%d][8]uint32; w: [%d]byte, aligned to 16,",
			name, count(lanes, "message"), lanes, lanes*laneSize),
		"working memory. It needs SHA and AVX.",
	}
}

// sha1Load gets the state of a message: abcd with a at the top, e at the top of a register of its own.
func sha1Load(c *build.Context, h operand.Mem, abcd, e reg.Register) {
	c.VPSHUFD(operand.Imm(0x1b), h, abcd)
	c.VMOVD(h.Offset(16), e)
	c.VPSLLDQ(operand.Imm(12), e, e)
}

func sha1Store(c *build.Context, h operand.Mem, abcd, e reg.Register) {
	c.VPSHUFD(operand.Imm(0x1b), abcd, abcd)
	c.VMOVDQU(abcd, h)
	c.VPEXTRD(operand.Imm(3), e, h.Offset(16))
}

// sha1Few has all of one or two messages in registers, seven each.
func sha1Few(c *build.Context, lanes int, reverse operand.Mem) {
	name := fmt.Sprintf("sha1NI%d", lanes)
	begin(c, name, hashSignature, hashDoc(name, lanes)...)
	h, w, left, data := hashArguments(c, lanes)
	abcd := func(l int) reg.Register { return xmm[l*7] }
	e := func(l, i int) reg.Register { return xmm[l*7+1+i&1] } // two that take turns
	m := func(l, i int) reg.Register { return xmm[l*7+3+i&3] }
	swap := xmm[14]
	c.VMOVDQU(reverse, swap)
	for l := range lanes {
		sha1Load(c, at(h, l*32), abcd(l), e(l, 0))
	}
	c.Label("block")
	for l := range lanes {
		c.VMOVDQA(abcd(l), start(w, l, 0))
		c.VMOVDQA(e(l, 0), start(w, l, 1))
		for i := range 4 {
			c.VMOVDQU(at(data[l], i*16), m(l, i))
			c.VPSHUFB(swap, m(l, i), m(l, i))
		}
	}
	for i := range 20 { // of four rounds each
		for l := range lanes {
			if i == 0 {
				c.VPADDD(m(l, 0), e(l, 0), e(l, 0))
			} else {
				c.SHA1NEXTE(m(l, i), e(l, i))
			}
			c.VMOVDQA(abcd(l), e(l, i+1))
		}
		// Of the next three vectors of the message, what this one takes part in.
		for l := range lanes {
			if 4 <= i+1 && i+1 < 20 {
				c.SHA1MSG2(m(l, i), m(l, i+1))
			}
		}
		for l := range lanes {
			c.SHA1RNDS4(operand.Imm(uint64(i/5)), e(l, i), abcd(l))
		}
		for l := range lanes {
			if i >= 1 && i+3 < 20 {
				c.SHA1MSG1(m(l, i), m(l, i-1))
			}
			if 4 <= i+2 && i+2 < 20 {
				c.VPXOR(m(l, i), m(l, i-2), m(l, i-2))
			}
		}
	}
	for l := range lanes {
		c.SHA1NEXTE(start(w, l, 1), e(l, 0))
		c.VPADDD(start(w, l, 0), abcd(l), abcd(l))
		c.ADDQ(operand.Imm(64), data[l])
	}
	c.DECQ(left)
	c.JNE(operand.LabelRef("block"))
	for l := range lanes {
		sha1Store(c, at(h, l*32), abcd(l), e(l, 0))
	}
	c.RET()
}

// sha1Four keeps the messages in memory: with the state of four and the newest vector of each message, all registers but
// three are taken, which go from hand to hand.
func sha1Four(c *build.Context, reverse operand.Mem) {
	const lanes = 4
	begin(c, "sha1NI4", hashSignature, hashDoc("sha1NI4", lanes)...)
	h, w, left, data := hashArguments(c, lanes)
	abcd, pool := xmm[:lanes], pool(xmm[lanes:15])
	swap := xmm[15]
	c.VMOVDQU(reverse, swap)
	var e, newest, home [lanes]reg.VecPhysical
	for l := range lanes {
		e[l] = pool.take()
		home[l] = e[l]
		sha1Load(c, at(h, l*32), abcd[l], e[l])
	}
	c.Label("block")
	for l := range lanes {
		c.VMOVDQA(abcd[l], start(w, l, 0))
		c.VMOVDQA(e[l], start(w, l, 1))
	}
	for i := range 20 { // of four rounds each
		for l := range lanes {
			m := pool.take()
			if i < 4 {
				c.VMOVDQU(at(data[l], i*16), m)
				c.VPSHUFB(swap, m, m)
			} else {
				c.VMOVDQA(ring(w, l, i), m)
				c.SHA1MSG1(ring(w, l, i-3), m)
				c.VPXOR(ring(w, l, i-2), m, m)
				c.SHA1MSG2(newest[l], m)
			}
			if i > 0 {
				pool.free(newest[l])
			}
			newest[l] = m
			if i < 18 {
				c.VMOVDQA(m, ring(w, l, i))
			}
			if i == 0 {
				c.VPADDD(m, e[l], e[l])
			} else {
				c.SHA1NEXTE(m, e[l])
			}
			next := pool.take()
			c.VMOVDQA(abcd[l], next)
			c.SHA1RNDS4(operand.Imm(uint64(i/5)), e[l], abcd[l])
			pool.free(e[l])
			e[l] = next
		}
	}
	for l := range lanes {
		pool.free(newest[l])
		c.SHA1NEXTE(start(w, l, 1), e[l])
		c.VPADDD(start(w, l, 0), abcd[l], abcd[l])
		c.ADDQ(operand.Imm(64), data[l])
	}
	pool.bring(c, e[:], home[:])
	c.DECQ(left)
	c.JNE(operand.LabelRef("block"))
	for l := range lanes {
		sha1Store(c, at(h, l*32), abcd[l], home[l])
	}
	c.RET()
}
