package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_negation",
	`Bounds after a change of sign.
The negative of a number of known bounds has known bounds. A deduction that is lost makes programs dearer that turn
an error code into a positive number and use it as an index.`,
	"BPF_NEG in adjust_scalar_min_max_vals(), 6.17",
	"5.1",
	deduction{name: "negated", doc: "1 to 10, negated, is negative",
		body: then(within(asm.R6, 1, 10), asm.Instructions{asm.Neg.Imm(asm.R6, 0), asm.JSGE.Imm(asm.R6, 0, dead)})},
	deduction{name: "negated_back", doc: "-10 to -1, negated, is at most 10",
		body: then(withinSigned(asm.R6, -10, -1), asm.Instructions{asm.Neg.Imm(asm.R6, 0), asm.JGT.Imm(asm.R6, 10, dead)})},
	deduction{name: "negated_half", doc: "a low half of 1 to 10, negated, is negative",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 10, out), asm.JLT.Imm32(asm.R6, 1, out), asm.Neg.Imm32(asm.R6, 0), asm.JSGE.Imm32(asm.R6, 0, dead)}},
	deduction{name: "subtracted_from_zero", doc: "0 minus 1 to 10 is negative",
		body: then(within(asm.R6, 1, 10), asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.Sub.Reg(asm.R1, asm.R6), asm.JSGE.Imm(asm.R1, 0, dead)})},
	deduction{name: "complement", doc: "0 to 10 with all bits inverted is negative",
		body: then(within(asm.R6, 0, 10), asm.Instructions{asm.Xor.Imm(asm.R6, -1), asm.JSGE.Imm(asm.R6, 0, dead)})},
))
