package probes

import (
	"context"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"lastgood/loader"
)

// functionFeatures are those that need type information for their functions.
func functionFeatures() []feature {
	return []feature{
		{"isa/global_function", "instruction set: global functions, verified by themselves", func(*censor) told {
			return askFunctions(btf.GlobalFunc, asm.Mov.Imm(asm.R1, 1), asm.Call.Label("f"))
		}},
		{"isa/callback", "instruction set: callbacks from helpers", func(*censor) told {
			callback := asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("f")
			return askFunctions(btf.StaticFunc, asm.Mov.Imm(asm.R1, 1), callback, asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call())
		}},
	}
}

// askFunctions loads a program that does body and has a function f of the given
// linkage, `long f(unsigned int, void *)` in what the verifier sees of it.
func askFunctions(linkage btf.FuncLinkage, body ...asm.Instruction) told {
	number := &btf.Int{Name: "unsigned int", Size: 4}
	entry := &btf.Func{Name: objectName, Linkage: btf.GlobalFunc, Type: &btf.FuncProto{
		Return: number, Params: []btf.FuncParam{{Name: "ctx", Type: &btf.Pointer{Target: &btf.Struct{Name: "__sk_buff"}}}}}}
	f := &btf.Func{Name: "f", Linkage: linkage, Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{{Name: "n", Type: number}}}}

	insns := asm.Instructions{btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol(objectName), entry)}
	insns = append(insns, body...)
	insns = append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return(),
		btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("f"), f), asm.Return())
	m := loader.Measure(context.Background(), loader.Request{Spec: &ebpf.ProgramSpec{
		Name: objectName, Type: ebpf.SocketFilter, License: "GPL", Instructions: insns}})
	switch {
	case m.Verdict == loader.Accepted:
		return told{yes, "accepted"}
	case m.Verdict == loader.Rejected:
		return told{no, clipLine(m.Cause)}
	}
	return told{unclear, clipLine(m.Inconclusive)}
}
