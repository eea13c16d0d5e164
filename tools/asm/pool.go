package main

import (
	"slices"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// registers are those that are free, the one that is free the longest first.
type registers struct {
	list []reg.VecPhysical
}

func pool(list []reg.VecPhysical) *registers {
	return &registers{slices.Clone(list)}
}

// take panics when there is none: then the kernel can't be written like this.
func (p *registers) take() reg.VecPhysical {
	r := p.list[0]
	p.list = p.list[1:]
	return r
}

func (p *registers) free(r reg.VecPhysical) {
	p.list = append(p.list, r)
}

// bring moves what is in the registers from to the registers home, where a loop's next turn expects it. It needs a free
// register outside home.
func (p *registers) bring(c *build.Context, from, home []reg.VecPhysical) {
	from = slices.Clone(from)
	spare := p.list[slices.IndexFunc(p.list, func(r reg.VecPhysical) bool { return !slices.Contains(home, r) })]
	for !slices.Equal(from, home) {
		moved := false
		for i := range from {
			if from[i] != home[i] && !slices.Contains(from, home[i]) {
				c.VMOVDQA(from[i], home[i])
				from[i], moved = home[i], true
			}
		}
		if moved {
			continue
		}
		// All that is left are rings: one of them is opened.
		i := slices.IndexFunc(from, func(r reg.VecPhysical) bool { return r != home[slices.Index(from, r)] })
		c.VMOVDQA(from[i], spare)
		from[i] = spare
	}
}
