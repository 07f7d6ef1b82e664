package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "jumps",
	Doc: `Conditional and far jumps.
Each comparison on both widths, with registers and with constants, and jumps over so many instructions that machines
encode them in more bytes. A jump that goes the wrong way turns a check into none.`,
	Rests: "instruction-set.rst, jump instructions; jumps of 32 bits 6.6 (4cd58e9af8b9)",
	Cases: []BehaviourCase{
		{Name: "register", Doc: "two registers are compared", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(jumpsOnRegisters(), 6).trial(numberPairs(1)) }},
		{Name: "constant", Doc: "a register is compared with constants", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(jumpsOnConstants(), 1).trial(numberPairs(0)) }},
		{Name: "distance", Doc: "jumps over 1 to 400 instructions", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(jumpsOver(jumpAlways), 1).trial(numberPairs(0)) }},
		{Name: "long_distance", Doc: "jumps of 32 bits over 1 to 400 instructions", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(jumpsOver(jumpLong), 1).trial(numberPairs(0)) }},
	},
})

type jumpOp struct {
	name string
	op   asm.JumpOp
	on64 func(a, b uint64) bool
	on32 func(a, b uint32) bool
}

var jumpOps = []jumpOp{
	{"jeq", asm.JEq, func(a, b uint64) bool { return a == b }, func(a, b uint32) bool { return a == b }},
	{"jne", asm.JNE, func(a, b uint64) bool { return a != b }, func(a, b uint32) bool { return a != b }},
	{"jgt", asm.JGT, func(a, b uint64) bool { return a > b }, func(a, b uint32) bool { return a > b }},
	{"jge", asm.JGE, func(a, b uint64) bool { return a >= b }, func(a, b uint32) bool { return a >= b }},
	{"jlt", asm.JLT, func(a, b uint64) bool { return a < b }, func(a, b uint32) bool { return a < b }},
	{"jle", asm.JLE, func(a, b uint64) bool { return a <= b }, func(a, b uint32) bool { return a <= b }},
	{"jsgt", asm.JSGT, func(a, b uint64) bool { return int64(a) > int64(b) }, func(a, b uint32) bool { return int32(a) > int32(b) }},
	{"jsge", asm.JSGE, func(a, b uint64) bool { return int64(a) >= int64(b) }, func(a, b uint32) bool { return int32(a) >= int32(b) }},
	{"jslt", asm.JSLT, func(a, b uint64) bool { return int64(a) < int64(b) }, func(a, b uint32) bool { return int32(a) < int32(b) }},
	{"jsle", asm.JSLE, func(a, b uint64) bool { return int64(a) <= int64(b) }, func(a, b uint32) bool { return int32(a) <= int32(b) }},
	{"jset", asm.JSet, func(a, b uint64) bool { return a&b != 0 }, func(a, b uint32) bool { return a&b != 0 }},
}

// holds is 1 where the jump is to be taken, else 0.
func (o *jumpOp) holds(w width, a, b uint64) uint64 {
	taken := w == wide && o.on64(a, b) || w == half && o.on32(uint32(a), uint32(b))
	if taken {
		return 1
	}
	return 0
}

// code is the jump's opcode.
func (o *jumpOp) code(w width, source asm.Source) asm.OpCode {
	class := asm.JumpClass
	if w == half {
		class = asm.Jump32Class
	}
	return asm.OpCode(class).SetJumpOp(o.op).SetSource(source)
}

// taken makes a 1 in dst of a jump that is taken, and a 0 of one that is not.
func taken(jump asm.Instruction, dst asm.Register) asm.Instructions {
	jump.Offset = 2
	return asm.Instructions{jump, asm.Mov.Imm(dst, 0), jumpAlways(1), asm.Mov.Imm(dst, 1)}
}

// jumpAlways jumps over n instructions.
func jumpAlways(n int) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja), Offset: int16(n)}
}

// jumpLong is jumpAlways with a distance of 32 bits.
func jumpLong(n int) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(asm.Ja), Constant: int64(n)}
}

func jumpsOnRegisters() []formula {
	var out []formula
	for _, w := range []width{wide, half} {
		for _, o := range jumpOps {
			out = append(out, formula{w.name(o.name), func(dst, src asm.Register) asm.Instructions {
				return taken(asm.Instruction{OpCode: o.code(w, asm.RegSource), Dst: dst, Src: src}, dst)
			}, func(a, b uint64) uint64 { return o.holds(w, a, b) }})
		}
	}
	return out
}

func jumpsOnConstants() []formula {
	var out []formula
	for _, w := range []width{wide, half} {
		for _, o := range jumpOps {
			for _, n := range constants {
				out = append(out, formula{w.name(o.name) + " " + decimal(n), func(dst, _ asm.Register) asm.Instructions {
					return taken(asm.Instruction{OpCode: o.code(w, asm.ImmSource), Dst: dst, Constant: int64(n)}, dst)
				}, func(a, _ uint64) uint64 { return o.holds(w, a, uint64(int64(n))) }})
			}
		}
	}
	return out
}

// distances are lengths of what is jumped over, in instructions. An addition is four
// bytes long on x86: 127 bytes lie between 31 and 32 of them.
var distances = []int{1, 2, 29, 30, 31, 32, 33, 34, 100, 400}

// jumpsOver jumps over so many additions of one where the sign is set, by a
// conditional jump, and over twice as many by one without condition.
func jumpsOver(ja func(int) asm.Instruction) []formula {
	var out []formula
	for _, n := range distances {
		out = append(out, formula{fmt.Sprintf("jump over %d", n), func(dst, _ asm.Register) asm.Instructions {
			ins := asm.Instructions{{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JSLT), Dst: dst, Offset: int16(n + 1)}}
			for range n {
				ins = append(ins, asm.Add.Imm(dst, 1))
			}
			ins = append(ins, ja(n))
			for range n {
				ins = append(ins, asm.Add.Imm(dst, 2))
			}
			return ins
		}, func(a, _ uint64) uint64 {
			if int64(a) < 0 {
				return a + 2*uint64(n)
			}
			return a + uint64(n)
		}})
	}
	return out
}
