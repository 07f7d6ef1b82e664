package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_fill",
	`What is known of a number that comes back from the stack.
A number is stored on the stack and read back, whole or in part. What was known of it before should be known after. A
deduction that is lost has programs refused, or makes them dearer, that keep lengths and constants in structs on their
stack.`,
	"check_stack_read_fixed_off(); narrow spills, 5.16 (354e8f1970f8); narrow fills of wider spills, 6.8; constants stored directly, 6.7",
	"5.3",
	deduction{name: "whole_range", doc: "8 bytes stored, 8 read: at most 100",
		body: spilled(100, asm.DWord, 0, asm.DWord, asm.JGT.Imm(asm.R1, 100, dead))},
	deduction{name: "word_range", doc: "4 bytes stored, 4 read: at most 100",
		body: spilled(100, asm.Word, 0, asm.Word, asm.JGT.Imm(asm.R1, 100, dead))},
	deduction{name: "half_range", doc: "2 bytes stored, 2 read: at most 100",
		body: spilled(100, asm.Half, 0, asm.Half, asm.JGT.Imm(asm.R1, 100, dead))},
	deduction{name: "byte_range", doc: "1 byte stored, 1 read: at most 100",
		body: spilled(100, asm.Byte, 0, asm.Byte, asm.JGT.Imm(asm.R1, 100, dead))},
	deduction{name: "narrow_range", doc: "8 bytes stored, the low 4 read: at most 100",
		body: spilled(100, asm.DWord, 0, asm.Word, asm.JGT.Imm(asm.R1, 100, dead))},
	deduction{name: "narrow_constant", doc: "a constant of 8 bytes stored, the low 4 read",
		body: spilledNumber(0x1234, 0, asm.Word, asm.JNE.Imm(asm.R1, 0x1234, dead))},
	deduction{name: "narrow_constant_byte", doc: "a constant of 8 bytes stored, the low byte read",
		body: spilledNumber(0x1234, 0, asm.Byte, asm.JNE.Imm(asm.R1, 0x34, dead))},
	deduction{name: "shifted_constant_byte", doc: "a constant of 8 bytes stored, the second byte read",
		body: spilledNumber(0x1234, 1, asm.Byte, asm.JNE.Imm(asm.R1, 0x12, dead))},
	deduction{name: "high_word_constant", doc: "a constant of 8 bytes below 2^32 stored, the high 4 read: 0",
		body: spilledNumber(0x1234, 4, asm.Word, asm.JNE.Imm(asm.R1, 0, dead))},
	deduction{name: "stored_constant", doc: "8 bytes stored as a constant, read back",
		body: asm.Instructions{storeImm(-8, 7), asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord), asm.JNE.Imm(asm.R1, 7, dead)}},
	deduction{name: "stored_constant_word", doc: "4 bytes stored as a constant, read back",
		body: asm.Instructions{asm.StoreImm(asm.RFP, -8, 7, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -8, asm.Word), asm.JNE.Imm(asm.R1, 7, dead)}},
	deduction{name: "stored_constant_byte", doc: "1 byte stored as a constant, read back",
		body: asm.Instructions{asm.StoreImm(asm.RFP, -8, 7, asm.Byte), asm.LoadMem(asm.R1, asm.RFP, -8, asm.Byte), asm.JNE.Imm(asm.R1, 7, dead)}},
	deduction{name: "byte_bound", doc: "a byte of unknown stack is at most 255",
		body: asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord), asm.LoadMem(asm.R1, asm.RFP, -7, asm.Byte), asm.JGT.Imm(asm.R1, 255, dead)}},
))

// spilled stores R6, at most hi, to the stack and reads R1 from it.
func spilled(hi int32, store asm.Size, at int16, load asm.Size, rest ...asm.Instruction) asm.Instructions {
	return then(within(asm.R6, 0, hi), asm.Instructions{
		asm.StoreMem(asm.RFP, -8, asm.R6, store), asm.LoadMem(asm.R1, asm.RFP, -8+at, load),
	}, rest)
}

// spilledNumber stores n, 8 bytes, and reads R1 from it.
func spilledNumber(n int32, at int16, load asm.Size, rest ...asm.Instruction) asm.Instructions {
	return then(asm.Instructions{
		asm.Mov.Imm(asm.R1, n), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.LoadMem(asm.R1, asm.RFP, -8+at, load),
	}, rest)
}
