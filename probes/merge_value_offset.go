package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_value_offset",
	`Paths that leave a pointer at different places of a map's value.
The pointer is moved by a number with a bound, as records and strings are put together in a buffer of a map. A path
that left it at one place and one that left it anywhere within the bound are alike for what comes later. A higher
count means that programs that build events in a map (tracing and security agents) get dearer.`,
	"regsafe() for map values and check_map_access() in kernel/bpf/verifier.c; constant and variable offsets compared alike, 7.1",
	"5.3",
	cheap(merge{name: "wide_narrow", doc: "moved by less than 64 or by less than 16, read behind the tail",
		setup: bufferElement, left: keepMoved(63), right: keepMoved(15), use: readPointer, maps: bufferMap},
		merge{name: "variable_constant", doc: "moved by less than 64 or by 20",
			setup: bufferElement, left: keepMoved(63), right: keepMovedBy(20), use: readPointer, maps: bufferMap},
		merge{name: "filled", branches: 4, doc: "each branch puts 8 bytes or up to 15 into the buffer, one behind the other",
			setup: then(bufferElement, asm.Instructions{asm.Mov.Imm(asm.R9, 0)}), left: putConstant, right: putUnknown, use: putNumber, maps: bufferMap})...,
))

// bufferMap has one buffer of 256 bytes.
var bufferMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 256, MaxEntries: 1}}

// bufferElement leaves the buffer in R7.
var bufferElement = asm.Instructions{
	storeImm(keysAt, 0), asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
	asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(keysAt)), asm.FnMapLookupElem.Call(),
	asm.JNE.Imm(asm.R0, 0, "element"), asm.Mov.Imm(asm.R0, 0), asm.Return(),
	asm.Mov.Reg(asm.R7, asm.R0).WithSymbol("element"),
}

// keepMovedBy spills the pointer of R7, moved by n.
func keepMovedBy(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Imm(asm.R1, n), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
	}
}

// putNumber writes 8 bytes to the buffer at R9.
func putNumber(int) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Reg(asm.R1, asm.R9), asm.StoreMem(asm.R1, 0, asm.R6, asm.DWord)}
}

func putConstant(i int) asm.Instructions { return append(putNumber(i), asm.Add.Imm(asm.R9, 8)) }

func putUnknown(i int) asm.Instructions {
	return then(putNumber(i), asm.Instructions{fresh, asm.And.Imm(asm.R0, 15), asm.Add.Reg(asm.R9, asm.R0)})
}
