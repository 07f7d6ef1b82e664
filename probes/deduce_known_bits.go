package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_known_bits",
	`What known bits of a number say.
Beside bounds the verifier keeps which bits of a number are known. Bits alone may decide a comparison, and bits and
bounds together may leave only one or two values. A deduction that is lost makes programs that test flags and aligned
offsets (header lengths, TCP flags) dearer.`,
	"struct tnum (kernel/bpf/tnum.c); JEQ by known bits, 6.17 and 6.12.y; one possible value between bounds, 7.0 and the stable kernels of its time; two, 7.2",
	"5.1",
	deduction{name: "equal_by_bits", doc: "only bits 4 to 7 can be set, so it is not 0x18",
		body: asm.Instructions{asm.And.Imm(asm.R6, 0xf0), asm.JEq.Imm(asm.R6, 0x18, dead)}},
	deduction{name: "equal_by_bits_half", doc: "the same of a low half",
		body: asm.Instructions{asm.And.Imm32(asm.R6, 0xf0), asm.JEq.Imm32(asm.R6, 0x18, dead)}},
	deduction{name: "equal_by_bits_registers", doc: "an even number does not equal an odd one",
		body: asm.Instructions{asm.And.Imm(asm.R6, -2), asm.Or.Imm(asm.R7, 1), asm.JEq.Reg(asm.R6, asm.R7, dead)}},
	deduction{name: "set_by_bits", doc: "only bits 4 to 7 can be set, so none below is",
		body: asm.Instructions{asm.And.Imm(asm.R6, 0xf0), asm.JSet.Imm(asm.R6, 0x0f, dead)}},
	deduction{name: "set_learnt", doc: "a bit that was tested and not set is not set when asked again",
		body: asm.Instructions{asm.JSet.Imm(asm.R6, 0x20, out), asm.JSet.Imm(asm.R6, 0x20, dead)}},
	deduction{name: "set_by_range", doc: "a number of at most 15 has no bit above 3",
		body: then(within(asm.R6, 0, 15), asm.Instructions{asm.JSet.Imm(asm.R6, 0x10, dead)})},
	deduction{name: "range_by_bits", doc: "a number of which only bits 0 to 3 can be set is at most 15",
		body: asm.Instructions{asm.And.Imm(asm.R6, 15), asm.JGT.Imm(asm.R6, 15, dead)}},
	deduction{name: "no_value", doc: "no multiple of 16 lies between 17 and 31",
		body: then(asm.Instructions{asm.And.Imm(asm.R6, 0xf0)}, within(asm.R6, 17, 31), asm.Instructions{asm.JNE.Imm(asm.R6, 0, dead)})},
	deduction{name: "two_values", doc: "of the multiples of 16 only 16 and 32 lie between 1 and 47; not 16, so 32",
		body: then(asm.Instructions{asm.And.Imm(asm.R6, 0xf0)}, within(asm.R6, 1, 47), asm.Instructions{asm.JEq.Imm(asm.R6, 16, out), asm.JNE.Imm(asm.R6, 32, dead)})},
))
