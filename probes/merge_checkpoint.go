package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = register(Family{
	Name: "merge_checkpoint", Shape: Merge, Since: "5.3",
	Doc: `Which states the verifier keeps.
It can merge a path only with one of which it kept the state. It keeps one every so many insns and jumps, and forgets
those that others were compared with in vain. With the flag that its own tests load programs with it keeps one
wherever paths can meet. What moves here is mostly that rule, and not what counts as alike. A higher count means that
programs of many short branches, large switches and long loops get dearer.`,
	Rests: "is_state_visited() in kernel/bpf/verifier.c: 8 insns and 2 jumps, and misses against hits, changed in 6.19.y; BPF_F_TEST_STATE_FREQ, 5.3 (10d274e880eb)",
	Cases: []Case{
		checkpoint("switch", "a switch of sixty values, each of which leaves another offset", 0, switchOver(60)),
		checkpoint("switch_frequent", "the same, with every state kept", unix.BPF_F_TEST_STATE_FREQ, switchOver(60)),
		checkpoint("short", "sixty branches so short that a state is kept at every other only", 0, shortBranches(60)),
		checkpoint("short_frequent", "the same, with every state kept", unix.BPF_F_TEST_STATE_FREQ, shortBranches(60)),
		checkpoint("loop_frequent", "a loop of sixty rounds with a branch that counts, with every state kept", unix.BPF_F_TEST_STATE_FREQ, countingLoop(60)),
	},
})

// checkpoint is a program of the body, with an unknown number in R6, 0 in R7 and R8, and
// a buffer of zeros on the stack.
func checkpoint(name, doc string, flags uint32, body asm.Instructions) Case {
	return Case{Name: name, Doc: doc, Cost: time.Millisecond, Build: func() (Program, error) {
		ins := then(asm.Instructions{fresh, asm.Mov.Reg(asm.R6, asm.R0), asm.Mov.Imm(asm.R7, 0), asm.Mov.Imm(asm.R8, 0)}, clearBuffer, body, ending())
		return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Flags: flags, Instructions: ins, License: "GPL"}}, nil
	}}
}

// switchOver leaves one of sixteen numbers in R7, one for each of n values of R6, and
// makes it an offset.
func switchOver(n int) asm.Instructions {
	var ins asm.Instructions
	for i := range n {
		label := fmt.Sprintf("case%d", i+1)
		ins = append(ins, asm.JNE.Imm(asm.R6, int32(i), label), asm.Mov.Imm(asm.R7, int32(i%16)), asm.Ja.Label("join"), asm.Mov.Imm(asm.R7, 0).WithSymbol(label))
	}
	join := tail(12)
	join[0] = join[0].WithSymbol("join")
	return then(ins, join, asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(buffer)), asm.Add.Reg(asm.R1, asm.R7), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
	}, tail(100))
}

// shortBranches are n branches on unknown bits, of one insn each.
func shortBranches(n int) asm.Instructions {
	var ins asm.Instructions
	for i := range n {
		label := fmt.Sprintf("short%d", i)
		ins = append(ins, fresh, asm.JSet.Imm(asm.R0, 1, label), asm.Mov.Imm(asm.R8, 1), asm.Mov.Imm(asm.R2, 1).WithSymbol(label))
	}
	return append(ins, tail(40)...)
}

// countingLoop counts in R8 on one of two paths, round by round.
func countingLoop(rounds int32) asm.Instructions {
	return asm.Instructions{
		fresh.WithSymbol("round"), asm.JSet.Imm(asm.R0, 1, "even"), asm.Add.Imm(asm.R8, 1),
		asm.Add.Imm(asm.R7, 1).WithSymbol("even"), asm.JLT.Imm(asm.R7, rounds, "round"),
	}
}
