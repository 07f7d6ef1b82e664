package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = register(mergeFamily("merge_sleepable",
	`Paths of a program that copies from the memory of processes.
A program that may sleep reads a process's memory and waits for it where it must. The verifier knows of such a copy
only that something was written to the stack, and how much of it. Paths that differ in what the copy overwrites, or in
what it left, must be merged. A higher count means that security agents with sleepable hooks get dearer.`,
	"bpf_copy_from_user, 5.10; BPF_PROG_TYPE_SYSCALL, 5.14 (79a7f8bdb159); static stack liveness, 7.1 (7ca5f68cda07)",
	"5.14",
	cheap(sleepable(merge{name: "number_copied", doc: "a spilled constant, or eight bytes that were copied",
		left: storeNumber(7), right: copyFromUser, use: read(0, dw)}),
		sleepable(merge{name: "zero_copied_half", doc: "a spilled zero, or eight bytes that were copied; only the high half is read",
			left: storeNumber(0), right: copyFromUser, use: read(4, w)}),
		sleepable(merge{name: "overwritten", doc: "a number or a pointer, overwritten by a copy before it is read",
			left: storeNumber(7), right: storePointer, use: func(i int) asm.Instructions { return append(copyFromUser(i), read(0, dw)(i)...) }}),
		sleepable(merge{name: "overwritten_by_halves", doc: "the same with two copies of four bytes",
			left: storeNumber(7), right: storePointer, use: overwriteByCopies}))...,
))

// sleepable makes a probe one of a program that may sleep. That type needs no hook.
func sleepable(m merge) merge {
	m.kind, m.flags = ebpf.Syscall, unix.BPF_F_SLEEPABLE
	return m
}

// copyBytes copies n bytes of a process to a place on the stack.
func copyBytes(at int16, n int32) asm.Instructions {
	return append(stackAddress(asm.R1, at), asm.Mov.Imm(asm.R2, n), asm.Mov.Reg(asm.R3, asm.R6), asm.FnCopyFromUser.Call())
}

func copyFromUser(i int) asm.Instructions { return copyBytes(slot(i), 8) }

func overwriteByCopies(i int) asm.Instructions {
	return then(copyBytes(slot(i), 4), copyBytes(slot(i)+4, 4), read(0, dw)(i))
}
