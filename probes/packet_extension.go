package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "packet_extension", Shape: Merge, Since: "4.7",
	Doc: `A chain of packet headers of variable length.
Each header names the next one and says how long it is, as IPv6 extension headers and TCP options do, so the packet
pointer moves by a number that is read from the packet. The verifier must bound the sum and merge the ways to reach
the same header. A higher count means that parsers of such chains get dearer.`,
	Rests: "find_good_pkt_pointers() and packet pointer ranges in kernel/bpf/verifier.c; bounds of variable offsets, 7.3",
	Cases: []Case{
		growing(Case{Name: "headers_2", Doc: "two headers", Cost: time.Millisecond, Build: func() (Program, error) { return headerChain(2), nil }}, "headers", 1, 64, headerChain),
		{Name: "headers_4", Doc: "four headers", Cost: 3 * time.Millisecond, Build: func() (Program, error) { return headerChain(4), nil }},
		{Name: "headers_6", Doc: "six headers", Cost: 8 * time.Millisecond, Build: func() (Program, error) { return headerChain(6), nil }},
	},
})

// headerChain walks n headers of the form {u8 next; u8 length in 8-byte units}.
// R7 is where in the packet the walk is, R8 the end, R3 the kind of header.
func headerChain(n int) Program {
	ins := asm.Instructions{
		asm.LoadMem(asm.R7, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R8, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Imm(asm.R3, 0),
	}
	for i := range n {
		other, next := fmt.Sprintf("other%d", i), fmt.Sprintf("next%d", i)
		ins = append(ins,
			asm.Mov.Reg(asm.R1, asm.R7),
			asm.Add.Imm(asm.R1, 8),
			asm.JGT.Reg(asm.R1, asm.R8, "end"),
			asm.LoadMem(asm.R4, asm.R7, 0, asm.Byte),
			asm.LoadMem(asm.R2, asm.R7, 1, asm.Byte),
			asm.JEq.Imm(asm.R3, 44, other), // a fragment header has 8 bytes, whatever it says
			asm.LSh.Imm(asm.R2, 3),
			asm.Add.Imm(asm.R2, 8),
			asm.Add.Reg(asm.R7, asm.R2),
			asm.Ja.Label(next),
			asm.Add.Imm(asm.R7, 8).WithSymbol(other),
			asm.Mov.Reg(asm.R3, asm.R4).WithSymbol(next),
			asm.JEq.Imm(asm.R3, 59, "end"), // no next header
		)
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
	return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}
}

// Offsets in struct __sk_buff (include/uapi/linux/bpf.h).
const (
	skbData    = 76
	skbDataEnd = 80
)
