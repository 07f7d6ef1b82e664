package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_sign_extension",
	`Bounds after sign extension.
Moves and loads that extend the sign of 1, 2 or 4 bytes have bounds of their own. A deduction that is lost makes
programs dearer that were compiled for the newest instruction set.`,
	"BPF_MOVSX and BPF_MEMSX, 6.6; coerce_reg_to_size_sx() in kernel/bpf/verifier.c",
	"6.6",
	deduction{name: "move_8", doc: "8 bits, extended: at most 127",
		body: asm.Instructions{asm.MovSX8.Reg(asm.R1, asm.R6), asm.JSGT.Imm(asm.R1, 127, dead)}},
	deduction{name: "move_16", doc: "16 bits, extended: at most 32767",
		body: asm.Instructions{asm.MovSX16.Reg(asm.R1, asm.R6), asm.JSGT.Imm(asm.R1, 32767, dead)}},
	deduction{name: "move_8_half", doc: "8 bits, extended to 32: at most 127",
		body: asm.Instructions{asm.MovSX8.Reg32(asm.R1, asm.R6), asm.JSGT.Imm32(asm.R1, 127, dead)}},
	deduction{name: "move_8_small", doc: "at most 50, extended from 8 bits: at most 50",
		body: then(within(asm.R6, 0, 50), asm.Instructions{asm.MovSX8.Reg(asm.R1, asm.R6), asm.JGT.Imm(asm.R1, 50, dead)})},
	deduction{name: "move_32_small", doc: "at most 50, extended from 32 bits: at most 50",
		body: then(within(asm.R6, 0, 50), asm.Instructions{asm.MovSX32.Reg(asm.R1, asm.R6), asm.JGT.Imm(asm.R1, 50, dead)})},
	deduction{name: "load_8", doc: "a byte of stack, loaded with its sign: at most 127",
		body: asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord), asm.LoadMemSX(asm.R1, asm.RFP, -7, asm.Byte), asm.JSGT.Imm(asm.R1, 127, dead)}},
	deduction{name: "load_constant", doc: "a constant of 8 bytes stored, its low byte loaded with its sign",
		body: asm.Instructions{asm.Mov.Imm(asm.R1, 0x12fe), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.LoadMemSX(asm.R1, asm.RFP, -8, asm.Byte), asm.JNE.Imm(asm.R1, -2, dead)}},
))
