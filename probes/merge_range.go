package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_range",
	`Paths that know different bounds of a number.
A number is compared with signed and with unsigned bounds, which together leave two pieces of the number line: what a
verifier keeps of them decides whether a path that knows more is seen to be covered by one that knows less. In the end
the number is an offset. A higher count means that programs with range checks in a row, signed and unsigned (argument
filters, lengths that may be errors), get dearer.`,
	"range_within() and regsafe() in kernel/bpf/verifier.c; signed and unsigned bounds kept as one range of a circle, 7.2",
	"5.3",
	cheap(merge{name: "unsigned_both", doc: "bounded unsigned, or signed and unsigned; the path that knows less comes first",
		setup: clearWide, left: keepUnsigned, right: keepBoth, use: smallOffset, branches: 3},
		merge{name: "both_unsigned", doc: "the same the other way about",
			setup: clearWide, left: keepBoth, right: keepUnsigned, use: smallOffset, branches: 3},
		merge{name: "both_signed", doc: "bounded signed and unsigned, or signed only",
			setup: clearWide, left: keepBoth, right: keepSigned, use: smallOffset, branches: 3},
		merge{name: "not_zero", doc: "between -10 and 10 but not 0, or between -10 and 10; both plus 10",
			setup: clearWide, left: keepNotZero, right: keepAroundZero, use: offsetPlusTen, branches: 2})...,
))

// wideBuffer is 72 bytes of zeros below all slots.
const wideBuffer = int16(-8 * (mergeDiamonds + 10))

var clearWide = func() asm.Instructions {
	var ins asm.Instructions
	for at := wideBuffer; at < wideBuffer+72; at += 8 {
		ins = append(ins, storeImm(at, 0))
	}
	return ins
}()

// rangeNumber leaves an unknown number under a mask in R7.
func rangeNumber(mask int32) asm.Instructions {
	return then(clearWide, asm.Instructions{fresh, asm.Mov.Reg(asm.R7, asm.R0), asm.And.Imm(asm.R7, mask)})
}

// unknown64 makes a number in R1 of which no bit is known.
var unknown64 = asm.Instructions{fresh, asm.Mov.Reg(asm.R1, asm.R6), asm.Xor.Reg(asm.R1, asm.R0), asm.LSh.Imm(asm.R1, 32), asm.Xor.Reg(asm.R1, asm.R0)}

// orLeave leaves the program where the comparison does not hold.
func orLeave(compare func(asm.Register, int32, string) asm.Instruction, n int32, label string) asm.Instructions {
	return asm.Instructions{compare(asm.R1, n, label), asm.Mov.Imm(asm.R0, 0), asm.Return(), asm.Mov.Imm(asm.R2, 0).WithSymbol(label)}
}

func spillR1(i int) asm.Instructions {
	return asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
}

func unsignedBounds(i int, arm string) asm.Instructions {
	return then(orLeave(asm.JGE.Imm, 50, fmt.Sprintf("%s_low%d", arm, i)), orLeave(asm.JLE.Imm, -5, fmt.Sprintf("%s_high%d", arm, i)))
}

func signedBounds(low, high int32, i int, arm string) asm.Instructions {
	return then(orLeave(asm.JSGE.Imm, low, fmt.Sprintf("%s_above%d", arm, i)), orLeave(asm.JSLE.Imm, high, fmt.Sprintf("%s_below%d", arm, i)))
}

func keepUnsigned(i int) asm.Instructions {
	return then(unknown64, unsignedBounds(i, "unsigned"), spillR1(i))
}

func keepSigned(i int) asm.Instructions {
	return then(unknown64, signedBounds(-10, 100, i, "signed"), spillR1(i))
}

func keepBoth(i int) asm.Instructions {
	return then(unknown64, signedBounds(-10, 100, i, "both"), unsignedBounds(i, "both"), spillR1(i))
}

func keepAroundZero(i int) asm.Instructions {
	return then(unknown64, signedBounds(-10, 10, i, "around"), spillR1(i))
}

func keepNotZero(i int) asm.Instructions {
	return then(unknown64, signedBounds(-10, 10, i, "not"), orLeave(asm.JNE.Imm, 0, fmt.Sprintf("not_zero%d", i)), spillR1(i))
}

// wideOffset makes the number of the slot an offset.
func wideOffset(i int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.RFP, slot(i), asm.DWord), asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(wideBuffer)), asm.Add.Reg(asm.R1, asm.R7),
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
	}
}

// boundedOffset adds to the number of the slot and makes it an offset where it is small.
func boundedOffset(add int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("large%d", i)
		return asm.Instructions{
			asm.LoadMem(asm.R7, asm.RFP, slot(i), asm.DWord), asm.Add.Imm(asm.R7, add), asm.JGT.Imm(asm.R7, 60, label),
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(wideBuffer)), asm.Add.Reg(asm.R1, asm.R7), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
			asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
		}
	}
}

var (
	smallOffset   = boundedOffset(0)
	offsetPlusTen = boundedOffset(10)
)
