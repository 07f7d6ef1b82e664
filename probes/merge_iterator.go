package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "merge_iterator", Shape: Merge, Since: "6.4",
	Doc: `Loops over an iterator of the kernel's.
The program asks the kernel for the next number until there is none. The verifier walks the loop until a round leaves
nothing new. A higher count means that such loops, which newer programs are full of, get dearer.`,
	Rests: "bpf_iter_num_new, 6.4 (6018e1f407cc); when a loop over an iterator has converged, 6.7 (2793a8b015f7)",
	Cases: []Case{
		iterator("plain", "nothing but the loop", nil, nil),
		iterator("counter", "a counter whose value nobody needs", asm.Instructions{asm.Mov.Imm(asm.R7, 0)}, asm.Instructions{asm.Add.Imm(asm.R7, 1)}),
		iterator("branch", "a branch leaves one constant or another in a register", asm.Instructions{asm.Mov.Imm(asm.R7, 0)},
			diamond("branch", asm.Instructions{asm.Mov.Imm(asm.R7, 1)}, asm.Instructions{asm.Mov.Imm(asm.R7, 2)})),
		iterator("branch_spilled", "a branch leaves a number or a constant in a stack slot", asm.Instructions{storeImm(-16, 0)},
			diamond("branch", asm.Instructions{asm.StoreMem(asm.RFP, -16, asm.R6, asm.DWord)}, asm.Instructions{storeImm(-16, 7)})),
		iterator("offset", "the number is an offset into the stack", asm.Instructions{storeImm(-16, 0), storeImm(-24, 0)},
			asm.Instructions{
				asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.And.Imm(asm.R1, 15), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24), asm.Add.Reg(asm.R2, asm.R1),
				asm.Mov.Imm(asm.R3, 1), asm.StoreMem(asm.R2, 0, asm.R3, asm.Byte),
			}),
		iterator("two_counters", "a counter that is reset by a branch and is an offset", asm.Instructions{storeImm(-16, 0), storeImm(-24, 0), asm.Mov.Imm(asm.R7, 0)},
			asm.Instructions{
				asm.JLT.Imm(asm.R7, 15, "small"), asm.Mov.Imm(asm.R7, 0),
				asm.Add.Imm(asm.R7, 1).WithSymbol("small"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24), asm.Add.Reg(asm.R2, asm.R7),
				asm.LoadMem(asm.R3, asm.R2, 0, asm.Byte),
			}),
	},
})

// iterator is a loop over the numbers 0 to 99 with the pointer to the number in R0
// at the start of body, an unknown number in R6, and R7 and R8 free. The slots at
// -16 and -24 are body's.
func iterator(name, doc string, setup, body asm.Instructions) Case {
	at := func(r asm.Register) asm.Instructions {
		return asm.Instructions{asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, -8)}
	}
	return Case{Name: name, Doc: doc, Cost: time.Millisecond, Build: func() (Program, error) {
		ins := then(asm.Instructions{asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R6, asm.R0)}, setup,
			at(asm.R1), asm.Instructions{asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R3, 100), kernelFunction("bpf_iter_num_new")})
		next := append(at(asm.R1), kernelFunction("bpf_iter_num_next"), asm.JEq.Imm(asm.R0, 0, "done"))
		next[0] = next[0].WithSymbol("round")
		destroy := append(at(asm.R1), kernelFunction("bpf_iter_num_destroy"))
		destroy[0] = destroy[0].WithSymbol("done")
		ins = then(ins, next, body, asm.Instructions{asm.Ja.Label("round")}, destroy, ending())
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}, nil
	}}
}
