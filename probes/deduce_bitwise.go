package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_bitwise",
	`Bounds after and, or, exclusive or.
The verifier derives bounds of the result from known bits and from the bounds of the operands. A deduction that is
lost makes programs dearer that mask an index or put flags together.`,
	"scalar_min_max_and(), _or(), _xor() in kernel/bpf/verifier.c; bits from bounds of a variable operand, 6.8",
	"5.7",
	deduction{name: "and_of_ranges", doc: "at most 100 and at most 50: at most 50",
		body: then(within(asm.R6, 0, 100), within(asm.R7, 0, 50), asm.Instructions{asm.And.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 50, dead)})},
	deduction{name: "and_half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 100, out), asm.JGT.Imm32(asm.R7, 50, out), asm.And.Reg32(asm.R6, asm.R7), asm.JGT.Imm32(asm.R6, 50, dead)}},
	deduction{name: "or_of_ranges", doc: "at most 100 or at most 20: at most 127",
		body: then(within(asm.R6, 0, 100), within(asm.R7, 0, 20), asm.Instructions{asm.Or.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 127, dead)})},
	deduction{name: "or_lower_bound", doc: "at least 8 or anything up to 20: at least 8",
		body: then(within(asm.R6, 8, 100), within(asm.R7, 0, 20), asm.Instructions{asm.Or.Reg(asm.R6, asm.R7), asm.JLT.Imm(asm.R6, 8, dead)})},
	deduction{name: "xor_of_ranges", doc: "at most 100 exclusive or at most 20: at most 127",
		body: then(within(asm.R6, 0, 100), within(asm.R7, 0, 20), asm.Instructions{asm.Xor.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 127, dead)})},
	deduction{name: "added", doc: "at most 100 plus at most 20: at most 120",
		body: then(within(asm.R6, 0, 100), within(asm.R7, 0, 20), asm.Instructions{asm.Add.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 120, dead)})},
	deduction{name: "subtracted", doc: "50 to 100 minus at most 20: at least 30",
		body: then(within(asm.R6, 50, 100), within(asm.R7, 0, 20), asm.Instructions{asm.Sub.Reg(asm.R6, asm.R7), asm.JLT.Imm(asm.R6, 30, dead)})},
	deduction{name: "added_overflow", doc: "a sum that overflows on both ends keeps its bounds",
		body: then(withinSigned(asm.R6, -10, -6), asm.Instructions{asm.Add.Imm(asm.R6, 20), asm.JGT.Imm(asm.R6, 14, dead)})},
))
