package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// cpuid asks the processor what it can do, and the operating system by XGETBV what it saves.
func cpuid(c *build.Context) {
	begin(c, "cpuid", "func(leaf, sub uint32) (eax, ebx, ecx, edx uint32)", "cpuid is the instruction of that name.")
	c.Load(c.Param("leaf"), reg.EAX)
	c.Load(c.Param("sub"), reg.ECX)
	c.CPUID()
	for i, r := range []reg.Register{reg.EAX, reg.EBX, reg.ECX, reg.EDX} {
		c.Store(r, c.ReturnIndex(i))
	}
	c.RET()

	begin(c, "xgetbv", "func() (eax uint32)",
		"xgetbv is the low half of XCR0: the registers that the operating system saves. It needs OSXSAVE.")
	c.XORL(reg.ECX, reg.ECX)
	c.XGETBV()
	c.Store(reg.EAX, c.ReturnIndex(0))
	c.RET()
}
