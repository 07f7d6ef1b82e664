package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_bounds_halves",
	`Bounds of a whole register from those of its low half, and back.
The verifier keeps bounds for all 64 bits of a register and for the low 32 apart. What is learnt of one should teach it
about the other. A deduction that is lost makes programs that compare 32-bit lengths and use them as 64-bit offsets
(compilers produce them freely) dearer or has them refused.`,
	"reg_bounds_sync() and __reg_deduce_mixed_bounds() in kernel/bpf/verifier.c; 64-bit bounds refined from 32-bit ones since 6.8",
	"5.7",
	deduction{name: "half_from_whole", doc: "a register of at most 100 has a low half of at most 100",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JGT.Imm32(asm.R6, 100, dead)})},
	deduction{name: "whole_from_half", doc: "a zero-extended low half of at most 100 makes a register of at most 100",
		body: asm.Instructions{asm.Mov.Reg32(asm.R6, asm.R6), asm.JGT.Imm32(asm.R6, 100, out), asm.JGT.Imm(asm.R6, 100, dead)}},
	deduction{name: "whole_from_half_high", doc: "with equal high halves known, a bound on the low half bounds the whole",
		body: asm.Instructions{
			asm.LoadImm(asm.R1, 0x1_0000_0000, asm.DWord), asm.LoadImm(asm.R2, 0x1_ffff_ffff, asm.DWord), asm.LoadImm(asm.R3, 0x1_0000_0009, asm.DWord),
			asm.JLT.Reg(asm.R6, asm.R1, out), asm.JGT.Reg(asm.R6, asm.R2, out),
			asm.JGT.Imm32(asm.R6, 9, out),
			asm.JGT.Reg(asm.R6, asm.R3, dead),
		}},
	deduction{name: "signed_half_from_whole", doc: "a register of at most 100 has a low half that is not negative",
		body: then(within(asm.R6, 0, 100), asm.Instructions{asm.JSLT.Imm32(asm.R6, 0, dead)})},
	deduction{name: "sign_extended_half", doc: "a sign-extended low half between 0 and 100 makes a register of at most 100",
		body: then(asm.Instructions{asm.LSh.Imm(asm.R6, 32), asm.ArSh.Imm(asm.R6, 32)}, withinSigned32(asm.R6, 0, 100),
			asm.Instructions{asm.JGT.Imm(asm.R6, 100, dead)})},
	deduction{name: "sign_extended_negative", doc: "a sign-extended low half between -10 and -1 makes a register between -10 and -1",
		body: then(asm.Instructions{asm.LSh.Imm(asm.R6, 32), asm.ArSh.Imm(asm.R6, 32)}, withinSigned32(asm.R6, -10, -1),
			asm.Instructions{asm.JSLT.Imm(asm.R6, -10, dead)})},
	deduction{name: "word_of_context", doc: "a 4-byte load gives at most 2^32-1",
		body: asm.Instructions{asm.LoadMem(asm.R6, asm.R9, 0, asm.Word), asm.LoadImm(asm.R1, 0xffff_ffff, asm.DWord), asm.JGT.Reg(asm.R6, asm.R1, dead)}},
))
