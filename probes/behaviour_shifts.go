package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "shifts",
	Doc: `Shifts by a register and by a constant.
To the left, to the right and to the right with the sign, on both widths. x86 shifts by one register only, which the
JIT has to free first, or with instructions that newer processors have: every pair of registers is another piece of
machine code. A count that is too large is masked to the width.`,
	Rests: "instruction-set.rst: shifts use the count modulo the width (& 0x3f, & 0x1f)",
	Cases: []BehaviourCase{
		shiftCase("register64", wide, nil),
		shiftCase("register32", half, nil),
		shiftCase("constant64", wide, []int32{0, 1, 7, 8, 15, 16, 31, 32, 33, 48, 62, 63}),
		shiftCase("constant32", half, []int32{0, 1, 7, 8, 15, 16, 30, 31}),
	},
})

var shiftOps = []aluOp{
	{"lsh", asm.LSh, func(a, b uint64) uint64 { return a << (b & 63) }, func(a, b uint32) uint32 { return a << (b & 31) }},
	{"rsh", asm.RSh, func(a, b uint64) uint64 { return a >> (b & 63) }, func(a, b uint32) uint32 { return a >> (b & 31) }},
	{"arsh", asm.ArSh, func(a, b uint64) uint64 { return uint64(int64(a) >> (b & 63)) },
		func(a, b uint32) uint32 { return uint32(int32(a) >> (b & 31)) }},
}

// shiftCase shifts by constants, or by registers where there are none.
func shiftCase(name string, w width, by []int32) BehaviourCase {
	c := BehaviourCase{Name: name, Doc: "shifts by constants of each length, on changing registers", Cost: 3 * time.Millisecond}
	if by != nil {
		c.Build = func() (Trial, error) { return spread(aluConstant(w, shiftOps, by), 5).trial(numberPairs(0)) }
		return c
	}
	c.Doc = "shifts by registers, on all pairs of registers"
	c.Build = func() (Trial, error) {
		s := new(sheet)
		for _, o := range shiftOps {
			s.everyPair(formula{w.name(o.name), func(dst, src asm.Register) asm.Instructions {
				return asm.Instructions{w.reg(o.op, dst, src)}
			}, o.want(w)})
		}
		return s.trial(shiftPairs())
	}
	return c
}

// shiftPairs are numbers with counts on both sides of each width's mask, and some in
// the bits that the mask takes away.
func shiftPairs() [][2]uint64 {
	var out [][2]uint64
	for _, a := range []uint64{1, 0x8000000080000000, 0xfedcba9876543210} {
		for _, b := range []uint64{0, 1, 7, 31, 32, 33, 63, 64, 65, 0xff, 1 << 32, 1<<64 - 1} {
			out = append(out, [2]uint64{a, b})
		}
	}
	return out
}
