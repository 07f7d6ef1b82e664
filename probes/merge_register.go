package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_register_link",
	`Paths that differ in which registers are known to be equal.
The verifier remembers that a register is a copy of another, or a copy plus a constant, so that a comparison of one
teaches it about the other. Two paths that differ only in such links must be told apart where a link matters later,
and only there. A higher count means that programs that keep lengths and offsets in several variables (packet
parsers, unwinders) get dearer.`,
	"check_ids() and regsafe(); linked registers with constant, 6.10; ids kept after sync_linked_regs, 2026-01; clear_singular_ids, 7.0",
	"5.3",
	merge{name: "copy", grows: twoSlots, doc: "a copy of a number against an unrelated number, used as an offset later",
		setup: clearBuffer, left: keepCopy, right: keepOther, use: useAsOffset},
	merge{name: "copy_plus", doc: "a copy plus 4 against an unrelated number, used as an offset later",
		setup: clearBuffer, left: keepCopyPlus, right: keepOther, use: useAsOffset},
	merge{name: "copy_compared", doc: "a copy that was compared through its twin, used as an offset later",
		setup: clearBuffer, left: compareTwin, right: keepOther, use: useAsOffset, branches: 3},
	merge{name: "copy_unused", doc: "a copy against an unrelated number that is only compared later",
		setup: clearBuffer, left: keepCopy, right: keepOther, use: useCompared},
))

// The arms make two numbers in R7 and R8 and spill both, for there are more
// branches than registers; a spill and its fill keep bounds and links.

// fresh makes an unknown number in R0. The one that was branched on will not do: one
// of its bits is known, and differs from arm to arm.
var fresh = asm.FnGetPrandomU32.Call()

// pairSlots are where branch i keeps its two numbers: above the buffer, and where that
// is full below it.
func pairSlots(i int) (first, second int16) {
	if i < mergeDiamonds {
		return slot(i), slot(i + mergeDiamonds)
	}
	return slot(2*i + 2), slot(2*i + 3)
}

// twoSlots is how many branches the stack has room for with two slots each.
const twoSlots = 30

// pair spills R7 and R8 to the two slots of branch i.
func pair(i int) asm.Instructions {
	first, second := pairSlots(i)
	return asm.Instructions{
		asm.StoreMem(asm.RFP, first, asm.R7, asm.DWord),
		asm.StoreMem(asm.RFP, second, asm.R8, asm.DWord),
	}
}

// fill reads them back.
func fill(i int) asm.Instructions {
	first, second := pairSlots(i)
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.RFP, first, asm.DWord),
		asm.LoadMem(asm.R8, asm.RFP, second, asm.DWord),
	}
}

// buffer is 16 bytes of zeros below all slots, to be read at an offset.
const buffer = int16(-8 * (2*mergeDiamonds + 2))

var clearBuffer = asm.Instructions{storeImm(buffer, 0), storeImm(buffer+8, 0)}

func keepCopy(i int) asm.Instructions {
	ins := asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Reg(asm.R8, asm.R7)}
	return append(ins, pair(i)...)
}

func keepCopyPlus(i int) asm.Instructions {
	ins := asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Reg(asm.R8, asm.R7), asm.Add.Imm(asm.R8, 4)}
	return append(ins, pair(i)...)
}

func keepOther(i int) asm.Instructions {
	ins := asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Reg(asm.R8, asm.R6), asm.And.Imm(asm.R8, 7)}
	return append(ins, pair(i)...)
}

// compareTwin bounds R7 by a comparison of R8, which is R7 plus 4.
func compareTwin(i int) asm.Instructions {
	label := fmt.Sprintf("twin%d", i)
	ins := asm.Instructions{
		fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Reg(asm.R8, asm.R7), asm.Add.Imm(asm.R8, 4),
		asm.JLT.Imm(asm.R8, 8, label),
		asm.Mov.Imm(asm.R7, 0), asm.Mov.Imm(asm.R8, 0),
		asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
	}
	return append(ins, pair(i)...)
}

// useAsOffset reads the buffer at R8 where a comparison of R7 lets it.
func useAsOffset(i int) asm.Instructions {
	label := fmt.Sprintf("far%d", i)
	return append(fill(i),
		asm.JGT.Imm(asm.R7, 3, label),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(buffer)), asm.Add.Reg(asm.R1, asm.R8),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
		asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
	)
}

func useCompared(i int) asm.Instructions {
	label := fmt.Sprintf("compared%d", i)
	return append(fill(i),
		asm.JGT.Imm(asm.R7, 8, label),
		asm.Mov.Imm(asm.R1, 0),
		asm.Mov.Imm(asm.R2, 0).WithSymbol(label),
	)
}
