package probes

import (
	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_callee",
	`Paths that differ in what a function reads through a pointer.
A slot of the caller's stack is read by a function of the program's own that is handed a pointer to it. A verifier
that follows which bytes of its callers' stacks a function reads merges more. A higher count means that programs built
of noinline functions that share a struct on the stack get dearer.`,
	"stack liveness across frames, 6.18 and 7.1",
	"5.3",
	merge{name: "reads_slot", doc: "the function reads the slot that differs",
		left: storeNumber(5), right: storeUnknown, use: callWith(0), end: readerFunction},
	merge{name: "reads_other_slot", doc: "the function is handed the slot that differs and reads the one beside it",
		setup: clearBelow, left: storeNumber(7), right: storeNumber(9), use: callWith(-8 * mergeDiamonds), end: readerFunction},
	merge{name: "never_reads", doc: "the function is handed the slot and reads only where its argument is one that no caller gives",
		left: storePointer, right: storeUnknown, use: callWithFlag, end: readerFunctionFlag},
	merge{name: "number_halves", grows: oneSlot, doc: "a constant or two halves, read by the function as 8 bytes",
		left: storeNumber(7), right: storeHalves, use: callWith(0), end: readerFunction},
))

// clearBelow writes the slots below those of the branches.
var clearBelow = func() asm.Instructions {
	var ins asm.Instructions
	for i := range mergeDiamonds {
		ins = append(ins, storeImm(slot(i+mergeDiamonds), 0))
	}
	return ins
}()

// callWith hands the function a pointer to the slot of branch i, moved by at bytes.
func callWith(at int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, int32(slot(i))+at),
			asm.Call.Label("reader"),
		}
	}
}

func callWithFlag(i int) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(slot(i))),
		asm.Call.Label("reader"),
	}
}

// readerFunction reads 8 bytes through its argument.
var readerFunction = asm.Instructions{
	asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord).WithSymbol("reader"),
	asm.Mov.Imm(asm.R0, 0),
	asm.Return(),
}

// readerFunctionFlag reads them where its second argument is not zero.
var readerFunctionFlag = asm.Instructions{
	asm.Mov.Imm(asm.R0, 0).WithSymbol("reader"),
	asm.JEq.Imm(asm.R2, 0, "reader_end"),
	asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord),
	asm.Mov.Imm(asm.R0, 0).WithSymbol("reader_end"),
	asm.Return(),
}
