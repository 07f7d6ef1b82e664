package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_multiplication",
	`Bounds after multiplication.
The product of two bounded numbers is bounded, also where one is negative. A deduction that is lost makes programs
dearer that compute the place of an entry in a table.`,
	"scalar_min_max_mul() in kernel/bpf/verifier.c; signed ranges between 6.12 and 6.16",
	"5.1",
	deduction{name: "by_constant", doc: "at most 10, times 5: at most 50",
		body: then(within(asm.R6, 0, 10), asm.Instructions{asm.Mul.Imm(asm.R6, 5), asm.JGT.Imm(asm.R6, 50, dead)})},
	deduction{name: "by_register", doc: "at most 10 times at most 20: at most 200",
		body: then(within(asm.R6, 0, 10), within(asm.R7, 0, 20), asm.Instructions{asm.Mul.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 200, dead)})},
	deduction{name: "half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 10, out), asm.JGT.Imm32(asm.R7, 20, out), asm.Mul.Reg32(asm.R6, asm.R7), asm.JGT.Imm32(asm.R6, 200, dead)}},
	deduction{name: "signed", doc: "-5 to 5, times 3: at most 15",
		body: then(withinSigned(asm.R6, -5, 5), asm.Instructions{asm.Mul.Imm(asm.R6, 3), asm.JSGT.Imm(asm.R6, 15, dead)})},
	deduction{name: "by_negative", doc: "1 to 5, times -3: negative",
		body: then(within(asm.R6, 1, 5), asm.Instructions{asm.Mul.Imm(asm.R6, -3), asm.JSGE.Imm(asm.R6, 0, dead)})},
	deduction{name: "known_bits", doc: "any number times 8 has its low three bits clear",
		body: asm.Instructions{asm.Mul.Imm(asm.R6, 8), asm.JSet.Imm(asm.R6, 7, dead)}},
))
