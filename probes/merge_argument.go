package probes

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(mergeFamily("merge_argument",
	`Paths that differ while functions are called with arguments.
A static function is verified anew for every call, a global one once and for any arguments. What the caller has on its
stack, and what a function got that does not look at it, must not keep paths apart, even where another argument or the
result has to be known exactly. A higher count means that programs built of noinline functions, as nearly all large
ones are, get dearer.`,
	"set_callee_state() and prepare_func_exit(); precision over calls, 6.4 (fde2a3882bd0); global functions, 5.6 (51c39bb1d5d1), with pointers to memory, 5.12 (e5069b9c23b3)",
	"5.6",
	cheap(merge{name: "unused", typed: true, doc: "a static function gets a number or an unknown one, and does not look at it",
		left: storeNumber(7), right: storeUnknown, use: callWithSlot, end: staticFunction("function", []btf.Type{typeU64}, ending())},
		merge{name: "offset", typed: true, doc: "a static function makes an offset of its argument, while the caller's paths left one number or another",
			left: storeNumber(7), right: storeNumber(9), use: callForOffset, end: offsetFunction},
		merge{name: "result_offset", typed: true, doc: "the caller makes an offset of the result, while its paths left one number or another",
			setup: clearBuffer, left: storeNumber(7), right: storeNumber(9), use: callForResult, end: maskFunction},
		merge{name: "global_result", typed: true, doc: "a global function gives back what it got, one number or another; nobody needs it",
			setup: zeroSlots, left: callGlobal(1), right: callGlobal(2), use: read(0, dw), end: globalEcho},
		merge{name: "global_memory", typed: true, doc: "a global function reads a structure in which the paths left one number or another",
			left: storeNumber(7), right: storeNumber(9), use: callWithAddress, end: globalReader})...,
))

func callWithSlot(i int) asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord), asm.Call.Label("function")}
}

func callWithAddress(i int) asm.Instructions {
	return append(stackAddress(asm.R1, slot(i)), asm.Call.Label("function"))
}

func callForOffset(i int) asm.Instructions {
	return asm.Instructions{fresh, asm.Mov.Reg(asm.R1, asm.R0), asm.Call.Label("function"), asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord)}
}

func callForResult(i int) asm.Instructions {
	return asm.Instructions{
		fresh, asm.Mov.Reg(asm.R1, asm.R0), asm.Call.Label("function"),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(buffer)), asm.Add.Reg(asm.R2, asm.R0),
		asm.LoadMem(asm.R0, asm.R2, 0, asm.Byte), asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord),
	}
}

func callGlobal(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.Mov.Imm(asm.R1, n), asm.Call.Label("function"), asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord)}
	}
}

var (
	// offsetFunction reads its own stack at its argument.
	offsetFunction = staticFunction("function", []btf.Type{typeU64}, then(asm.Instructions{
		asm.And.Imm(asm.R1, 7), storeImm(-8, 0), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8), asm.Add.Reg(asm.R2, asm.R1),
		asm.LoadMem(asm.R0, asm.R2, 0, asm.Byte)}, ending()))
	maskFunction = staticFunction("function", []btf.Type{typeU64}, asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1), asm.And.Imm(asm.R0, 15), asm.Return()})
	globalEcho   = described("function", btf.GlobalFunc, []btf.Type{typeU64}, asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1), asm.Return()})
	// globalReader asks first whether there is anything, for it is verified by itself.
	globalReader = described("function", btf.GlobalFunc, []btf.Type{&btf.Pointer{Target: structOf("record", 8, member("number", 0, typeU64))}}, then(asm.Instructions{
		asm.JEq.Imm(asm.R1, 0, "nothing"), asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), asm.Mov.Imm(asm.R0, 0).WithSymbol("nothing")}, ending()))
)
