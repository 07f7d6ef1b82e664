package probes

import "github.com/cilium/ebpf/asm"

var _ = register(deductionFamily("deduce_byte_swap",
	`Bounds and bits after a change of byte order.
Swapping the bytes of a 16-bit field leaves a 16-bit number. A deduction that is lost has programs that index by a
port or a length from the network check it again.`,
	"BPF_END in adjust_scalar_min_max_vals(), 7.0 and the stable kernels of its time",
	"5.1",
	deduction{name: "big_endian_16", doc: "a 16-bit field in network order is at most 65535",
		body: asm.Instructions{asm.HostTo(asm.BE, asm.R6, asm.Half), asm.JGE.Imm(asm.R6, 1<<16, dead)}},
	deduction{name: "little_endian_16", doc: "a 16-bit field in little-endian order is at most 65535",
		body: asm.Instructions{asm.HostTo(asm.LE, asm.R6, asm.Half), asm.JGE.Imm(asm.R6, 1<<16, dead)}},
	deduction{name: "big_endian_32_bits", doc: "a number of at most 255 in the other order of 32 bits has its low 24 bits clear",
		body: asm.Instructions{asm.And.Imm(asm.R6, 0xff), asm.HostTo(asm.BE, asm.R6, asm.Word), asm.JSet.Imm(asm.R6, 0xffffff, dead)}},
	deduction{name: "big_endian_twice", doc: "a number of at most 255 is one again after two changes of order",
		body: asm.Instructions{asm.And.Imm(asm.R6, 0xff), asm.HostTo(asm.BE, asm.R6, asm.Half), asm.HostTo(asm.BE, asm.R6, asm.Half), asm.JGT.Imm(asm.R6, 0xff, dead)}},
	deduction{name: "constant", doc: "a constant stays one",
		body: asm.Instructions{asm.Mov.Imm(asm.R6, 0x1234), asm.HostTo(asm.BE, asm.R6, asm.Half), asm.JGT.Imm(asm.R6, 0x3412, dead)}},
))

var _ = register(deductionFamily("deduce_byte_reversal",
	`Bounds and bits after an unconditional reversal of bytes.
As with the change of byte order, with the instruction that came later and that newer compilers use for the same
purpose. A deduction that is lost has programs that index by a port or a length check it again.`,
	"BPF_BSWAP, 6.6; its bits, 7.0 and the stable kernels of its time",
	"6.6",
	deduction{name: "reversed_64", doc: "a number of at most 255, reversed, has its low 56 bits clear",
		body: asm.Instructions{asm.And.Imm(asm.R6, 0xff), asm.BSwap(asm.R6, asm.DWord), asm.JSet.Imm(asm.R6, 0xffffff, dead)}},
	deduction{name: "reversed_16", doc: "16 bits, reversed, are at most 65535",
		body: asm.Instructions{asm.BSwap(asm.R6, asm.Half), asm.JGE.Imm(asm.R6, 1<<16, dead)}},
))
