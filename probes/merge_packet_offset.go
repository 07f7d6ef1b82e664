package probes

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

var _ = register(mergeFamily("merge_packet_offset",
	`Paths that leave a packet pointer at different places.
The pointer is moved by a number that was read, or by a constant, and is checked against the packet's end before it is
read through. Which way it was moved does not matter where the check comes later. A higher count means that parsers of
headers of variable length (IPv4 options, tunnels, VLAN tags) get dearer.`,
	"regsafe() for packet pointers, adjust_ptr_min_max_vals() and find_good_pkt_pointers() in kernel/bpf/verifier.c; bounds of variable offsets, 7.1 and 7.3",
	"5.3",
	cheap(merge{name: "narrow_wide", doc: "moved by less than 16 or by less than 64, checked behind the tail",
		setup: packetBounds, left: keepMoved(15), right: keepMoved(63), use: checkPacket},
		merge{name: "checked", doc: "checked for 20 bytes on one path and for 40 on the other, read for 8 behind the tail",
			setup: packetBounds, left: keepChecked(20), right: keepChecked(40), use: readPointer},
		merge{name: "constant_read", branches: 4, doc: "one pointer that each branch moves by a constant or by a multiple of 4 that was read; the constant first",
			setup: packetWalk, left: advanceBy(8), right: advanceRead, use: checkAdvanced},
		merge{name: "read_constant", branches: 5, doc: "the same with the number that was read first",
			setup: packetWalk, left: advanceRead, right: advanceBy(8), use: checkAdvanced})...,
))

// packetBounds leaves the packet in R7 and its end in R8.
var packetBounds = asm.Instructions{asm.LoadMem(asm.R7, asm.R9, skbData, asm.Word), asm.LoadMem(asm.R8, asm.R9, skbDataEnd, asm.Word)}

// packetWalk leaves the packet in R9 too, for branches to move.
var packetWalk = append(append(asm.Instructions{}, packetBounds...), asm.Mov.Reg(asm.R9, asm.R7))

// keepMoved spills the pointer of R7, moved by an unknown number under a mask.
func keepMoved(mask int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{fresh, asm.And.Imm(asm.R0, mask), asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Reg(asm.R1, asm.R0), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord)}
	}
}

// leaveUnless leaves the program where n bytes behind R1 are not of the packet.
func leaveUnless(n int32, label string) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, n), asm.JLE.Reg(asm.R2, asm.R8, label), asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

func checkPacket(i int) asm.Instructions {
	label := fmt.Sprintf("inside%d", i)
	return then(asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord)}, leaveUnless(8, label),
		asm.Instructions{asm.LoadMem(asm.R3, asm.R1, 0, asm.DWord).WithSymbol(label)})
}

func keepChecked(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("checked%d_%d", n, i)
		return then(asm.Instructions{fresh, asm.And.Imm(asm.R0, 15), asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Reg(asm.R1, asm.R0)}, leaveUnless(n, label),
			asm.Instructions{asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.DWord).WithSymbol(label)})
	}
}

// readPointer reads through the pointer of the slot.
func readPointer(i int) asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R1, asm.RFP, slot(i), asm.DWord), asm.LoadMem(asm.R3, asm.R1, 0, asm.DWord)}
}

func advanceBy(n int32) func(int) asm.Instructions {
	return func(int) asm.Instructions { return asm.Instructions{asm.Add.Imm(asm.R9, n)} }
}

// advanceRead moves R9 by 8 and by four times the byte that stands behind it.
func advanceRead(i int) asm.Instructions {
	label := fmt.Sprintf("advanced%d", i)
	return then(asm.Instructions{asm.Mov.Reg(asm.R1, asm.R9)}, leaveUnless(2, label),
		asm.Instructions{asm.LoadMem(asm.R3, asm.R9, 1, asm.Byte).WithSymbol(label), asm.LSh.Imm(asm.R3, 2), asm.Add.Imm(asm.R3, 8), asm.Add.Reg(asm.R9, asm.R3)})
}

func checkAdvanced(i int) asm.Instructions {
	label := fmt.Sprintf("there%d", i)
	return then(asm.Instructions{asm.Mov.Reg(asm.R1, asm.R9)}, leaveUnless(8, label), asm.Instructions{asm.LoadMem(asm.R3, asm.R1, 0, asm.DWord).WithSymbol(label)})
}
