package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_link",
	`What a comparison of one register says of its copies.
The verifier remembers that a register is a copy of another, or a copy plus a constant, so that a check of one holds
for the other. A deduction that is lost has programs that check a length and then use a variable derived from it
refused, or makes them dearer.`,
	"sync_linked_regs() in kernel/bpf/verifier.c; copies plus a constant, 6.10 (98d7ca374ba4); that an original keeps its name after such a check, 7.0, 6.18.y and 6.12.y; minus, negative and 32-bit, 7.0 and late 6.18.y",
	"5.1",
	deduction{name: "copy", doc: "a register of at most 10 has a copy of at most 10",
		body: then(asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6)}, within(asm.R6, 0, 10), asm.Instructions{asm.JGT.Imm(asm.R1, 10, dead)})},
	deduction{name: "copy_plus", doc: "a copy plus 4 that is at most 10 has an original of at most 6",
		body: linked(asm.Add.Imm(asm.R1, 4), asm.JGT.Imm(asm.R1, 10, out), asm.JGT.Imm(asm.R6, 6, dead))},
	deduction{name: "copy_plus_back", doc: "an original of at most 10 has a copy plus 4 of at most 14",
		body: linked(asm.Add.Imm(asm.R1, 4), asm.JGT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 14, dead))},
	deduction{name: "copy_plus_twice", doc: "the same with 4 added in two steps",
		body: linked(asm.Add.Imm(asm.R1, 2), asm.Add.Imm(asm.R1, 2), asm.JGT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 14, dead))},
	deduction{name: "copy_plus_again", doc: "a copy plus 4 that was checked, copied on and checked again still bounds its original",
		body: linked(asm.Add.Imm(asm.R1, 4), asm.JGT.Imm(asm.R1, 20, out), asm.Mov.Reg(asm.R2, asm.R6), asm.JGT.Imm(asm.R1, 10, out), asm.JGT.Imm(asm.R6, 6, dead))},
	deduction{name: "copy_minus", doc: "an original of 10 to 20 has a copy minus 4 of at most 16",
		body: linked(asm.Sub.Imm(asm.R1, 4), asm.JGT.Imm(asm.R6, 20, out), asm.JLT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 16, dead))},
	deduction{name: "copy_plus_negative", doc: "an original of 10 to 20 has a copy plus -4 of at most 16",
		body: linked(asm.Add.Imm(asm.R1, -4), asm.JGT.Imm(asm.R6, 20, out), asm.JLT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 16, dead))},
	deduction{name: "copy_plus_half", doc: "a copy plus 4 in 32 bits",
		body: linked(asm.Add.Imm32(asm.R1, 4), asm.JGT.Imm32(asm.R6, 10, out), asm.JGT.Imm32(asm.R1, 14, dead))},
	deduction{name: "copy_extended", doc: "a zero-extended copy of a number below 2^32",
		body: then(within(asm.R6, 0, 1000), asm.Instructions{asm.Mov.Reg32(asm.R1, asm.R6), asm.JGT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 10, dead)})},
	deduction{name: "copy_extended_unknown", doc: "a zero-extended copy, compared in 32 bits",
		body: asm.Instructions{asm.Mov.Reg32(asm.R1, asm.R6), asm.JGT.Imm32(asm.R6, 10, out), asm.JGT.Imm(asm.R1, 10, dead)}},
	deduction{name: "three", doc: "of three linked registers the check of one bounds the others",
		body: linked(asm.Add.Imm(asm.R1, 4), asm.Mov.Reg(asm.R2, asm.R6), asm.Add.Imm(asm.R2, 8), asm.JGT.Imm(asm.R2, 18, out), asm.JGT.Imm(asm.R1, 14, dead))},
	deduction{name: "equal_registers", doc: "two registers that were found equal are not linked by it, but share their bounds",
		body: asm.Instructions{asm.JNE.Reg(asm.R6, asm.R7, out), asm.JGT.Imm(asm.R6, 10, out), asm.JGT.Imm(asm.R7, 10, dead)}},
))

// linked makes R1 a copy of R6, which is below 1000 so that no sum overflows.
func linked(rest ...asm.Instruction) asm.Instructions {
	return then(within(asm.R6, 0, 1000), asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6)}, rest)
}
