package probes

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(mergeFamily("merge_timer",
	`Paths that start a timer with one function or another.
bpf_timer_set_callback names a function that runs later, by itself. The verifier walks it apart from the program, once
for each place and each state that it is named in. A higher count means that programs that work with timers
(connection tracking, expiry, batching) get dearer.`,
	"bpf_timer, 5.15 (b00628b1c7d5); push_async_cb() in kernel/bpf/verifier.c",
	"5.15",
	cheap(merge{name: "two_functions", typed: true, doc: "one function or another is to be called back",
		setup: timerElement, left: setCallback("callback_a"), right: setCallback("callback_b"), use: read(0, dw), maps: timerMap, end: timerCallbacks},
		merge{name: "number", typed: true, doc: "the paths leave a number or an unknown one, and then the function is named",
			setup: timerElement, left: storeNumber(7), right: storeUnknown, use: setCallback("callback_b"), maps: timerMap, end: timerCallback("callback_b", 2)},
		merge{name: "branches", typed: true, doc: "the function that is called back has branches of its own, which leave a number or two halves, and starts the timer anew",
			setup: timerElement, left: setCallback("callback"), right: leaveAlone, use: read(0, dw), maps: timerMap, end: rearming})...,
))

// timerMap has elements of a timer and a number.
var timerMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 16, Key: typeInt,
	Value: structOf("element", 24, member("timer", 0, structOf("bpf_timer", 16, member("__opaque", 0, typeU64), member("__opaque2", 8, typeU64))), member("count", 16, typeU64))}}

// timerElement leaves an element of the map in R7.
var timerElement = then(zeroSlots, asm.Instructions{
	storeImm(keysAt, 1), asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
	asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(keysAt)), asm.FnMapLookupElem.Call(),
	asm.JNE.Imm(asm.R0, 0, "timer"), asm.Mov.Imm(asm.R0, 0), asm.Return(),
	asm.Mov.Reg(asm.R7, asm.R0).WithSymbol("timer"),
})

// setCallback names the function that the timer of R7 calls.
func setCallback(name string) func(int) asm.Instructions {
	return func(int) asm.Instructions {
		return asm.Instructions{asm.Mov.Reg(asm.R1, asm.R7), functionPointer(asm.R2, name), asm.FnTimerSetCallback.Call()}
	}
}

// timerCallbacks are two functions that branch and count in the element.
var timerCallbacks = then(timerCallback("callback_a", 1), timerCallback("callback_b", 2))

// timerCallback is one, which counts by n.
func timerCallback(name string, n int32) asm.Instructions {
	body := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R3)}
	for i := range 3 {
		label := fmt.Sprintf("%s_%d", name, i)
		body = append(body, asm.FnGetPrandomU32.Call(), asm.JSet.Imm(asm.R0, 1, label), asm.LoadMem(asm.R1, asm.R6, 16, asm.DWord), asm.Add.Imm(asm.R1, n),
			asm.StoreMem(asm.R6, 16, asm.R1, asm.DWord), asm.Mov.Imm(asm.R0, 0).WithSymbol(label))
	}
	return staticFunction(name, []btf.Type{typePtr, typePtr, typePtr}, then(body, tail(40), ending()))
}

// rearming is a function like a merge probe of its own.
var rearming = func() asm.Instructions {
	body := asm.Instructions{asm.Mov.Reg(asm.R7, asm.R3), fresh, asm.Mov.Reg(asm.R6, asm.R0)}
	for i := range mergeDiamonds {
		body = append(body, diamond(fmt.Sprintf("callback_branch%d", i), storeNumber(7)(i), storeHalves(i))...)
	}
	body = append(body, tail(100)...)
	for i := range mergeDiamonds {
		body = append(body, read(0, dw)(i)...)
	}
	body = append(body, asm.Mov.Reg(asm.R1, asm.R7), asm.LoadImm(asm.R2, 1_000_000, asm.DWord), asm.Mov.Imm(asm.R3, 0), asm.FnTimerStart.Call())
	return staticFunction("callback", []btf.Type{typePtr, typePtr, typePtr}, then(body, ending()))
}()
