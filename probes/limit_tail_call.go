package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(limitFamily("limit_tail_call",
	`How much stack a function may leave in use when another one makes a tail call.
A tail call out of a function keeps the stacks of its callers, again for each of the 33 calls there may be, so the
callers' stacks are bounded. Where the limit is lower, programs that mix functions and tail calls, as Cilium's do, are
refused.`,
	"MAX_TAIL_CALL_STACK, 256, in check_max_stack_depth(); tail calls in functions, 5.10 (e411901c0b77)",
	"5.10",
	limitCase{name: "in_program", doc: "a tail call of the program itself", maps: programArray, ins: func() asm.Instructions { return tailCall() }},
	limitCase{name: "within", doc: "a tail call in a function whose caller uses 224 bytes", maps: programArray, ins: func() asm.Instructions { return tailCallInFunction(224) }},
	limitCase{name: "beyond", doc: "a tail call in a function whose caller uses 256 bytes", maps: programArray, ins: func() asm.Instructions { return tailCallInFunction(256) }},
))

func programArray() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{"progs": {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}}
}

// tailCall jumps to the first program of the array, with the context in R1.
func tailCall() asm.Instructions {
	return append(asm.Instructions{asm.LoadMapPtr(asm.R2, 0).WithReference("progs"), asm.Mov.Imm(asm.R3, 0), asm.FnTailCall.Call()}, ending()...)
}

// tailCallInFunction calls a function that makes a tail call, with so much stack in use.
func tailCallInFunction(stack int) asm.Instructions {
	ins := append(asm.Instructions{useStack(stack), asm.Call.Label("callee")}, ending()...)
	return then(mainFunction(ins), staticFunction("callee", []btf.Type{typeCtx}, tailCall()))
}
