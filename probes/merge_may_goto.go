package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "merge_may_goto", Shape: Merge, Since: "6.9",
	Doc: `Loops that the kernel ends when they last too long.
A loop with may_goto needs no bound: the verifier walks it until a round teaches it nothing new. What a round leaves
behind decides how many rounds that takes. A higher count means that such loops get dearer or are no longer accepted.`,
	Rests: "may_goto, 6.9 (011832b97b31); states are forgotten at back-edges, and precision carried over them, 6.16 and 6.17",
	Cases: []Case{
		mayGoto("plain", "nothing but the loop", nil, nil),
		mayGoto("counter", "a counter whose value nobody needs", asm.Instructions{asm.Mov.Imm(asm.R7, 0)}, asm.Instructions{asm.Add.Imm(asm.R7, 1)}),
		mayGoto("branch", "a branch leaves a number or another in a stack slot", nil,
			diamond("branch", asm.Instructions{storeImm(-8, 7)}, asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord)})),
		mayGoto("offset", "a counter below 16 is an offset into the stack", asm.Instructions{storeImm(-24, 0), storeImm(-16, 0), asm.Mov.Imm(asm.R7, 0)},
			asm.Instructions{
				asm.JGE.Imm(asm.R7, 16, "end"),
				asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -24), asm.Add.Reg(asm.R1, asm.R7),
				asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte), asm.Add.Imm(asm.R7, 1),
			}),
		mayGoto("shuffle", "three numbers change places every round, and what is left of the last one is an offset",
			asm.Instructions{storeImm(-24, 0), storeImm(-16, 0), asm.Mov.Imm(asm.R7, 1), asm.Mov.Imm(asm.R8, 2), asm.Mov.Imm(asm.R9, 3)},
			asm.Instructions{
				asm.Mov.Reg(asm.R1, asm.R7), asm.Mov.Reg(asm.R7, asm.R8), asm.Mov.Reg(asm.R8, asm.R9), asm.Mov.Reg(asm.R9, asm.R1),
				asm.Mov.Reg(asm.R2, asm.R9), asm.And.Imm(asm.R2, 15),
				asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -24), asm.Add.Reg(asm.R1, asm.R2),
				asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
			}),
	},
})

// mayGoto is a loop over body that the kernel ends. R6 is an unknown number, R7 to
// R9 are free; body may leave for end.
func mayGoto(name, doc string, setup, body asm.Instructions) Case {
	return Case{Name: name, Doc: doc, Cost: time.Millisecond, Build: func() (Program, error) {
		ins := then(asm.Instructions{asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R6, asm.R0), storeImm(-8, 0)}, setup, asm.Instructions{
			// The reference makes the offset that leaves the loop.
			asm.Instruction{OpCode: opJCond, Offset: -1}.WithReference("end").WithSymbol("round"),
		}, body, asm.Instructions{
			asm.Ja.Label("round"),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord).WithSymbol("end"),
			asm.Mov.Imm(asm.R0, 0), asm.Return(),
		})
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}, nil
	}}
}
