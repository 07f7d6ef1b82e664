package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_rcu",
	`Paths that read under an RCU lock.
Between bpf_rcu_read_lock and its unlock a program that may sleep can follow pointers that the kernel frees by RCU;
behind the unlock they are worth nothing. The verifier keeps with every state whether the lock is held. A path that
held it for a while is like one that did not. A higher count means that sleepable programs that look at tasks or
control groups in maps get dearer.`,
	"bpf_rcu_read_lock, 6.2 (9bb00b2895cb)",
	"6.2",
	cheap(sleepable(merge{name: "empty", doc: "one path takes the lock and gives it back",
		setup: zeroSlots, left: lockRCU, right: leaveAlone, use: read(0, dw)}),
		sleepable(merge{name: "inside", doc: "one path looks at a task of a map under the lock",
			setup: then(zeroSlots, kptrElement), left: lookUnderRCU, right: leaveAlone, use: read(0, dw), maps: kptrMap}),
		sleepable(merge{name: "held", doc: "all is done under the lock, and either path keeps a pointer that it read there",
			setup: then(zeroSlots, kptrElement, asm.Instructions{kernelFunction("bpf_rcu_read_lock")}), left: seeTask, right: seeTaskAgain,
			use: compareTask, last: asm.Instructions{kernelFunction("bpf_rcu_read_unlock")}, maps: kptrMap}))...,
))

func lockRCU(int) asm.Instructions {
	return asm.Instructions{kernelFunction("bpf_rcu_read_lock"), kernelFunction("bpf_rcu_read_unlock")}
}

func lookUnderRCU(i int) asm.Instructions {
	label := fmt.Sprintf("unlock%d", i)
	return asm.Instructions{
		kernelFunction("bpf_rcu_read_lock"),
		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord), asm.JEq.Imm(asm.R1, 0, label), asm.Mov.Imm(asm.R2, 0),
		kernelFunction("bpf_rcu_read_unlock").WithSymbol(label),
	}
}

// seeTask keeps the pointer of the element, which may be nothing.
func seeTask(i int) asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
}

// seeTaskAgain does the same in another way.
func seeTaskAgain(i int) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(asm.R2, asm.R7), asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
}

func compareTask(i int) asm.Instructions {
	label := fmt.Sprintf("no_task%d", i)
	return asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord), asm.JEq.Imm(asm.R1, 0, label), asm.Mov.Imm(asm.R1, 1), asm.Mov.Imm(asm.R1, 0).WithSymbol(label)}
}
