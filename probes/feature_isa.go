package probes

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/loader"
)

// instructionSet is the instructions that came after the first kernels with BPF,
// by the level that compilers know them by, each in a socket filter that is
// otherwise as plain as can be. A JIT may lack one that the verifier knows.
var instructionSet = []struct {
	name, label string
	insns       asm.Instructions
}{
	{"v1_base", "base instructions", asm.Instructions{
		asm.Mov.Imm(asm.R0, 1), asm.JEq.Imm(asm.R0, 1, "out"), asm.Mul.Imm(asm.R0, 3), asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return()}},
	{"v2_jlt", "v2 jump if less", isaJump(asm.JLT.Imm)},
	{"v2_jle", "v2 jump if less or equal", isaJump(asm.JLE.Imm)},
	{"v2_jslt", "v2 jump if signed less", isaJump(asm.JSLT.Imm)},
	{"v2_jsle", "v2 jump if signed less or equal", isaJump(asm.JSLE.Imm)},
	{"v3_alu32", "v3 32 bit arithmetic", asm.Instructions{asm.Mov.Imm32(asm.R0, 7), asm.Add.Imm32(asm.R0, -7), asm.Return()}},
	{"v3_jmp32", "v3 32 bit jumps", isaJump(asm.JLT.Imm32)},
	{"v4_sdiv", "v4 signed division", isaArith(asm.SDiv.Imm(asm.R0, -3))},
	{"v4_smod", "v4 signed remainder", isaArith(asm.SMod.Imm(asm.R0, -3))},
	{"v4_bswap", "v4 byte swap", isaArith(asm.BSwap(asm.R0, asm.Word))},
	{"v4_movsx", "v4 sign-extending move", isaArith(asm.MovSX8.Reg(asm.R0, asm.R0))},
	{"v4_ldsx", "v4 sign-extending load", isaOnStack(asm.LoadMemSX(asm.R0, asm.R10, -8, asm.Word))},
	{"v4_gotol", "v4 long jump", asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.LongJump("out"), asm.Return().WithSymbol("out")}},
	{"atomic_add", "atomic add", isaOnStack(asm.AddAtomic.Mem(asm.R10, asm.R1, asm.DWord, -8))},
	{"atomic_fetch_add", "atomic fetch and add", isaOnStack(asm.FetchAdd.Mem(asm.R10, asm.R1, asm.DWord, -8))},
	{"atomic_and", "atomic and", isaOnStack(asm.AndAtomic.Mem(asm.R10, asm.R1, asm.DWord, -8))},
	{"atomic_xchg", "atomic exchange", isaOnStack(asm.Xchg.Mem(asm.R10, asm.R1, asm.DWord, -8))},
	{"atomic_cmpxchg", "atomic compare and exchange", isaOnStack(asm.CmpXchg.Mem(asm.R10, asm.R1, asm.DWord, -8))},
	{"load_acquire", "load-acquire", isaOnStack(asm.Instruction{OpCode: opAtomic, Dst: asm.R0, Src: asm.R10, Offset: -8, Constant: loadAcquire})},
	{"store_release", "store-release", isaOnStack(asm.Instruction{OpCode: opAtomic, Dst: asm.R10, Src: asm.R1, Offset: -8, Constant: storeRelease})},
	{"may_goto", "may_goto loops", asm.Instructions{
		asm.Mov.Imm(asm.R0, 0), {OpCode: opJCond, Offset: 1}, {OpCode: asm.Ja.Op(asm.ImmSource), Offset: -2}, asm.Return()}},
	{"bounded_loop", "bounded loops", asm.Instructions{
		asm.Mov.Imm(asm.R0, 10), asm.Sub.Imm(asm.R0, 1).WithSymbol("again"), asm.JNE.Imm(asm.R0, 0, "again"), asm.Return()}},
	{"function_call", "calls between functions of a program", asm.Instructions{
		asm.Call.Label("f"), asm.Return(), asm.Mov.Imm(asm.R0, 0).WithSymbol("f"), asm.Return()}},
	{"large_program", "programs of more than 4096 instructions", isaLong(5000)},
}

