package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_shift",
	`Bounds after shifts.
Shifting moves bounds and known bits alike. Shifting the sign bit over the whole register leaves 0 or -1, which
compilers use to select without a branch. A deduction that is lost makes programs dearer that compute header lengths
(a field times four) or checksums.`,
	"scalar_min_max_lsh(), _rsh(), _arsh() in kernel/bpf/verifier.c; negative constants after a full arithmetic shift, 6.19, 6.12.y and late 6.18.y",
	"5.1",
	deduction{name: "left", doc: "at most 7, times 8: at most 56",
		body: asm.Instructions{asm.And.Imm(asm.R6, 7), asm.LSh.Imm(asm.R6, 3), asm.JGT.Imm(asm.R6, 56, dead)}},
	deduction{name: "left_half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.And.Imm32(asm.R6, 7), asm.LSh.Imm32(asm.R6, 3), asm.JGT.Imm32(asm.R6, 56, dead)}},
	deduction{name: "left_by_register", doc: "at most 1, shifted left by at most 3: at most 8",
		body: asm.Instructions{asm.And.Imm(asm.R6, 1), asm.And.Imm(asm.R7, 3), asm.LSh.Reg(asm.R6, asm.R7), asm.JGT.Imm(asm.R6, 8, dead)}},
	deduction{name: "right", doc: "any number, shifted right by 56: at most 255",
		body: asm.Instructions{asm.RSh.Imm(asm.R6, 56), asm.JGT.Imm(asm.R6, 255, dead)}},
	deduction{name: "arithmetic_right", doc: "any number, shifted right by 56 with its sign: at most 127",
		body: asm.Instructions{asm.ArSh.Imm(asm.R6, 56), asm.JSGT.Imm(asm.R6, 127, dead)}},
	deduction{name: "arithmetic_right_half", doc: "any low half, shifted right by 24 with its sign: at most 127",
		body: asm.Instructions{asm.ArSh.Imm32(asm.R6, 24), asm.JSGT.Imm32(asm.R6, 127, dead)}},
	deduction{name: "sign_mask", doc: "the sign over all bits, masked with -8: 0 or -8",
		body: asm.Instructions{asm.ArSh.Imm(asm.R6, 63), asm.And.Imm(asm.R6, -8), asm.JEq.Imm(asm.R6, 0, out), asm.JNE.Imm(asm.R6, -8, dead)}},
	deduction{name: "sign_mask_half", doc: "the same in 32 bits",
		body: asm.Instructions{asm.ArSh.Imm32(asm.R6, 31), asm.And.Imm32(asm.R6, -8), asm.JEq.Imm32(asm.R6, 0, out), asm.JNE.Imm32(asm.R6, -8, dead)}},
))
