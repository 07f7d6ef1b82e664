package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_register_compare",
	`What a comparison of two registers says.
Two numbers of known bounds are compared with each other and not with a constant. The verifier may decide the
comparison, or learn from it. A deduction that is lost makes programs that compare a length with a limit held in a
variable dearer, or has them refused.`,
	"is_branch_taken() and reg_set_min_max() for two registers, 6.8",
	"5.1",
	deduction{name: "ranges_apart", doc: "a number of at most 100 is not above one of at least 200",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JLT.Imm(asm.R7, 200, out), asm.JGE.Reg(asm.R6, asm.R7, dead)})},
	deduction{name: "ranges_apart_equal", doc: "a number of at most 100 does not equal one of at least 200",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JLT.Imm(asm.R7, 200, out), asm.JEq.Reg(asm.R6, asm.R7, dead)})},
	deduction{name: "ranges_apart_half", doc: "the same of two low halves",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 100, out), asm.JLT.Imm32(asm.R7, 200, out), asm.JGE.Reg32(asm.R6, asm.R7, dead)}},
	deduction{name: "ranges_apart_signed", doc: "a negative number is not above one of at least 5",
		body: asm.Instructions{asm.JSGE.Imm(asm.R6, 0, out), asm.JSLT.Imm(asm.R7, 5, out), asm.JSGE.Reg(asm.R6, asm.R7, dead)}},
	deduction{name: "below_bounded", doc: "what is below a number of at most 100 is below 100",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JGE.Reg(asm.R7, asm.R6, out), asm.JGE.Imm(asm.R7, 100, dead)})},
	deduction{name: "below_bounded_half", doc: "the same of two low halves",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 100, out), asm.JGE.Reg32(asm.R7, asm.R6, out), asm.JGE.Imm32(asm.R7, 100, dead)}},
	deduction{name: "above_bounded", doc: "what is above a number of at least 100 is above 100",
		body: asm.Instructions{asm.JLT.Imm(asm.R6, 100, out), asm.JLE.Reg(asm.R7, asm.R6, out), asm.JLE.Imm(asm.R7, 100, dead)}},
	deduction{name: "equal_to_bounded", doc: "what equals a number of at most 100 is at most 100",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JNE.Reg(asm.R7, asm.R6, out), asm.JGT.Imm(asm.R7, 100, dead)})},
	deduction{name: "equal_to_constant", doc: "what equals a register that holds 7 is 7",
		body: asm.Instructions{asm.Mov.Imm(asm.R1, 7), asm.JNE.Reg(asm.R7, asm.R1, out), asm.JNE.Imm(asm.R7, 7, dead)}},
))
