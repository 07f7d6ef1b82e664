package probes

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(mergeFamily("merge_kptr",
	`Paths that take a pointer to an object of the kernel's.
A task that a function of the kernel hands out, or that is taken from a map by bpf_kptr_xchg, is held until it is given
back. Where it came from does not matter later. A higher count means that programs that keep tasks, control groups or
sockets in maps (tracing and security agents, schedulers) get dearer.`,
	"bpf_kptr_xchg, 5.19 (c0a5a21c25f3); bpf_task_from_pid, 6.2 (3f0e6f2b41d3); a task from a map and one from a function told apart, 7.0",
	"6.2",
	cheap(merge{name: "two_tasks", doc: "one task or another, given back behind the tail",
		left: keepTask(1), right: keepTask(2), use: giveBack("use")},
		merge{name: "given_back", doc: "one path takes a task and gives it back at once",
			setup: zeroSlots, left: func(i int) asm.Instructions {
				return then(keepTask(1)(i), giveBack("arm")(i), asm.Instructions{storeImm(slot(i), 0)})
			}, right: leaveAlone, use: read(0, dw)},
		merge{name: "exchanged", doc: "a task that was found by its number or taken from a map, given back behind the tail",
			setup: kptrElement, left: keepTask(1), right: takeTask, use: giveBack("use"), maps: kptrMap})...,
))

// kptrMap has elements that hold a task.
var kptrMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 16, Key: typeInt,
	Value: structOf("element", 8, member("task", 0, &btf.Pointer{Target: &btf.TypeTag{Value: "kptr", Type: structOf("task_struct", 8)}}))}}

// kptrElement leaves an element of it in R7.
var kptrElement = asm.Instructions{
	storeImm(keysAt, 1), asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
	asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(keysAt)), asm.FnMapLookupElem.Call(),
	asm.JNE.Imm(asm.R0, 0, "element"), asm.Mov.Imm(asm.R0, 0), asm.Return(),
	asm.Mov.Reg(asm.R7, asm.R0).WithSymbol("element"),
}

// keepTask asks for a task by its number and keeps it, or nothing.
func keepTask(pid int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.Mov.Imm(asm.R1, pid), kernelFunction("bpf_task_from_pid"), asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord)}
	}
}

// takeTask takes the task out of the element, and keeps it.
func takeTask(i int) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7), asm.Mov.Imm(asm.R2, 0), asm.FnKptrXchg.Call(), asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord)}
}

// giveBack releases the task of the slot, if there is one.
func giveBack(what string) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("%s_none%d", what, i)
		return asm.Instructions{
			asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord), asm.JEq.Imm(asm.R1, 0, label),
			kernelFunction("bpf_task_release"), asm.Mov.Imm(asm.R0, 0).WithSymbol(label),
		}
	}
}
