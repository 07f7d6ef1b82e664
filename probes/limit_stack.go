package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_stack",
	`How much stack a function may use.
A program that keeps a large struct or a path name on its stack comes near it. Where the limit is lower such programs
are refused.`,
	"MAX_BPF_STACK (include/linux/filter.h), 512",
	"",
	limitCase{name: "within", doc: "512 bytes", ins: func() asm.Instructions { return chain(1, 512) },
		grow: limitGrowth("8-byte slots of stack", 2, 1024, func(n int) asm.Instructions { return chain(1, 8*n) }, nil)},
	limitCase{name: "beyond", doc: "520 bytes", ins: func() asm.Instructions { return chain(1, 520) }},
))

var _ = register(limitFamily("limit_stack_of_calls",
	`How much stack functions that call one another may use together.
The stacks of a chain of calls are added up, each rounded. Tracing programs may get a private stack for each function
instead, and then only each function's own counts. Where the limit is lower programs built of functions are refused.`,
	"check_max_stack_depth() in kernel/bpf/verifier.c; private stack, 6.13 (a76ab5731e32)",
	"4.16",
	limitCase{name: "within", doc: "two functions of 256 bytes", ins: func() asm.Instructions { return chain(2, 256) },
		grow: limitGrowth("8-byte slots of stack in each of two functions", 2, 1024, func(n int) asm.Instructions { return chain(2, 8*n) }, nil)},
	limitCase{name: "beyond", doc: "two functions of 264 bytes", ins: func() asm.Instructions { return chain(2, 264) }},
	limitCase{name: "tracing_within", doc: "two functions of 256 bytes in a tracing program", typ: ebpf.Kprobe, ins: func() asm.Instructions { return chain(2, 256) }},
	limitCase{name: "tracing_beyond", doc: "two functions of 264 bytes in a tracing program: accepted with a private stack", typ: ebpf.Kprobe, ins: func() asm.Instructions { return chain(2, 264) }},
	limitCase{name: "eight_within", doc: "eight functions of 64 bytes", ins: func() asm.Instructions { return chain(8, 64) }},
	limitCase{name: "eight_beyond", doc: "eight functions of 72 bytes", ins: func() asm.Instructions { return chain(8, 72) }},
	limitCase{name: "rounding", doc: "six functions of 72 bytes: 480 where each is rounded to 16, 576 where it is rounded to 32", ins: func() asm.Instructions { return chain(6, 72) }},
))
