package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// loopRounds is how many rounds the loops of these probes have.
const loopRounds = 24

var _ = register(Family{
	Name: "merge_loop", Shape: Merge, Since: "5.3",
	Doc: `Loops of a known number of rounds that branch.
The verifier walks such a loop round by round. What a branch inside leaves behind must not double the paths with every
round. A higher count means that parsers and searches with bounded loops get dearer, and that fewer rounds fit.`,
	Rests: "bounded loops, 5.3 (2589726d12a1); is_state_visited() and states that are precise in a loop",
	Cases: []Case{
		loopCase("plain", "nothing but the counter", nil, nil),
		loopCase("branch_dead", "a branch leaves another constant in a register nobody reads", nil,
			loopBranch(asm.Instructions{asm.Mov.Imm(asm.R8, 1)}, asm.Instructions{asm.Mov.Imm(asm.R8, 2)})),
		loopCase("branch_counted", "a branch adds to a sum that is returned", asm.Instructions{asm.Mov.Imm(asm.R8, 0)},
			loopBranch(asm.Instructions{asm.Add.Imm(asm.R8, 1)}, asm.Instructions{asm.Add.Imm(asm.R8, 2)})),
		loopCase("branch_spilled", "a branch leaves a number or a pointer in a stack slot that is read behind the loop", asm.Instructions{storeImm(-8, 0)},
			loopBranch(asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord)}, asm.Instructions{storeImm(-8, 7)})),
		loopCase("flag_flips", "a branch flips a flag that decides the next round", asm.Instructions{asm.Mov.Imm(asm.R8, 0)},
			asm.Instructions{
				asm.JEq.Imm(asm.R8, 0, "flip"), asm.Mov.Imm(asm.R8, 0), asm.Ja.Label("flipped"),
				asm.FnGetPrandomU32.Call().WithSymbol("flip"), asm.Mov.Reg(asm.R8, asm.R0), asm.And.Imm(asm.R8, 1),
				asm.Mov.Imm(asm.R0, 0).WithSymbol("flipped"),
			}),
		{Name: "search", Doc: "a binary search over 2^16 entries of unknown order: both bounds move by halves", Cost: 10 * time.Millisecond, Build: binarySearch},
	},
})

// loopBranch branches on an unknown bit.
func loopBranch(left, right asm.Instructions) asm.Instructions { return diamond("branch", left, right) }

// loopCase is a loop of loopRounds over body, with R7 as the counter, an unknown
// number in R6 and R8 free.
func loopCase(name, doc string, setup, body asm.Instructions) Case {
	return Case{Name: name, Doc: doc, Cost: 3 * time.Millisecond, Build: func() (Program, error) {
		ins := then(asm.Instructions{
			asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R6, asm.R0), asm.Mov.Imm(asm.R8, 0), storeImm(-8, 0), asm.Mov.Imm(asm.R7, 0),
		}, setup)
		round := then(tail(4), body)
		round[0] = round[0].WithSymbol("round")
		ins = then(ins, round, asm.Instructions{
			asm.Add.Imm(asm.R7, 1), asm.JLT.Imm(asm.R7, loopRounds, "round"),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord),
			asm.Mov.Reg(asm.R0, asm.R8), asm.And.Imm(asm.R0, 1), asm.Return(),
		})
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}, nil
	}}
}

// binarySearch is what an unwinder does with its tables: low in R6, high in R7, and
// a lookup of the middle decides which of them moves.
func binarySearch() (Program, error) {
	ins := asm.Instructions{asm.Mov.Imm(asm.R6, 0), asm.Mov.Imm(asm.R7, 1<<16)}
	for i := range 6 {
		lower, next := fmt.Sprintf("lower%d", i), fmt.Sprintf("next%d", i)
		ins = append(ins,
			asm.JGE.Reg(asm.R6, asm.R7, "end"),
			asm.Mov.Reg(asm.R8, asm.R6), asm.Add.Reg(asm.R8, asm.R7), asm.RSh.Imm(asm.R8, 1),
			asm.StoreMem(asm.RFP, -8, asm.R8, asm.Word),
			asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8), asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.JGT.Imm(asm.R1, 1000, lower),
			asm.Mov.Reg(asm.R6, asm.R8), asm.Add.Imm(asm.R6, 1), asm.Ja.Label(next),
			asm.Mov.Reg(asm.R7, asm.R8).WithSymbol(lower),
			asm.Mov.Imm(asm.R0, 0).WithSymbol(next),
		)
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
	maps := map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1 << 16}}
	return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}, Maps: maps}, nil
}
