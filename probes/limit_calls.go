package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_call_depth",
	`How deep calls may be nested.
Each function of a chain of calls is a frame. Where the limit is lower, programs built of many small noinline functions
are refused.`,
	"MAX_CALL_FRAMES (include/linux/bpf_verifier.h), 8",
	"4.16",
	limitCase{name: "within", doc: "8 frames", ins: func() asm.Instructions { return chain(8, 0) },
		grow: limitGrowth("frames", 2, 64, func(n int) asm.Instructions { return chain(n, 0) }, nil)},
	limitCase{name: "beyond", doc: "9 frames", ins: func() asm.Instructions { return chain(9, 0) }},
))

var _ = register(limitFamily("limit_functions",
	`How many functions a program may have.
The program itself counts, and so do functions that are called back. Where the limit is lower, programs built of many
small functions are refused.`,
	"BPF_MAX_SUBPROGS (include/linux/bpf_verifier.h), 256",
	"4.16",
	limitCase{name: "within", doc: "256 functions", cost: 3 * time.Millisecond, ins: func() asm.Instructions { return functions(256) },
		grow: limitGrowth("functions", 2, 2048, functions, nil)},
	limitCase{name: "beyond", doc: "257 functions", cost: time.Millisecond, ins: func() asm.Instructions { return functions(257) }},
))

// functions is a program of n functions, of which the first calls all others.
func functions(n int) asm.Instructions {
	var ins asm.Instructions
	for i := 1; i < n; i++ {
		ins = append(ins, asm.Call.Label(fmt.Sprintf("f%d", i)))
	}
	ins = append(ins, ending()...)
	for i := 1; i < n; i++ {
		f := ending()
		f[0] = f[0].WithSymbol(fmt.Sprintf("f%d", i))
		ins = append(ins, f...)
	}
	return ins
}
