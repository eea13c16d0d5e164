package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// aes makes the kernels of AES. Key schedules are those of FIPS 197, and for decryption of its equivalent inverse cipher
// (section 5.3.5).
func aes(c *build.Context) {
	substitute(c)
	invertKeys(c)
	encryptCBC(c, "encryptVAES12", 12, ymm)
	encryptCBC(c, "encryptAESNI8", 8, xmm)
	encryptCBC(c, "encryptAESNI4", 4, xmm)
	encryptCBC(c, "encryptAESNI1", 1, xmm)
	decryptCBC(c, "decryptVAES", 16, ymm)
	decryptCBC(c, "decryptAESNI", 8, xmm)
}

func substitute(c *build.Context) {
	begin(c, "substitute", "func(word uint32) uint32", "substitute is SubWord of FIPS 197. It needs AES and AVX.")
	c.Load(c.Param("word"), reg.EAX)
	c.VMOVD(reg.EAX, xmm[0])
	c.VPSHUFD(operand.Imm(0), xmm[0], xmm[0])
	c.VAESKEYGENASSIST(operand.Imm(0), xmm[0], xmm[0])
	c.VMOVD(xmm[0], reg.EAX)
	c.Store(reg.EAX, c.ReturnIndex(0))
	c.RET()
}

func invertKeys(c *build.Context) {
	begin(c, "invertKeys", "func(dec, enc *byte, rounds int)",
		"invertKeys makes the round keys of decryption from those of encryption. It needs AES and AVX.")
	dec, enc, left := reg.RAX, reg.RBX, reg.RCX
	c.Load(c.Param("dec"), dec)
	c.Load(c.Param("enc"), enc)
	c.Load(c.Param("rounds"), left)
	c.MOVQ(left, reg.RDX)
	c.SHLQ(operand.Imm(4), reg.RDX)
	c.ADDQ(reg.RDX, dec)
	c.VMOVDQU(at(enc, 0), xmm[0])
	c.VMOVDQU(xmm[0], at(dec, 0))
	c.DECQ(left)
	c.Label("invert")
	c.ADDQ(operand.Imm(16), enc)
	c.SUBQ(operand.Imm(16), dec)
	c.VAESIMC(at(enc, 0), xmm[0])
	c.VMOVDQU(xmm[0], at(dec, 0))
	c.DECQ(left)
	c.JNE(operand.LabelRef("invert"))
	c.VMOVDQU(at(enc, 16), xmm[0])
	c.VMOVDQU(xmm[0], at(dec, -16))
	c.RET()
}

// afterRounds writes the rounds of AES for any of the three lengths of key: round for all but the last, and last; it goes
// on at the label end.
func afterRounds(c *build.Context, label string, round, last func(r int)) {
	rounds := argument(c, "rounds")
	for r := 1; r <= 9; r++ {
		round(r)
	}
	c.CMPQ(rounds, operand.Imm(12))
	c.JL(operand.LabelRef(label + "Key128"))
	round(10)
	round(11)
	c.CMPQ(rounds, operand.Imm(12))
	c.JE(operand.LabelRef(label + "Key192"))
	round(12)
	round(13)
	last(14)
	c.JMP(operand.LabelRef(label + "Last"))
	c.Label(label + "Key192")
	last(12)
	c.JMP(operand.LabelRef(label + "Last"))
	c.Label(label + "Key128")
	last(10)
	c.Label(label + "Last")
}

