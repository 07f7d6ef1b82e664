package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(mergeFamily("merge_exception",
	`Paths on which the program may give up.
bpf_throw ends the program from however deep a function, and stands behind the assertions of newer programs. The path
that throws needs no merging, and what an assertion proved must not keep the others apart. A higher count means that
programs written with assertions get dearer.`,
	"bpf_throw, 6.7 (f18b03fabaa9)",
	"6.7",
	cheap(merge{name: "assertion", doc: "a number is asserted to be below 100, or nothing is",
		left: keepAsserted(100), right: storeUnknown, use: read(0, dw)},
		merge{name: "two_assertions", doc: "a number is asserted to be below 16 or below 8, and is an offset behind the tail",
			setup: clearBuffer, left: keepAsserted(16), right: keepAsserted(8), use: slotAsOffset},
		merge{name: "thrower", typed: true, doc: "a function throws, or returns one number or another, which nobody needs",
			setup: zeroSlots, left: callThrower(1), right: callThrower(2), use: read(0, dw), end: thrower})...,
))

// throwUnless throws where R7 is not below n.
func throwUnless(n int32, label string) asm.Instructions {
	return asm.Instructions{asm.JLT.Imm(asm.R7, n, label), asm.Mov.Imm(asm.R1, 0), kernelFunction("bpf_throw"), asm.Mov.Imm(asm.R1, 0).WithSymbol(label)}
}

// keepAsserted spills a number that is asserted to be below n.
func keepAsserted(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return then(asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0)}, throwUnless(n, fmt.Sprintf("below%d_%d", n, i)),
			asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R7, asm.DWord)})
	}
}

// slotAsOffset reads the buffer at the number of the slot.
func slotAsOffset(i int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.RFP, slot(i), asm.DWord),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(buffer)), asm.Add.Reg(asm.R1, asm.R7),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
	}
}

func callThrower(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{fresh, asm.Mov.Reg(asm.R1, asm.R0), asm.Mov.Imm(asm.R2, n), asm.Call.Label("thrower"), asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord)}
	}
}

// thrower returns its second argument, or throws where its first is large.
var thrower = staticFunction("thrower", []btf.Type{typeU64, typeU64}, then(
	asm.Instructions{asm.Mov.Reg(asm.R7, asm.R1), asm.Mov.Reg(asm.R8, asm.R2)}, throwUnless(1000, "thrower_small"),
	asm.Instructions{asm.Mov.Reg(asm.R0, asm.R8), asm.Return()}))
