package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(Family{
	Name: "packet_chain", Shape: Merge, Since: "5.3",
	Doc: `Headers of several kinds, each with a length of its own.
As parsers of IPv6 extension headers do it: the kind of the header decides how its length is computed, and the offset
of the next one is kept as a number. Ways through the chain that lead to the same header must be merged. A higher
count means that IPv6 programs get dearer, by a factor with every header that they skip.`,
	Rests: "adjust_ptr_min_max_vals() and regsafe() for packet pointers; bounds of sums of shifted lengths, 7.1 and 7.3",
	Cases: []Case{
		growing(chainCase("kinds_2", "two headers of three kinds", 2, 2*time.Millisecond), "headers", 1, 64, kindChain),
		chainCase("kinds_3", "three headers of three kinds", 3, 4*time.Millisecond),
		chainCase("kinds_4", "four headers of three kinds", 4, 12*time.Millisecond),
		{Name: "options", Doc: "eight TCP options in a loop, of one byte or of a length that the option gives", Cost: 6 * time.Millisecond, Build: optionLoop},
	},
})

func chainCase(name, doc string, n int, cost time.Duration) Case {
	return Case{Name: name, Doc: doc, Cost: cost, Build: func() (Program, error) { return kindChain(n), nil }}
}

// growing adds the row that a case stands in.
func growing(c Case, parameter string, from, to int, build func(n int) Program) Case {
	c.Grow = &Growth{Parameter: parameter, From: from, To: to, Build: func(n int) (Program, error) { return build(n), nil }}
	return c
}

// Protocol numbers of IPv6 extension headers (include/uapi/linux/in.h, in6.h).
const (
	headerHopByHop = 0
	headerFragment = 44
	headerAuth     = 51
)

// kindChain walks n headers. R6 is the packet, R7 its end, R8 the offset of the
// header, R9 its kind.
func kindChain(n int) Program {
	ins := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R7, asm.R1, skbDataEnd, asm.Word),
		asm.LoadMem(asm.R9, asm.R1, skbProtocol, asm.Word),
		asm.Mov.Imm(asm.R8, 40),
	}
	for i := range n {
		at := func(label string) string { return fmt.Sprintf("%s%d", label, i) }
		ins = append(ins,
			asm.Mov.Reg(asm.R1, asm.R6), asm.Add.Reg(asm.R1, asm.R8),
			asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, 2), asm.JGT.Reg(asm.R2, asm.R7, "end"),
			asm.LoadMem(asm.R3, asm.R1, 0, asm.Byte), asm.LoadMem(asm.R4, asm.R1, 1, asm.Byte),
			asm.JEq.Imm(asm.R9, headerFragment, at("fragment")),
			asm.JEq.Imm(asm.R9, headerAuth, at("auth")),
			asm.JNE.Imm(asm.R9, headerHopByHop, "end"),
			asm.Add.Imm(asm.R4, 1), asm.LSh.Imm(asm.R4, 3), asm.Ja.Label(at("next")),
			asm.Mov.Imm(asm.R4, 8).WithSymbol(at("fragment")), asm.Ja.Label(at("next")),
			asm.Add.Imm(asm.R4, 2).WithSymbol(at("auth")), asm.LSh.Imm(asm.R4, 2),
			asm.Add.Reg(asm.R8, asm.R4).WithSymbol(at("next")),
			asm.Mov.Reg(asm.R9, asm.R3),
		)
	}
	ins = append(ins,
		asm.Mov.Reg(asm.R1, asm.R6), asm.Add.Reg(asm.R1, asm.R8), asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, 20), asm.JGT.Reg(asm.R2, asm.R7, "end"),
		asm.LoadMem(asm.R0, asm.R1, 2, asm.Half))
	ins = append(ins, tail(60)...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
	return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}}
}

// skbProtocol is the offset of an unknown number in struct __sk_buff
// (include/uapi/linux/bpf.h).
const skbProtocol = 16

// optionLoop walks TCP options. R6 is where in the packet it is, R7 the end, R8 the
// round.
func optionLoop() (Program, error) {
	return Program{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R7, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Imm(asm.R8, 0),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("round"), asm.Add.Imm(asm.R1, 1), asm.JGT.Reg(asm.R1, asm.R7, "end"),
		asm.LoadMem(asm.R3, asm.R6, 0, asm.Byte),
		asm.JEq.Imm(asm.R3, 0, "end"),
		asm.JEq.Imm(asm.R3, 1, "one"),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Add.Imm(asm.R1, 2), asm.JGT.Reg(asm.R1, asm.R7, "end"),
		asm.LoadMem(asm.R4, asm.R6, 1, asm.Byte),
		asm.JLT.Imm(asm.R4, 2, "end"),
		asm.JEq.Imm(asm.R3, 5, "sack"),
		asm.Add.Reg(asm.R6, asm.R4), asm.Ja.Label("next"),
		asm.And.Imm(asm.R4, 0x3c).WithSymbol("sack"), asm.Add.Imm(asm.R4, 2), asm.Add.Reg(asm.R6, asm.R4), asm.Ja.Label("next"),
		asm.Add.Imm(asm.R6, 1).WithSymbol("one"),
		asm.Add.Imm(asm.R8, 1).WithSymbol("next"),
		asm.JLT.Imm(asm.R8, 8, "round"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return(),
	}}}, nil
}
