package probes

import (
	"math"
	"slices"
	"time"

	"github.com/cilium/ebpf/asm"
)

// A signed division of the smallest number by -1 has no answer that fits. It is never
// run: kernels from 6.6 to 6.11 (mended by 7dd34d7b7dcf) hand it to the processor as
// it is, and x86 answers with a fault in the kernel.
var _ = behave(Behaviour{
	Name: "division_modulo",
	Doc: `Division and remainder, with and without a sign.
On all pairs of registers, for x86 divides in two registers of its own that the JIT has to free and put back. By zero
the quotient is 0 and the remainder is the dividend.`,
	Rests: "instruction-set.rst: division by zero gives 0, modulo by zero leaves the destination (of 32 bits: zero-extended); signed ones 6.6 (ec0e2da95f72)",
	Cases: []BehaviourCase{
		{Name: "register64", Doc: "unsigned, by registers, on all pairs of registers", Cost: 4 * time.Millisecond, Build: func() (Trial, error) { return divisions(wide, divOps).trial(divisionPairs()) }},
		{Name: "register32", Doc: "unsigned, by registers, on all pairs of registers", Cost: 4 * time.Millisecond, Build: func() (Trial, error) { return divisions(half, divOps).trial(divisionPairs()) }},
		{Name: "constant", Doc: "unsigned, by constants", Cost: 3 * time.Millisecond, Build: func() (Trial, error) {
			return spread(slices.Concat(aluConstant(wide, divOps, divisors), aluConstant(half, divOps, divisors)), 4).trial(numberPairs(0))
		}},
		{Name: "signed64", Doc: "signed, by registers, on all pairs of registers", Cost: 4 * time.Millisecond, Build: func() (Trial, error) { return divisions(wide, signedOps).trial(divisionPairs()) }},
		{Name: "signed32", Doc: "signed, by registers, on all pairs of registers", Cost: 4 * time.Millisecond, Build: func() (Trial, error) { return divisions(half, signedOps).trial(divisionPairs()) }},
		{Name: "signed_constant", Doc: "signed, by constants", Cost: 3 * time.Millisecond, Build: func() (Trial, error) {
			by := slices.DeleteFunc(slices.Clone(divisors), func(n int32) bool { return n == -1 })
			return spread(slices.Concat(aluConstant(wide, signedOps, by), aluConstant(half, signedOps, by)), 4).trial(numberPairs(0))
		}},
	},
})

// divisors are constants to divide by; the verifier refuses zero.
var divisors = []int32{1, 2, 3, 7, 10, 1 << 16, 1<<31 - 1, -1, -2, -7, -1 << 31}

var divOps = []aluOp{
	{"div", asm.Div, divide[uint64], divide[uint32]},
	{"mod", asm.Mod, modulo[uint64], modulo[uint32]},
}

var signedOps = []aluOp{
	{"sdiv", asm.SDiv, func(a, b uint64) uint64 { return uint64(divide(int64(a), int64(b))) },
		func(a, b uint32) uint32 { return uint32(divide(int32(a), int32(b))) }},
	{"smod", asm.SMod, func(a, b uint64) uint64 { return uint64(modulo(int64(a), int64(b))) },
		func(a, b uint32) uint32 { return uint32(modulo(int32(a), int32(b))) }},
}

// divide truncates towards zero, as both Go and the instruction set do.
func divide[T int32 | int64 | uint32 | uint64](a, b T) T {
	if b == 0 {
		return 0
	}
	return a / b
}

// modulo has the sign of the dividend.
func modulo[T int32 | int64 | uint32 | uint64](a, b T) T {
	if b == 0 {
		return a
	}
	return a % b
}

// divisions applies the operations to all pairs of registers.
func divisions(w width, ops []aluOp) *sheet {
	s := new(sheet)
	for _, o := range ops {
		s.everyPair(formula{w.name(o.name), func(dst, src asm.Register) asm.Instructions {
			return asm.Instructions{w.reg(o.op, dst, src)}
		}, o.want(w)})
	}
	return s
}

// divisionPairs are dividends and divisors, without the signed one that has no answer.
func divisionPairs() [][2]uint64 {
	var pairs [][2]uint64
	for _, a := range []uint64{0, 1, 100, math.MaxUint64, 1 << 63, 0x80000000, 0xfedcba9876543210} {
		for _, b := range []uint64{0, 1, 3, math.MaxUint64, 1 << 32, 0xfffffffffffffff9} {
			pairs = append(pairs, [2]uint64{a, b})
		}
	}
	return slices.DeleteFunc(pairs, func(p [2]uint64) bool { return overflows(p[0], p[1]) })
}

func overflows(a, b uint64) bool {
	return int64(a) == math.MinInt64 && int64(b) == -1 || int32(a) == math.MinInt32 && int32(b) == -1
}
