package probes

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Functions that are called back or that make tail calls must have type
// information. These are the types that the probes' own functions use.
var (
	typeInt = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	typeU64 = &btf.Int{Name: "unsigned long", Size: 8}
	typePtr = &btf.Pointer{Target: (*btf.Void)(nil)}
	typeCtx = &btf.Pointer{Target: &btf.Struct{Name: "__sk_buff", Size: 192}}
)

// described gives a function its type. The first of its insns becomes its symbol.
func described(name string, linkage btf.FuncLinkage, params []btf.Type, ins asm.Instructions) asm.Instructions {
	proto := &btf.FuncProto{Return: typeInt}
	for i, t := range params {
		proto.Params = append(proto.Params, btf.FuncParam{Name: string(rune('a' + i)), Type: t})
	}
	out := append(asm.Instructions{}, ins...)
	out[0] = btf.WithFuncMetadata(out[0].WithSymbol(name), &btf.Func{Name: name, Type: proto, Linkage: linkage})
	return out
}

// mainFunction describes the program itself.
func mainFunction(ins asm.Instructions) asm.Instructions {
	return described("probe", btf.GlobalFunc, []btf.Type{typeCtx}, ins)
}

// staticFunction describes a function that is verified anew for each call.
func staticFunction(name string, params []btf.Type, ins asm.Instructions) asm.Instructions {
	return described(name, btf.StaticFunc, params, ins)
}

// functionPointer is the address of a function, for helpers that call back.
func functionPointer(dst asm.Register, name string) asm.Instruction {
	return asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: dst, Src: asm.PseudoFunc, Constant: -1}.WithReference(name)
}

// kernelFunction calls one of the kernel's functions by name.
func kernelFunction(name string) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: -1}.WithReference(name)
}

// member is a field of a structure at a place in bytes.
func member(name string, at uint32, t btf.Type) btf.Member {
	return btf.Member{Name: name, Offset: btf.Bits(at * 8), Type: t}
}

// structOf is a structure, as values of maps are described.
func structOf(name string, size uint32, members ...btf.Member) *btf.Struct {
	return &btf.Struct{Name: name, Size: size, Members: members}
}
