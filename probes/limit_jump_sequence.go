package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_jump_sequence",
	`How many branches may wait to be walked.
The verifier puts the other side of each branch aside while it walks the first. A program with a long row of branches,
as large switches and unrolled loops are, needs room for all of them. Where the limit is lower such programs are
refused.`,
	"BPF_COMPLEXITY_LIMIT_JMP_SEQ, 8192 since 4.20 (ceefbc96fa5c)",
	"5.2",
	limitCase{name: "within", doc: "8192 branches in a row", cost: 30 * time.Millisecond, ins: func() asm.Instructions { return branches(8192) },
		grow: limitGrowth("branches in a row", 2, 32_000, branches, nil)},
	limitCase{name: "beyond", doc: "8193 branches in a row", cost: 30 * time.Millisecond, ins: func() asm.Instructions { return branches(8193) }},
))

// branches compares an unknown number with n constants.
func branches(n int) asm.Instructions {
	ins := asm.Instructions{asm.FnGetPrandomU32.Call()}
	for i := range n {
		ins = append(ins, asm.JEq.Imm(asm.R0, int32(i), "end"))
	}
	return append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
}
