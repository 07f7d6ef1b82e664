package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_division",
	`Bounds after division and remainder.
Dividing makes a bound smaller, a remainder is below the divisor. A deduction that is lost has programs that pick a
backend or a bucket by remainder check the result again.`,
	"scalar_min_max_udiv() and the like, 7.0",
	"5.1",
	deduction{name: "quotient", doc: "at most 100, divided by 10: at most 10",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.Div.Imm(asm.R6, 10), asm.JGT.Imm(asm.R6, 10, dead)})},
	deduction{name: "quotient_half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.JGT.Imm32(asm.R6, 100, out), asm.Div.Imm32(asm.R6, 10), asm.JGT.Imm32(asm.R6, 10, dead)}},
	deduction{name: "quotient_unknown_half", doc: "any low half, divided by 2^16: below 2^16",
		body: asm.Instructions{asm.Div.Imm32(asm.R6, 1<<16), asm.JGE.Imm(asm.R6, 1<<16, dead)}},
	deduction{name: "remainder", doc: "the remainder by 10 is at most 9",
		body: asm.Instructions{asm.Mod.Imm(asm.R6, 10), asm.JGT.Imm(asm.R6, 9, dead)}},
	deduction{name: "remainder_half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.Mod.Imm32(asm.R6, 10), asm.JGT.Imm32(asm.R6, 9, dead)}},
	deduction{name: "remainder_small", doc: "at most 5 has itself as remainder by 10",
		body: then(within(asm.R6, 0, 5), asm.Instructions{asm.Mod.Imm(asm.R6, 10), asm.JGT.Imm(asm.R6, 5, dead)})},
))

var _ = register(deductionFamily("deduce_signed_division",
	`Bounds after signed division and remainder.
As with unsigned division, with instructions that came later. A deduction that is lost makes programs dearer that scale
differences of times or sizes, which may be negative.`,
	"BPF_SDIV and BPF_SMOD, 6.6; their bounds, 7.0",
	"6.6",
	deduction{name: "quotient", doc: "-100 to 100, divided by -10: at most 10",
		body: then(withinSigned(asm.R6, -100, 100), asm.Instructions{asm.SDiv.Imm(asm.R6, -10), asm.JSGT.Imm(asm.R6, 10, dead)})},
	deduction{name: "remainder", doc: "the signed remainder by 10 is at most 9",
		body: asm.Instructions{asm.SMod.Imm(asm.R6, 10), asm.JSGT.Imm(asm.R6, 9, dead)}},
))
