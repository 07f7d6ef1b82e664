package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_not_equal",
	`What a number is once it is known not to be something.
A comparison for inequality takes one value away from a range. At the edge of the range it makes the range smaller; in
the middle it only helps a verifier that remembers holes. A deduction that is lost makes programs with switches over
small numbers (protocols, message types) dearer.`,
	"regs_refine_cond_op() for JNE at range edges, 6.8; values excluded inside a range, 7.2",
	"5.1",
	deduction{name: "low_edge", doc: "5 to 100 and not 5: at least 6",
		body: then(within(asm.R6, 5, 100), asm.Instructions{asm.JEq.Imm(asm.R6, 5, out), asm.JLT.Imm(asm.R6, 6, dead)})},
	deduction{name: "high_edge", doc: "5 to 100 and not 100: at most 99",
		body: then(within(asm.R6, 5, 100), asm.Instructions{asm.JEq.Imm(asm.R6, 100, out), asm.JGT.Imm(asm.R6, 99, dead)})},
	deduction{name: "signed_edge", doc: "-5 to 5 and not -5: at least -4",
		body: then(withinSigned(asm.R6, -5, 5), asm.Instructions{asm.JEq.Imm(asm.R6, -5, out), asm.JSLT.Imm(asm.R6, -4, dead)})},
	deduction{name: "low_edge_half", doc: "a low half of 5 to 100 and not 5: at least 6",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 100, out), asm.JLT.Imm32(asm.R6, 5, out), asm.JEq.Imm32(asm.R6, 5, out), asm.JLT.Imm32(asm.R6, 6, dead)}},
	deduction{name: "not_zero", doc: "not 0: at least 1",
		body: asm.Instructions{asm.JEq.Imm(asm.R6, 0, out), asm.JLT.Imm(asm.R6, 1, dead)}},
	deduction{name: "all_but_one", doc: "0 to 2, not 0 and not 1: 2",
		body: then(within(asm.R6, 0, 2), asm.Instructions{asm.JEq.Imm(asm.R6, 0, out), asm.JEq.Imm(asm.R6, 1, out), asm.JNE.Imm(asm.R6, 2, dead)})},
	deduction{name: "same_constant", doc: "not 7, so not 7 when asked again",
		body: asm.Instructions{asm.JEq.Imm(asm.R6, 7, out), asm.JEq.Imm(asm.R6, 7, dead)}},
	deduction{name: "inside_range", doc: "0 to 10 and not 5, so not 5 when asked again",
		body: then(within(asm.R6, 0, 10), asm.Instructions{asm.JEq.Imm(asm.R6, 5, out), asm.JEq.Imm(asm.R6, 5, dead)})},
))
