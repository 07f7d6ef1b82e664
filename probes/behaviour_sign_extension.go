package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "sign_extension",
	Doc: `Moves that extend a sign.
From 8, 16 and 32 bits to 32 and 64, by the instructions for it and by a pair of shifts, as compilers wrote it before
there were any. A wrong one makes a small negative number a huge one.`,
	Rests: "instruction-set.rst, MOVSX; 6.6 (8100928c8814)",
	Cases: []BehaviourCase{
		{Name: "shifts", Doc: "to the left and back to the right with the sign", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(extendByShifts(), 30).trial(numberPairs(0)) }},
		{Name: "moves", Doc: "sign-extending moves", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(extendByMoves(), 30).trial(numberPairs(0)) }},
	},
})

// signExtend takes the lower bits of n as a number with a sign.
func signExtend(n uint64, bits int) uint64 {
	return uint64(int64(n<<(64-bits)) >> (64 - bits))
}

func extendByShifts() []formula {
	var out []formula
	for _, bits := range []int{8, 16, 32} {
		by := int32(64 - bits)
		out = append(out, formula{"extend by shifts " + decimal(int32(bits)), func(dst, src asm.Register) asm.Instructions {
			return asm.Instructions{asm.Mov.Reg(dst, src), asm.LSh.Imm(dst, by), asm.ArSh.Imm(dst, by)}
		}, func(_, b uint64) uint64 { return signExtend(b, bits) }})
	}
	return out
}

func extendByMoves() []formula {
	var out []formula
	for _, m := range []struct {
		bits int
		op   asm.ALUOp
		w    width
	}{{8, asm.MovSX8, wide}, {16, asm.MovSX16, wide}, {32, asm.MovSX32, wide}, {8, asm.MovSX8, half}, {16, asm.MovSX16, half}} {
		out = append(out, formula{m.w.name("movsx" + decimal(int32(m.bits)) + " to "), func(dst, src asm.Register) asm.Instructions {
			return asm.Instructions{m.w.reg(m.op, dst, src)}
		}, func(_, b uint64) uint64 {
			if m.w == half {
				return uint64(uint32(signExtend(b, m.bits)))
			}
			return signExtend(b, m.bits)
		}})
	}
	return out
}