// Opcodes and immediates that are spelled out (include/uapi/linux/bpf.h).
const (
	opJCond      = asm.OpCode(0xe5) // BPF_JMP | BPF_JCOND, may_goto (6.9)
	opAtomic     = asm.OpCode(0xdb) // BPF_STX | BPF_ATOMIC | BPF_DW
	loadAcquire  = 0x100            // BPF_LOAD_ACQ (6.15)
	storeRelease = 0x110            // BPF_STORE_REL (6.15)
)

func isaJump(op func(asm.Register, int32, string) asm.Instruction) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), op(asm.R0, 1, "out"), asm.Mov.Imm(asm.R0, 0), asm.Return().WithSymbol("out")}
}

func isaArith(ins asm.Instruction) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 7), ins, asm.Return()}
}

// isaOnStack runs ins on a stack slot that holds 0, with 1 in R1.
func isaOnStack(ins asm.Instruction) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R0, 0), asm.Mov.Imm(asm.R1, 1), asm.StoreMem(asm.R10, -8, asm.R0, asm.DWord), ins, asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

func isaLong(n int) asm.Instructions {
	insns := make(asm.Instructions, n, n+1)
	for i := range insns {
		insns[i] = asm.Mov.Imm(asm.R0, 0)
	}
	return append(insns, asm.Return())
}

func isaFeatures() []feature {
	var out []feature
	for _, f := range instructionSet {
		out = append(out, feature{"isa/" + f.name, "instruction set: " + f.label, func(c *censor) told {
			// The verifier's log of a long program does not fit, and without it the errno
			// (E2BIG) says enough.
			return c.program(loader.TryProg{Type: ebpf.SocketFilter, Insns: mustEncode(f.insns...), Quiet: len(f.insns) > 100})
		}})
	}
	return append(out,
		feature{"isa/tail_call_in_function", "instruction set: tail calls in programs with functions", askTailCallInFunction},
		feature{"isa/addr_space_cast", "instruction set: arena address casts", askAddrSpaceCast})
}

// askTailCallInFunction tries a tail call beside a call between functions, which
// kernels before 5.10 (e411901c0b77) refuse to combine. Those that do combine them
// ask for the function's type information first, and saying so is a yes.
func askTailCallInFunction(c *censor) told {
	progs, errno := newMap(ebpf.ProgramArray, 4, 4, 1, 0, 0)
	if errno != 0 {
		return told{unclear, "create program array: " + errnoText(errno)}
	}
	defer unix.Close(progs)
	errno, log := c.trier().Prog(loader.TryProg{Type: ebpf.SocketFilter, Name: objectName, Insns: mustEncode(
		asm.Call.Label("f"), asm.Return(),
		asm.LoadMapPtr(asm.R2, progs).WithSymbol("f"), asm.Mov.Imm(asm.R3, 0), asm.FnTailCall.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return())})
	t := answerProgram(errno, log)
	if t.line == "tail_call is not allowed in subprogs without BTF" {
		t.answer = yes
	}
	return t
}

// arenaAddress is where user space would see the arena. The verifier must know it;
// nothing is mapped there.
const arenaAddress = 1 << 44

// askAddrSpaceCast casts an arena's address (6.9); the program must use the arena.
func askAddrSpaceCast(c *censor) told {
	arena, errno := newMap(ebpf.Arena, 0, 0, 1, unix.BPF_F_MMAPABLE, arenaAddress)
	if errno != 0 {
		return answerErrno(errno)
	}
	defer unix.Close(arena)
	load := mustEncode(asm.LoadMapPtr(asm.R2, arena), asm.Mov.Imm(asm.R1, 0))
	end := mustEncode(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return c.program(loader.TryProg{Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, Insns: slices.Concat(load, addrSpaceCast(), end)})
}

// addrSpaceCast is `r1 = addr_space_cast(r1, 0, 1)`: a move with offset
// BPF_ADDR_SPACE_CAST, which package asm does not encode. The immediate names the
// spaces, from 1, the arena's, to 0, the kernel's.
func addrSpaceCast() []byte {
	insn := mustEncode(asm.Mov.Reg(asm.R1, asm.R1))
	binary.NativeEndian.PutUint16(insn[2:], 1)
	binary.NativeEndian.PutUint32(insn[4:], 1)
	return insn
}
