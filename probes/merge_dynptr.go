package probes

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_dynptr",
	`Paths that make a dynamic pointer in different places.
A dynptr is sixteen bytes of stack by which the kernel remembers memory of a size that only the run decides. Which call
made it does not matter later. A higher count means that programs that reserve records of variable size or walk
buffers by dynptr (tracing agents, packet filters of newer make) get dearer.`,
	"bpf_dynptr, 5.19 (97e03f521050); dynptrs compared by type and id in stacksafe(), 6.3 (d6fefa1105da); stack liveness of dynptrs that nobody uses, 7.1",
	"5.19",
	cheap(merge{name: "two_sizes", doc: "eight or sixteen bytes of a map's value, read through the dynptr behind the tail",
		setup: dynptrElement, left: makeDynptr(8), right: makeDynptr(16), use: readDynptr, maps: dynptrMap},
		merge{name: "or_nothing", doc: "one path makes a dynptr that nobody uses",
			setup: dynptrElement, left: makeDynptr(8), right: leaveAlone, use: overwriteDynptr, maps: dynptrMap},
		merge{name: "reserved", doc: "a record of one size or another is reserved, and given up behind the tail",
			left: reserve(8), right: reserve(16), use: discard, maps: ringMap},
		merge{name: "slice", doc: "a pointer into one dynptr, asked for in one place or another",
			setup: then(dynptrElement, oneDynptr), left: slice(0), right: slice(8), use: readSlice, maps: dynptrMap})...,
))

// The maps that dynptrs lead into.
var (
	dynptrMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 64, MaxEntries: 16}}
	ringMap   = map[string]*ebpf.MapSpec{"m": {Type: ebpf.RingBuf, MaxEntries: 1 << 16}}
)

// dynptrElement leaves the value of an element in R7.
var dynptrElement = asm.Instructions{
	storeImm(dynptrKey, 1), asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
	asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(dynptrKey)), asm.FnMapLookupElem.Call(),
	asm.JNE.Imm(asm.R0, 0, "element"), asm.Mov.Imm(asm.R0, 0), asm.Return(),
	asm.Mov.Reg(asm.R7, asm.R0).WithSymbol("element"),
}

// Places on the stack: a dynptr for each branch, and below them a key, a buffer and a dynptr of all.
const (
	dynptrKey    = int16(-16*mergeDiamonds - 8)
	dynptrBuffer = dynptrKey - 8
	sharedDynptr = dynptrBuffer - 16
)

// dynptrAt is the place of the dynptr of branch i.
func dynptrAt(i int) int16 { return int16(-16 * (i + 1)) }

// stackAddress puts the address of a place on the stack into a register.
func stackAddress(r asm.Register, at int16) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, int32(at))}
}

// fromMemory makes a dynptr of the memory of R7.
func fromMemory(at int16, size int32) asm.Instructions {
	return then(asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7), asm.Mov.Imm(asm.R2, size), asm.Mov.Imm(asm.R3, 0)},
		stackAddress(asm.R4, at), asm.Instructions{asm.FnDynptrFromMem.Call()})
}

func makeDynptr(size int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions { return fromMemory(dynptrAt(i), size) }
}

var oneDynptr = fromMemory(sharedDynptr, 64)

func readDynptr(i int) asm.Instructions {
	return then(stackAddress(asm.R1, dynptrBuffer), asm.Instructions{asm.Mov.Imm(asm.R2, 8)}, stackAddress(asm.R3, dynptrAt(i)),
		asm.Instructions{asm.Mov.Imm(asm.R4, 0), asm.Mov.Imm(asm.R5, 0), asm.FnDynptrRead.Call()})
}

func overwriteDynptr(i int) asm.Instructions {
	return asm.Instructions{storeImm(dynptrAt(i), 0), storeImm(dynptrAt(i)+8, 0), asm.LoadMem(asm.R1, asm.RFP, dynptrAt(i), asm.DWord)}
}

// reserve reserves a record in the ring buffer.
func reserve(size int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return then(asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Imm(asm.R2, size), asm.Mov.Imm(asm.R3, 0)},
			stackAddress(asm.R4, dynptrAt(i)), asm.Instructions{asm.FnRingbufReserveDynptr.Call()})
	}
}

func discard(i int) asm.Instructions {
	return append(stackAddress(asm.R1, dynptrAt(i)), asm.Mov.Imm(asm.R2, 0), asm.FnRingbufDiscardDynptr.Call())
}

// slice keeps a pointer to 8 bytes of the dynptr of all, or none.
func slice(at int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return append(stackAddress(asm.R1, sharedDynptr), asm.Mov.Imm(asm.R2, at), asm.Mov.Imm(asm.R3, 8), asm.FnDynptrData.Call(),
			asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord))
	}
}

func readSlice(i int) asm.Instructions {
	label := fmt.Sprintf("no_slice%d", i)
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord), asm.JEq.Imm(asm.R1, 0, label),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), asm.Mov.Imm(asm.R1, 0).WithSymbol(label),
	}
}
