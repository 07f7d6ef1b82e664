package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_same_register",
	`A register against itself or its copy.
A number equals itself, minus itself it is 0. Compilers leave such code behind when they inline. A deduction that is
lost makes such programs dearer.`,
	"is_branch_taken() for one register on both sides, 6.19",
	"5.1",
	deduction{name: "not_equal_itself", doc: "a register does not differ from itself",
		body: asm.Instructions{asm.JNE.Reg(asm.R6, asm.R6, dead)}},
	deduction{name: "below_itself", doc: "a register is not below itself",
		body: asm.Instructions{asm.JLT.Reg(asm.R6, asm.R6, dead)}},
	deduction{name: "not_equal_copy", doc: "a register does not differ from its copy",
		body: asm.Instructions{asm.Mov.Reg(asm.R1, asm.R6), asm.JNE.Reg(asm.R1, asm.R6, dead)}},
	deduction{name: "minus_itself", doc: "a register minus itself is 0",
		body: asm.Instructions{asm.Sub.Reg(asm.R6, asm.R6), asm.JNE.Imm(asm.R6, 0, dead)}},
	deduction{name: "xor_itself", doc: "a register exclusive or itself is 0",
		body: asm.Instructions{asm.Xor.Reg(asm.R6, asm.R6), asm.JNE.Imm(asm.R6, 0, dead)}},
))
