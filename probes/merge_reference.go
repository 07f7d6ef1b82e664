package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_reference",
	`Paths that take a reference in different places.
A socket that a program looks up is held until the program gives it back, and the verifier counts what is held. Which
call took a reference does not matter as long as it is given back later. A higher count means that programs that look
up sockets or connections on several paths (load balancers, transparent proxies, socket policy) get dearer.`,
	"refsafe() in kernel/bpf/verifier.c; references compared through an id map, 6.3 (e8f55fcf7779)",
	"5.3",
	cheap(merge{name: "two_lookups", doc: "a socket of IPv4 or of IPv6 is looked up, and given back behind the tail",
		left: holdSocket(12), right: holdSocket(36), use: releaseSocket("use"), setup: zeroTuple},
		merge{name: "released", doc: "one path looks a socket up and gives it back at once",
			left: lookAndRelease, right: leaveAlone, use: read(0, dw), setup: then(zeroTuple, zeroSlots)})...,
))

// tupleAt is where on the stack the addresses of a connection stand, below all slots:
// 12 bytes for IPv4, 36 for IPv6 (struct bpf_sock_tuple).
const tupleAt = buffer - 40

var zeroTuple = asm.Instructions{storeImm(tupleAt, 0), storeImm(tupleAt+8, 0), storeImm(tupleAt+16, 0), storeImm(tupleAt+24, 0), storeImm(tupleAt+32, 0)}

// zeroSlots writes zeros to the slots of the branches, for arms that leave one alone.
var zeroSlots = func() asm.Instructions {
	var ins asm.Instructions
	for i := range mergeDiamonds {
		ins = append(ins, storeImm(slot(i), 0))
	}
	return ins
}()

// holdSocket looks a socket up by a zero address of so many bytes and keeps what came of it.
func holdSocket(size int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R9), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(tupleAt)),
			asm.Mov.Imm(asm.R3, size), asm.LoadImm(asm.R4, -1, asm.DWord), asm.Mov.Imm(asm.R5, 0),
			asm.FnSkLookupTcp.Call(),
			asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord),
		}
	}
}

// releaseSocket gives back what the slot holds, if anything.
func releaseSocket(what string) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("%s_none%d", what, i)
		return asm.Instructions{
			asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord),
			asm.JEq.Imm(asm.R1, 0, label),
			asm.FnSkRelease.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol(label),
		}
	}
}

// lookAndRelease does both and leaves the slot as it was.
func lookAndRelease(i int) asm.Instructions {
	return then(holdSocket(12)(i), releaseSocket("arm")(i), asm.Instructions{storeImm(slot(i), 0)})
}
