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
	merge{name: "copy", grows: true, doc: "a copy of a number against an unrelated number, used as an offset later",
		setup: clearBuffer, left: keepCopy, right: keepOther, use: useAsOffset},
	merge{name: "copy_plus", doc: "a copy plus 4 against an unrelated number, used as an offset later",
		setup: clearBuffer, left: keepCopyPlus, right: keepOther, use: useAsOffset},
	merge{name: "copy_compared", doc: "a copy that was compared through its twin, used as an offset later",
		setup: clearBuffer, left: compareTwin, right: keepOther, use: useAsOffset, branches: 3},
	merge{name: "copy_unused", doc: "a copy against an unrelated number that is only compared later",
		setup: clearBuffer, left: keepCopy, right: keepOther, use: useCompared},
))

var _ = register(mergeFamily("merge_register_value",
	`Paths that differ in a register nobody leans on.
One path leaves a constant in a register, the other another one, or a number of other bounds. Unless the value
decides something later the paths are equal. A higher count means that the verifier takes more numbers for
important than it did (its "precision" marking), which multiplies the cost of any long program.`,
	"mark_chain_precision() in kernel/bpf/verifier.c, b5dc0163d8fd (5.3)",
	"5.3",
	merge{name: "two_numbers_compared", doc: "two constants, compared behind the tail",
		setup: clearBuffer, left: keepNumber(7), right: keepNumber(9), use: useCompared},
	merge{name: "two_numbers_as_offset", doc: "two constants, used as an offset into the stack behind the tail: they do matter",
		setup: clearBuffer, left: keepNumber(7), right: keepNumber(9), use: useOwnOffset},
	merge{name: "two_numbers_dead", doc: "two constants, overwritten behind the tail",
		setup: clearBuffer, left: keepNumber(7), right: keepNumber(9), use: useOverwritten},
	merge{name: "range_then_narrower", grows: true, doc: "a number below 8, then one below 4: what holds for the first holds for the second",
		setup: clearBuffer, left: keepBelow(7), right: keepBelow(3), use: useOwnOffset},
	merge{name: "range_then_wider", doc: "a number below 4, then one below 8, of which only a comparison is made",
		setup: clearBuffer, left: keepBelow(3), right: keepBelow(7), use: useUndecided},
))

// The arms make two numbers in R7 and R8 and spill both, for there are more
// branches than registers; a spill and its fill keep bounds and links.

// fresh makes an unknown number in R0. The one that was branched on will not do: one
// of its bits is known, and differs from arm to arm.
var fresh = asm.FnGetPrandomU32.Call()

// pair spills R7 and R8 to the two slots of branch i.
func pair(i int) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, slot(i), asm.R7, asm.DWord),
		asm.StoreMem(asm.RFP, slot(i+mergeDiamonds), asm.R8, asm.DWord),
	}
}

// fill reads them back.
func fill(i int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.RFP, slot(i), asm.DWord),
		asm.LoadMem(asm.R8, asm.RFP, slot(i+mergeDiamonds), asm.DWord),
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

func keepNumber(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return append(asm.Instructions{asm.Mov.Imm(asm.R7, n), asm.Mov.Imm(asm.R8, n)}, pair(i)...)
	}
}

func keepBelow(mask int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		ins := asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, mask), asm.Mov.Imm(asm.R8, 0)}
		return append(ins, pair(i)...)
	}
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

// useOwnOffset reads the buffer at R7 itself.
func useOwnOffset(i int) asm.Instructions {
	return append(fill(i),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(buffer)), asm.Add.Reg(asm.R1, asm.R7),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
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

func useOverwritten(i int) asm.Instructions {
	return append(storeNumber(0)(i), fill(i)...)
}
