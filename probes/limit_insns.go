package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_insns",
	`How many insns the verifier walks before it gives up.
A loop of a known number of rounds is walked round by round, to exactly the limit and to one insn more. It is the limit
that nearly all large programs meet first: where it is lower, everything that came near it is refused.`,
	"BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a)",
	"5.3",
	limitCase{name: "within", doc: "1,000,000 insns walked", cost: 200 * time.Millisecond, ins: func() asm.Instructions { return walk(1_000_000) },
		grow: limitGrowth("thousands of insns walked", 10, 4000, func(n int) asm.Instructions { return walk(1000 * n) }, nil)},
	limitCase{name: "beyond", doc: "1,000,001 insns walked", cost: 200 * time.Millisecond, ins: func() asm.Instructions { return walk(1_000_001) }},
))

// walkRound is the length of a round: large, so that few states are kept.
const walkRound = 4000

// walk is a program on which the verifier walks exactly n insns: one to set the
// counter, rounds of walkRound, what is left, and two to end.
func walk(n int) asm.Instructions {
	rounds := (n - 3) / walkRound
	rest := (n - 3) % walkRound
	ins := asm.Instructions{asm.Mov.Imm(asm.R6, int32(rounds))}
	body := tail(walkRound - 2)
	body[0] = body[0].WithSymbol("round")
	ins = append(ins, body...)
	ins = append(ins, asm.Sub.Imm(asm.R6, 1), asm.JNE.Imm(asm.R6, 0, "round"))
	ins = append(ins, tail(rest)...)
	return append(ins, ending()...)
}
