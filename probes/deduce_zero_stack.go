package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_zero_stack",
	`Whether zeroed stack is still known to be zero.
Programs clear structs on their stack, fill in some fields and read others. The verifier keeps "zero" apart from
"something". A deduction that is lost makes programs dearer that build map keys and events on the stack.`,
	"STACK_ZERO in kernel/bpf/verifier.c; reads at an unknown offset, lost in 6.x, back in 7.3",
	"5.3",
	deduction{name: "byte_of_zero", doc: "a byte of 8 bytes that were stored as the constant zero",
		body: asm.Instructions{storeImm(-8, 0), asm.LoadMem(asm.R1, asm.RFP, -5, asm.Byte), asm.JNE.Imm(asm.R1, 0, dead)}},
	deduction{name: "byte_of_spilled_zero", doc: "a byte of a register that held zero and was stored",
		body: spilledNumber(0, 3, asm.Byte, asm.JNE.Imm(asm.R1, 0, dead))},
	deduction{name: "rest_of_zero", doc: "the upper half of a zero whose lower half was overwritten",
		body: asm.Instructions{storeImm(-8, 0), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word), asm.JNE.Imm(asm.R1, 0, dead)}},
	deduction{name: "rest_of_spilled_zero", doc: "the same with a zero that was stored from a register",
		body: asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word), asm.JNE.Imm(asm.R1, 0, dead)}},
	deduction{name: "joined_halves", doc: "8 bytes read of two zeros of 4",
		body: asm.Instructions{asm.StoreImm(asm.RFP, -8, 0, asm.Word), asm.StoreImm(asm.RFP, -4, 0, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord), asm.JNE.Imm(asm.R1, 0, dead)}},
	deduction{name: "unknown_offset", doc: "a byte at an unknown place of 16 bytes that were stored as the constant zero",
		body: then(asm.Instructions{storeImm(-8, 0), storeImm(-16, 0)}, readZeroAnywhere)},
	deduction{name: "unknown_offset_spilled", doc: "the same with zeros that were stored from a register",
		body: then(asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord)}, readZeroAnywhere)},
	deduction{name: "unknown_write_of_zero", doc: "zero written at an unknown place of zeroed stack leaves it zero",
		body: then(asm.Instructions{
			storeImm(-8, 0), storeImm(-16, 0), asm.And.Imm(asm.R6, 15), asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -16), asm.Add.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, 0), asm.StoreMem(asm.R1, 0, asm.R2, asm.Byte),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.Byte), asm.JNE.Imm(asm.R1, 0, dead)})},
))

// readZeroAnywhere reads a byte at an unknown place of the top 16 bytes of stack.
var readZeroAnywhere = asm.Instructions{
	asm.And.Imm(asm.R6, 15), asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -16), asm.Add.Reg(asm.R1, asm.R6),
	asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte), asm.JNE.Imm(asm.R2, 0, dead),
}
