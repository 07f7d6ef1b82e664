package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_sign_cross",
	`Signed bounds from unsigned ones and back, also where a range crosses zero.
A number between -10 and 10 is, read as unsigned, either very small or very large. Together with an unsigned bound only
one of the two is left. A deduction that is lost makes programs dearer that test for errors (negative returns) and then
use the value as a length.`,
	"__reg64_deduce_bounds() and __reg32_deduce_bounds(); ranges across the sign boundary, 6.17 (00bf8d0c6c9b)",
	"5.1",
	deduction{name: "signed_from_unsigned", doc: "a number of at most 100 is not negative",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JSLT.Imm(asm.R6, 0, dead)})},
	deduction{name: "unsigned_from_signed", doc: "a number between 0 and 100, signed, is at most 100, unsigned",
		body: then(withinSigned(asm.R6, 0, 100), asm.Instructions{asm.JGT.Imm(asm.R6, 100, dead)})},
	deduction{name: "unsigned_from_negative", doc: "a number between -10 and -1, signed, is at least -10, unsigned",
		body: then(withinSigned(asm.R6, -10, -1), asm.Instructions{asm.JLT.Imm(asm.R6, -10, dead)})},
	deduction{name: "unsigned_from_signed_half", doc: "a low half between 0 and 100, signed, is at most 100, unsigned",
		body: then(withinSigned32(asm.R6, 0, 100), asm.Instructions{asm.JGT.Imm32(asm.R6, 100, dead)})},
	deduction{name: "across_zero_large", doc: "between -10 and 10 and unsigned at least 100: negative",
		body: then(withinSigned(asm.R6, -10, 10), asm.Instructions{asm.JLT.Imm(asm.R6, 100, out), asm.JSGE.Imm(asm.R6, 0, dead)})},
	deduction{name: "across_zero_small", doc: "between -10 and 10 and unsigned at most 100: at most 10",
		body: then(withinSigned(asm.R6, -10, 10), asm.Instructions{asm.JGT.Imm(asm.R6, 100, out), asm.JGT.Imm(asm.R6, 10, dead)})},
	deduction{name: "across_zero_added", doc: "between -10 and 10, plus 10: at most 20",
		body: then(withinSigned(asm.R6, -10, 10), asm.Instructions{asm.Add.Imm(asm.R6, 10), asm.JGT.Imm(asm.R6, 20, dead)})},
	deduction{name: "unsigned_above_signed", doc: "at least 2^63, unsigned, is negative",
		body: asm.Instructions{asm.LoadImm(asm.R1, -1<<63, asm.DWord), asm.JLT.Reg(asm.R6, asm.R1, out), asm.JSGE.Imm(asm.R6, 0, dead)}},
))
