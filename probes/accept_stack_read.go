package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "accept_stack_read", Shape: Deduction, Since: "",
	Doc: `Reads of stack that one verifier allows and another refuses.
Whether a program may read stack that it has not written, or a part of a pointer that it stored there, has changed
more than once. A read that is newly refused has programs refused that compilers made of harmless sources (copies of
structs with padding, mostly).`,
	Rests: "reads of uninitialised stack, 6.3 (6715df8d5d24) and 6.1.y; \"invalid size of register fill\" in check_stack_read_fixed_off(), 7.1.y",
	Cases: []Case{
		stackRead("never_written", "8 bytes that were never written", asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord)),
		stackRead("half_written", "8 bytes of which 4 were written", asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord)),
		stackRead("padding", "a hash key of 8 bytes of which 5 were written", storeByte(-8), asm.StoreMem(asm.RFP, -4, asm.R6, asm.Word),
			asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8), asm.FnMapLookupElem.Call()),
		stackRead("part_of_pointer", "4 bytes of a stored pointer", asm.StoreMem(asm.RFP, -8, asm.R9, asm.DWord), asm.LoadMem(asm.R1, asm.RFP, -8, asm.Word)),
		stackRead("rest_of_pointer", "4 bytes of a stored pointer whose other half was overwritten",
			asm.StoreMem(asm.RFP, -8, asm.R9, asm.DWord), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word), asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word)),
		stackRead("whole_of_torn_pointer", "8 bytes of a stored pointer of which one byte was overwritten",
			asm.StoreMem(asm.RFP, -8, asm.R9, asm.DWord), storeByte(-8), asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord)),
		stackRead("unknown_offset", "a byte at an unknown place of stack of which half was written", asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord),
			asm.And.Imm(asm.R6, 15), asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -16), asm.Add.Reg(asm.R1, asm.R6), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte)),
		stackRead("pointer_or_number_half", "4 bytes of a slot that holds a pointer on one path and a number on the other",
			asm.JSet.Imm(asm.R6, 1, "number"), asm.StoreMem(asm.RFP, -8, asm.R9, asm.DWord), asm.Ja.Label("read"),
			asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord).WithSymbol("number"),
			asm.LoadMem(asm.R1, asm.RFP, -4, asm.Word).WithSymbol("read")),
	},
})

// storeByte writes one unknown byte.
func storeByte(off int16) asm.Instruction { return asm.StoreMem(asm.RFP, off, asm.R6, asm.Byte) }

// stackRead is a program that does what body does, with an unknown number in R6 and
// the context in R9.
func stackRead(name, doc string, body ...asm.Instruction) Case {
	return Case{Name: name, Doc: doc, Cost: 300 * time.Microsecond, Build: func() (Program, error) {
		ins := then(asm.Instructions{asm.Mov.Reg(asm.R9, asm.R1), asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R6, asm.R0)}, body, ending())
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}, Maps: hashMap}, nil
	}}
}
