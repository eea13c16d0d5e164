package main

import (
	"strconv"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sum makes the kernels of the Internet checksum (RFC 1071): of memory, and of memory that is copied.
//
// A checksum is a remainder by 2^16-1, so it doesn't matter in how wide numbers we add, but no carry may be lost, and there
// are no vectors with carries. So for every 8 octets x we keep two sums of 64 bits: s of x, whatever overflows it, and h of
// x>>32, which can't overflow. s-h<<32 is the sum of the low halves: exact, for that can't overflow either. That is an
// addition and a shift and an addition for 32 octets; masks for the low halves would be a fourth.
//
// What is left behind the last whole vector is taken as the end of a vector that begins earlier, masked, so that lengths
// cost no branches. For it to end at an even octet, where words end, an odd last octet is taken by itself.
func sum(c *build.Context) {
	masks := c.StaticGlobal("sumMasks")
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 8 {
		c.AddDatum(8*i, operand.U64(-uint64(i/4))) // 32 octets of zeros, 32 of ones
	}
	sumOf(c, "sumAVX2", "func(src *byte, size int) uint64", false, masks,
		"sumAVX2 adds size octets, at least 32, as words in little-endian order, a zero behind an odd one. The result is less",
		"than 2^30 times size+8; size must be less than 2^30. It needs AVX2.")
	sumOf(c, "copyAVX2", "func(dst, src *byte, size int) uint64", true, masks,
		"copyAVX2 copies size octets and returns what sumAVX2 does. Its dst and src may be the same, but not overlap otherwise.")
}

func sumOf(c *build.Context, name, signature string, copies bool, masks operand.Mem, doc ...string) {
	begin(c, name, signature, doc...)
	src, dst, size, tail, octet := reg.RSI, reg.RDI, reg.RCX, reg.RDX, reg.RBX
	s, h := ymm[0:2], ymm[2:4]
	x := ymm[4:8]

	c.Load(c.Param("src"), src)
	if copies {
		c.Load(c.Param("dst"), dst)
	}
	c.Load(c.Param("size"), size)
	for i := range 2 {
		c.VPXOR(s[i], s[i], s[i])
		c.VPXOR(h[i], h[i], h[i])
	}
	c.XORL(octet.As32(), octet.As32())
	c.TESTQ(operand.U32(1), size)
	c.JZ(operand.LabelRef("even"))
	c.DECQ(size)
	c.MOVBLZX(operand.Mem{Base: src, Index: size, Scale: 1}, octet.As32())
	if copies {
		c.MOVB(octet.As8(), operand.Mem{Base: dst, Index: size, Scale: 1})
	}
	c.Label("even")
	c.MOVQ(size, tail)
	c.ANDQ(operand.Imm(31), tail)
	c.SUBQ(tail, size)

	// add takes n vectors at the pointers.
	add := func(n int) {
		for i := range n {
			c.VMOVDQU(at(src, 32*i), x[i])
		}
		for i := range n {
			if copies {
				c.VMOVDQU(x[i], at(dst, 32*i))
			}
			c.VPADDQ(x[i], s[i&1], s[i&1])
			c.VPSRLQ(operand.Imm(32), x[i], x[i])
			c.VPADDQ(x[i], h[i&1], h[i&1])
		}
	}
	// loop takes n vectors at a time as long as there are so many.
	loop := func(n int) {
		turn, rest := "turn"+strconv.Itoa(n), "rest"+strconv.Itoa(n)
		step := operand.Imm(uint64(32 * n))
		c.SUBQ(step, size)
		c.JB(operand.LabelRef(rest))
		c.Label(turn)
		add(n)
		c.ADDQ(step, src)
		if copies {
			c.ADDQ(step, dst)
		}
		c.SUBQ(step, size)
		c.JAE(operand.LabelRef(turn))
		c.Label(rest)
		c.ADDQ(step, size)
	}
	loop(4)
	loop(1)

	c.VMOVDQU(operand.Mem{Base: src, Index: tail, Scale: 1, Disp: -32}, x[0])
	if copies {
		c.VMOVDQU(x[0], operand.Mem{Base: dst, Index: tail, Scale: 1, Disp: -32})
	}
	mask := reg.RAX
	c.LEAQ(masks, mask)
	c.VPAND(operand.Mem{Base: mask, Index: tail, Scale: 1}, x[0], x[0])
	c.VPADDQ(x[0], s[0], s[0])
	c.VPSRLQ(operand.Imm(32), x[0], x[0])
	c.VPADDQ(x[0], h[0], h[0])

	c.VPADDQ(s[1], s[0], s[0])
	c.VPADDQ(h[1], h[0], h[0])
	c.VPSLLQ(operand.Imm(32), h[0], x[0])
	c.VPSUBQ(x[0], s[0], s[0])
	c.VPADDQ(h[0], s[0], s[0]) // 2^32 is 1
	c.VEXTRACTI128(operand.Imm(1), s[0], xmm[4])
	c.VPADDQ(xmm[4], xmm[0], xmm[0])
	c.VPSRLDQ(operand.Imm(8), xmm[0], xmm[4])
	c.VPADDQ(xmm[4], xmm[0], xmm[0])
	sum := reg.RAX
	c.VMOVQ(xmm[0], sum)
	c.ADDQ(octet, sum)
	c.VZEROUPPER()
	c.Store(sum, c.ReturnIndex(0))
	c.RET()
}
