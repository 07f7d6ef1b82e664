package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_link_spill",
	`What a check of a register says of a copy on the stack.
Compilers put variables on the stack and fetch them back; the link between the two must outlive that. A deduction that
is lost has programs with many variables refused (the check is done on one copy, the access with another), or makes
them dearer.`,
	"ids of spilled numbers in save_register_state() and check_stack_read_fixed_off() (kernel/bpf/verifier.c); between 6.1 and 6.12",
	"5.1",
	deduction{name: "spilled", doc: "a spilled copy of a register of at most 10",
		body: spillLinked(asm.JGT.Imm(asm.R6, 10, out), asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord), asm.JGT.Imm(asm.R2, 10, dead))},
	deduction{name: "spilled_back", doc: "a register whose spilled copy was read back and is at most 10",
		body: spillLinked(asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord), asm.JGT.Imm(asm.R2, 10, out), asm.JGT.Imm(asm.R6, 10, dead))},
	deduction{name: "spilled_plus", doc: "a spilled copy plus 4",
		body: then(linked(asm.Add.Imm(asm.R1, 4), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.JGT.Imm(asm.R6, 10, out)),
			asm.Instructions{asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord), asm.JGT.Imm(asm.R2, 14, dead)})},
	deduction{name: "spilled_over_call", doc: "a spilled copy, with a call of a helper between the check and the use",
		body: spillLinked(asm.JGT.Imm(asm.R6, 10, out), asm.FnGetPrandomU32.Call(), asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord), asm.JGT.Imm(asm.R2, 10, dead))},
	deduction{name: "spilled_half", doc: "a copy spilled as 4 bytes",
		body: then(within(asm.R6, 0, 1000), asm.Instructions{
			asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word), asm.JGT.Imm(asm.R6, 10, out),
			asm.LoadMem(asm.R2, asm.RFP, -8, asm.Word), asm.JGT.Imm(asm.R2, 10, dead)})},
	deduction{name: "spilled_twice", doc: "two fills of one slot are copies of each other",
		body: spillLinked(asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord), asm.LoadMem(asm.R3, asm.RFP, -8, asm.DWord), asm.JGT.Imm(asm.R2, 10, out), asm.JGT.Imm(asm.R3, 10, dead))},
))

// spillLinked spills a copy of R6, which is at most 1000.
func spillLinked(rest ...asm.Instruction) asm.Instructions {
	return linked(append(asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord)}, rest...)...)
}
