package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(Family{
	Name: "merge_callback", Shape: Merge, Since: "5.17",
	Doc: `Loops by way of a function that the kernel calls back.
bpf_loop and bpf_for_each_map_elem call a function of the program's for every round. The verifier walks it until a
round leaves nothing new in what the function was handed. A higher count means that programs that loop so (Cilium's
service and policy code, profilers) get dearer.`,
	Rests: "bpf_loop, 5.17 (e6f2dd0f8067); callbacks are walked more than once, 6.7 (ab5cfac139ab)",
	Cases: []Case{
		callback("nothing", "the function does nothing", ending()),
		callback("counts", "the function counts in the struct that it is handed", then(asm.Instructions{
			asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R2, 0, asm.R1, asm.DWord)}, ending())),
		callback("branches", "the function writes one of two fields, or neither", then(callbackBranches(2), ending())),
		callback("branches_more", "the function writes some of four fields", then(callbackBranches(4), ending())),
		callback("captured", "the function compares what it was handed and remembers the largest", then(asm.Instructions{
			asm.LoadMem(asm.R3, asm.R2, 0, asm.DWord), asm.LoadMem(asm.R4, asm.R2, 8, asm.DWord),
			asm.JGE.Reg(asm.R4, asm.R3, "smaller"), asm.StoreMem(asm.R2, 8, asm.R3, asm.DWord),
			asm.StoreMem(asm.R2, 0, asm.R1, asm.DWord).WithSymbol("smaller"),
			asm.JGT.Imm(asm.R1, 5, "stop")}, ending(), asm.Instructions{asm.Mov.Imm(asm.R0, 1).WithSymbol("stop"), asm.Return()})),
		callback("flag_then_offset", "a field that one round sets is another round's offset into the struct", then(asm.Instructions{
			asm.LoadMem(asm.R3, asm.R2, 0, asm.DWord), asm.JGT.Imm(asm.R3, 15, "far"),
			asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Reg(asm.R4, asm.R3), asm.Mov.Imm(asm.R5, 1), asm.StoreMem(asm.R4, 8, asm.R5, asm.Byte),
			asm.StoreMem(asm.R2, 0, asm.R1, asm.DWord).WithSymbol("far")}, ending())),
		{Name: "for_each", Doc: "bpf_for_each_map_elem over an array, with a function that counts", Cost: time.Millisecond, Build: forEach},
	},
})

// callbackBranches writes each of n fields on one of two paths.
func callbackBranches(n int) asm.Instructions {
	ins := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R2)}
	for i := range n {
		label := "field" + string(rune('a'+i))
		ins = append(ins, asm.FnGetPrandomU32.Call(), asm.JSet.Imm(asm.R0, 1, label),
			asm.Mov.Imm(asm.R1, int32(i+1)), asm.StoreMem(asm.R6, int16(8*i), asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 0).WithSymbol(label))
	}
	return ins
}

// loopContext is how many bytes of stack the function is handed.
const loopContext = 40

// callback runs bpf_loop over function, which gets the round in R1 and a pointer to
// loopContext bytes in R2; then all fields are read.
func callback(name, doc string, function asm.Instructions) Case {
	return Case{Name: name, Doc: doc, Cost: 2 * time.Millisecond, Build: func() (Program, error) {
		main := zeroContext()
		main = append(main,
			asm.Mov.Imm(asm.R1, 8), functionPointer(asm.R2, "callback"), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -loopContext), asm.Mov.Imm(asm.R4, 0),
			asm.FnLoop.Call())
		main = append(main, readContext()...)
		ins := then(mainFunction(main), staticFunction("callback", []btf.Type{typeU64, typePtr}, function))
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}, nil
	}}
}

func zeroContext() asm.Instructions {
	var ins asm.Instructions
	for off := loopContext; off > 0; off -= 8 {
		ins = append(ins, storeImm(int16(-off), 0))
	}
	return ins
}

func readContext() asm.Instructions {
	var ins asm.Instructions
	for off := loopContext; off > 0; off -= 8 {
		ins = append(ins, asm.LoadMem(asm.R1, asm.RFP, int16(-off), asm.DWord))
	}
	return append(ins, ending()...)
}

// forEach counts the elements of an array.
func forEach() (Program, error) {
	main := zeroContext()
	main = append(main,
		asm.LoadMapPtr(asm.R1, 0).WithReference("m"), functionPointer(asm.R2, "callback"), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -loopContext), asm.Mov.Imm(asm.R4, 0),
		asm.FnForEachMapElem.Call())
	main = append(main, readContext()...)
	count := then(asm.Instructions{
		asm.LoadMem(asm.R5, asm.R4, 0, asm.DWord), asm.Add.Imm(asm.R5, 1), asm.StoreMem(asm.R4, 0, asm.R5, asm.DWord),
	}, ending())
	ins := then(mainFunction(main), staticFunction("callback", []btf.Type{typePtr, typePtr, typePtr, typePtr}, count))
	return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}, Maps: arrayMap}, nil
}
