package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "merge_sign_mask", Shape: Merge, Since: "5.3",
	Doc: `Selections without a branch.
Compilers turn "a if x is negative, else b" into a shift of the sign over the register and a mask. A verifier that
follows both outcomes apart knows more, and walks more. A higher count means that programs that fold checksums or turn
errors into verdicts get dearer.`,
	Rests: "the fork at an arithmetic shift by 63 whose result is masked, 6.19, 6.12.y and late 6.18.y",
	Cases: []Case{
		signMask("negative", "four selections between 0 and -8; their sum is compared behind the tail", -8, asm.Add),
		signMask("positive", "four selections between 0 and 8; their sum is compared behind the tail", 8, asm.Add),
		signMask("joined", "four selections between 0 and -8, or-ed: two outcomes, however many there are", -8, asm.Or),
	},
})

// signMask selects four times and then walks a tail.
func signMask(name, doc string, mask int32, join asm.ALUOp) Case {
	return Case{Name: name, Doc: doc, Behind: mergeTail, Cost: 3 * time.Millisecond, Build: func() (Program, error) {
		ins := asm.Instructions{asm.Mov.Imm(asm.R7, 0)}
		for i := range 4 {
			label := fmt.Sprintf("next%d", i)
			ins = append(ins,
				asm.FnGetPrandomU32.Call(), asm.ArSh.Imm(asm.R0, 63), asm.And.Imm(asm.R0, mask), join.Reg(asm.R7, asm.R0),
				asm.FnGetPrandomU32.Call(), asm.JSet.Imm(asm.R0, 1, label)) // a place where states are compared
			ins = append(ins, then(asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol(label)}, tail(8))...)
		}
		ins = then(ins, tail(mergeTail), asm.Instructions{asm.JEq.Imm(asm.R7, mask, "end"), asm.Mov.Imm(asm.R0, 1)},
			asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return()})
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}, nil
	}}
}