// encryptCBC interleaves the chains of lanes packets: a chain must wait for each round of its block, so one alone leaves
// the AES unit idle for three quarters of its time (seven eighths where there are two units). With ymm, two lanes share a
// register.
//
// The round keys of all lanes are operands from memory, side by side, because there are more than registers. The packets'
// pointers are all in registers, which is why the general registers are all taken, and the number of rounds and octets
// stay on the stack; with pointers in memory, 16 lanes are slower than 12.
func encryptCBC(c *build.Context, name string, lanes int, vec []reg.VecPhysical) {
	features, perVec := "AES and AVX", 1
	if vec[0] == ymm[0] {
		features, perVec = "VAES and AVX2", 2
	}
	begin(c, name, "func(keys, iv *byte, data **byte, rounds, size int)",
		fmt.Sprintf("%s encrypts size octets, not 0, of each of %s. keys: [rounds+1][%d][16]byte, best aligned to 32;",
			name, count(lanes, "packet"), lanes),
		fmt.Sprintf("iv: [%d][16]byte, becomes the last blocks. It needs %s.", lanes, features))
	vecs := lanes / perVec
	stride := 16 * perVec
	pointers := []reg.Register{
		reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15,
	}[:lanes]
	keys, offset := reg.RAX, reg.RBX
	key := func(r, v int) operand.Mem { return at(keys, (r*vecs+v)*stride) }
	packet := func(l int) operand.Mem { return operand.Mem{Base: pointers[l], Index: offset, Scale: 1} }
	chain, text := vec[:vecs], vec[vecs:]

	c.Load(c.Param("iv"), offset)
	for v := range vecs {
		c.VMOVDQU(at(offset, v*stride), chain[v])
	}
	c.Load(c.Param("data"), offset)
	for l := range lanes {
		c.MOVQ(at(offset, l*8), pointers[l])
	}
	c.Load(c.Param("keys"), keys)
	c.XORL(reg.EBX, reg.EBX)

	c.Label("step")
	for v := range vecs {
		// The chain is added last: everything before it is done while the step before still runs.
		if perVec == 1 {
			c.VMOVDQU(packet(v), text[v])
		} else {
			c.VMOVDQU(packet(2*v), text[v].(reg.Vec).AsX())
			c.VINSERTI128(operand.Imm(1), packet(2*v+1), text[v], text[v])
		}
		c.VPXOR(key(0, v), text[v], text[v])
		c.VPXOR(text[v], chain[v], chain[v])
	}
	afterRounds(c, "step", func(r int) {
		for v := range vecs {
			c.VAESENC(key(r, v), chain[v], chain[v])
		}
	}, func(r int) {
		for v := range vecs {
			c.VAESENCLAST(key(r, v), chain[v], chain[v])
		}
	})
	for v := range vecs {
		if perVec == 1 {
			c.VMOVDQU(chain[v], packet(v))
		} else {
			c.VMOVDQU(chain[v].(reg.Vec).AsX(), packet(2*v))
			c.VEXTRACTI128(operand.Imm(1), chain[v], packet(2*v+1))
		}
	}
	c.ADDQ(operand.Imm(16), offset)
	c.CMPQ(offset, argument(c, "size"))
	c.JNE(operand.LabelRef("step"))

	c.Load(c.Param("iv"), offset)
	for v := range vecs {
		c.VMOVDQU(chain[v], at(offset, v*stride))
	}
	c.VZEROUPPER()
	c.RET()
}

// decryptCBC decrypts one packet: its blocks don't wait for each other. At most most blocks are in flight, then, for what
// is left, half as many, a quarter and so on.
func decryptCBC(c *build.Context, name string, most int, vec []reg.VecPhysical) {
	features, perVec := "AES and AVX", 1
	if vec[0] == ymm[0] {
		features, perVec = "VAES and AVX2", 2
	}
	begin(c, name, "func(keys, iv, data *byte, rounds, blocks int)",
		fmt.Sprintf("%s decrypts a packet of blocks blocks. keys: [rounds+1][16]byte, of decryption.", name),
		fmt.Sprintf("It needs %s.", features))
	keys, data, left := reg.RAX, reg.RBX, reg.RCX
	c.Load(c.Param("iv"), data)
	previous := vec[15] // its low half is the ciphertext before data
	c.VMOVDQU(at(data, 0), previous.(reg.Vec).AsX())
	c.Load(c.Param("keys"), keys)
	c.Load(c.Param("data"), data)
	c.Load(c.Param("blocks"), left)
	for blocks := most; blocks > 0; blocks /= 2 {
		label := fmt.Sprintf("blocks%d", blocks)
		v, stride := vec, 16*perVec
		if blocks == 1 {
			v, stride = xmm, 16
		}
		vecs := max(blocks/perVec, 1)
		key, first := v[14], v[13]
		load := func(r int) {
			if stride == 32 {
				c.VBROADCASTI128(at(keys, r*16), key)
			} else {
				c.VMOVDQU(at(keys, r*16), key)
			}
		}
		c.Label(label)
		c.CMPQ(left, operand.Imm(uint64(blocks)))
		c.JL(operand.LabelRef(label + "Done"))
		load(0)
		for i := range vecs {
			c.VPXOR(at(data, i*stride), key, v[i])
		}
		afterRounds(c, label, func(r int) {
			load(r)
			for i := range vecs {
				c.VAESDEC(key, v[i], v[i])
			}
		}, func(r int) {
			load(r)
			for i := range vecs {
				c.VAESDECLAST(key, v[i], v[i])
			}
		})
		// Each block is added to the ciphertext before it, which is still there because the last is stored first.
		if stride == 32 {
			c.VINSERTI128(operand.Imm(1), at(data, 0), v[15], first)
		} else {
			c.VMOVDQA(v[15], first)
		}
		c.VMOVDQU(at(data, blocks*16-16), previous.(reg.Vec).AsX())
		for i := vecs - 1; i > 0; i-- {
			c.VPXOR(at(data, i*stride-16), v[i], v[i])
			c.VMOVDQU(v[i], at(data, i*stride))
		}
		c.VPXOR(first, v[0], v[0])
		c.VMOVDQU(v[0], at(data, 0))
		if blocks > 1 {
			c.ADDQ(operand.U32(uint32(blocks*16)), data)
			c.SUBQ(operand.Imm(uint64(blocks)), left)
		}
		if blocks == most {
			c.JMP(operand.LabelRef(label))
		}
		c.Label(label + "Done")
	}
	c.VZEROUPPER()
	c.RET()
}
