package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "alu64",
	Doc: `Arithmetic and logic on 64 bits.
Additions, multiplications, masks and moves of 64-bit numbers, with registers and with constants of every length that
machines encode differently. A wrong result breaks any program there is: offsets, lengths, checksums, counters.`,
	Rests: "instruction-set.rst, arithmetic instructions, class ALU64",
	Cases: []BehaviourCase{
		{Name: "register", Doc: "each operation on 12 pairs of registers", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(aluRegister(wide, aluOps), 12).trial(numberPairs(1)) }},
		{Name: "constant", Doc: "each operation with 15 constants, on changing registers", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) {
				return spread(aluConstant(wide, aluOps, constants), 1).trial(numberPairs(1))
			}},
		{Name: "multiply", Doc: "multiplication on all pairs of registers", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(aluRegister(wide, aluOps[2:3]), 100).trial(numberPairs(1)) }},
	},
})

// width is 64 or 32 bits: which class of instructions.
type width bool

const (
	wide width = true
	half width = false
)

// reg and imm encode an operation of that width.
func (w width) reg(op asm.ALUOp, dst, src asm.Register) asm.Instruction {
	if w == wide {
		return op.Reg(dst, src)
	}
	return op.Reg32(dst, src)
}

func (w width) imm(op asm.ALUOp, dst asm.Register, n int32) asm.Instruction {
	if w == wide {
		return op.Imm(dst, n)
	}
	return op.Imm32(dst, n)
}

// name is an operation's with the width behind it.
func (w width) name(op string) string {
	if w == wide {
		return op + "64"
	}
	return op + "32"
}

// aluOp is one operation: what it gives on 64 bits, and on 32, where the upper half of
// the result is zero.
type aluOp struct {
	name string
	op   asm.ALUOp
	on64 binary64
	on32 func(a, b uint32) uint32
}

func (o *aluOp) want(w width) binary64 {
	if w == wide {
		return o.on64
	}
	return func(a, b uint64) uint64 { return uint64(o.on32(uint32(a), uint32(b))) }
}

var aluOps = []aluOp{
	{"add", asm.Add, func(a, b uint64) uint64 { return a + b }, func(a, b uint32) uint32 { return a + b }},
	{"sub", asm.Sub, func(a, b uint64) uint64 { return a - b }, func(a, b uint32) uint32 { return a - b }},
	{"mul", asm.Mul, func(a, b uint64) uint64 { return a * b }, func(a, b uint32) uint32 { return a * b }},
	{"or", asm.Or, func(a, b uint64) uint64 { return a | b }, func(a, b uint32) uint32 { return a | b }},
	{"and", asm.And, func(a, b uint64) uint64 { return a & b }, func(a, b uint32) uint32 { return a & b }},
	{"xor", asm.Xor, func(a, b uint64) uint64 { return a ^ b }, func(a, b uint32) uint32 { return a ^ b }},
	{"mov", asm.Mov, func(_, b uint64) uint64 { return b }, func(_, b uint32) uint32 { return b }},
}

// aluRegister makes formulas of operations on two registers, and of the negation,
// which takes one.
func aluRegister(w width, ops []aluOp) []formula {
	var out []formula
	for _, o := range ops {
		out = append(out, formula{w.name(o.name), func(dst, src asm.Register) asm.Instructions {
			return asm.Instructions{w.reg(o.op, dst, src)}
		}, o.want(w)})
	}
	if len(ops) == 1 {
		return out
	}
	neg := aluOp{on64: func(a, _ uint64) uint64 { return -a }, on32: func(a, _ uint32) uint32 { return -a }}
	return append(out, formula{w.name("neg"), func(dst, _ asm.Register) asm.Instructions {
		return asm.Instructions{w.imm(asm.Neg, dst, 0)}
	}, neg.want(w)})
}

// constants stand on both sides of every length that machines encode: one byte with a
// sign (x86), 12 bits (RISC-V, arm64), 16 bits, 32.
var constants = []int32{0, 1, -1, 127, 128, -128, -129, 2047, -2049, 4096, 65535, -65536, 0x12345678, 1<<31 - 1, -1 << 31}

// aluConstant makes formulas of operations with constants, which are extended by their
// sign where the operation is wide.
func aluConstant(w width, ops []aluOp, with []int32) []formula {
	var out []formula
	for _, o := range ops {
		for _, n := range with {
			want := o.want(w)
			out = append(out, formula{w.name(o.name) + " " + decimal(n), func(dst, _ asm.Register) asm.Instructions {
				return asm.Instructions{w.imm(o.op, dst, n)}
			}, func(a, _ uint64) uint64 { return want(a, uint64(int64(n))) }})
		}
	}
	return out
}

// spread applies each formula to so many pairs of registers, other ones each time.
func spread(formulas []formula, pairs int) *sheet {
	s := new(sheet)
	for i, f := range formulas {
		for j := range pairs {
			dst, src := registerPair(i*7 + j*5 + j/20)
			if pairs == 100 {
				dst, src = registerPair(j)
			}
			s.apply(f, dst, src)
		}
	}
	return s
}
