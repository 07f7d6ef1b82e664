package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_compared_link",
	`Paths that compared a number by way of one that is linked to it.
A copy of a number, plus or minus a constant, is compared, which bounds the number too; later the number is an offset.
The verifier must remember the link for as long as it can teach something, keep paths with unlike links apart where it
matters, and forget a link of which only one end is left. A higher count means that parsers that compare "offset plus
length" with an end get dearer.`,
	"sync_linked_regs(); links with a constant, 6.10 (98d7ca374ba4); ids kept after a comparison, 2026-01; links by subtraction and clear_singular_ids, 7.0",
	"5.3",
	append(cheap(
		merge{name: "plus", doc: "a copy plus 4 is compared and then forgotten, or an unrelated number is kept beside it",
			setup: clearBuffer, left: keepCompared(asm.Add, 4, 7), right: keepOther, use: slotAsOffset, branches: 3},
		merge{name: "plus_again", doc: "the same, and both are compared again behind the tail",
			setup: clearBuffer, left: keepCompared(asm.Add, 4, 7), right: keepOther, use: compareAgain(asm.JGT, 9), branches: 3},
		merge{name: "plus_both", doc: "a copy plus 4 is compared on one path and on the other",
			setup: clearBuffer, left: keepCompared(asm.Add, 4, 7), right: keepCompared(asm.Add, 4, 6), use: compareAgain(asm.JGT, 9), branches: 3},
		merge{name: "minus", doc: "a copy minus 1 is compared, or an unrelated number is kept; both are compared again behind the tail",
			setup: clearBuffer, left: keepCompared(asm.Sub, 1, 3), right: keepOther, use: compareAgain(asm.JSGT, 2), branches: 3},
		merge{name: "stored", doc: "each branch compares the same number with a constant, adds 1 to it or does not, and keeps a copy, which is an offset behind the tail",
			setup: rangeNumber(63), left: keepIncreased, right: keepUnequal, use: wideOffset, branches: 3},
	), merge{name: "plus_minus", doc: "a copy plus 4 is compared on one path, a copy minus 4 on the other", cost: 3 * time.Millisecond,
		setup: clearBuffer, left: keepCompared(asm.Add, 4, 7), right: keepCompared(asm.Sub, 4, 7), use: compareAgain(asm.JGT, 9), branches: 3})...,
))

// keepCompared makes a number below 8 in R7 and a linked one in R8, compares that with
// a bound, and spills both, whichever way the comparison went.
func keepCompared(op asm.ALUOp, n, bound int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("compared%d_%d_%d_%d", op, n, bound, i)
		return append(asm.Instructions{
			fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, 7), asm.Mov.Reg(asm.R8, asm.R7), op.Imm(asm.R8, n),
			asm.JGT.Imm(asm.R8, bound, label), asm.Mov.Imm(asm.R2, 1), asm.Mov.Imm(asm.R2, 0).WithSymbol(label),
		}, pair(i)...)
	}
}

// compareAgain compares the second of the pair with a bound and makes the first an offset.
func compareAgain(op asm.JumpOp, bound int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("again%d", i)
		return append(fill(i), op.Imm(asm.R8, bound, label),
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(buffer)), asm.Add.Reg(asm.R1, asm.R7), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
			asm.Mov.Imm(asm.R1, 0).WithSymbol(label))
	}
}

// keepUnequal compares R7 with a constant of branch i and spills it.
func keepUnequal(i int) asm.Instructions {
	label := fmt.Sprintf("unequal%d", i)
	return asm.Instructions{
		asm.JNE.Imm(asm.R7, int32(4*i+6), label), asm.Mov.Imm(asm.R1, 1),
		asm.Mov.Imm(asm.R1, 2).WithSymbol(label), asm.StoreMem(asm.RFP, slot(i), asm.R7, asm.DWord),
	}
}

// keepIncreased adds 1 to R7 where it is not a constant of branch i, and spills it.
func keepIncreased(i int) asm.Instructions {
	label := fmt.Sprintf("increased%d", i)
	return asm.Instructions{
		asm.JEq.Imm(asm.R7, int32(4*i+4), label), asm.Add.Imm(asm.R7, 1),
		asm.Mov.Imm(asm.R1, 2).WithSymbol(label), asm.StoreMem(asm.RFP, slot(i), asm.R7, asm.DWord),
	}
}
