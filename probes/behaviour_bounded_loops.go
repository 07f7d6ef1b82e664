package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = behave(Behaviour{
	Name: "bounded_loops",
	Doc: `Loops.
Loops whose rounds the packet decides, one in another, one so long that the jump back is a far one, and one that a
helper makes with a function called back: what they add up to.`,
	Rests: "bounded loops 5.3 (2589726d12a1); bpf_loop() 5.17 (e6f2dd0f8067)",
	Cases: []BehaviourCase{
		{Name: "counted", Doc: "up to 31 rounds, as many as the packet says", Cost: time.Millisecond, Build: func() (Trial, error) { return countedLoop(0) }},
		{Name: "far_back", Doc: "the same with 100 instructions in a round", Cost: 2 * time.Millisecond, Build: func() (Trial, error) { return countedLoop(100) }},
		{Name: "nested", Doc: "a loop in a loop", Cost: time.Millisecond, Build: nestedLoop},
		{Name: "helper", Doc: "bpf_loop() with a context on the stack", Cost: time.Millisecond, Build: loopHelper},
	},
})

// rounds are how often a loop goes round: none, once, and up to the bound.
func rounds() [][2]uint64 {
	return [][2]uint64{{0, 5}, {1, 1 << 63}, {2, 7}, {7, 0xfedcba9876543210}, {31, 1<<64 - 1}, {32, 3}, {1<<64 - 1, 9}}
}

const maxRounds = 31

// countedLoop multiplies b by 3 and adds the round, a & 31 times. Between these it adds 1
// so often as padding says.
func countedLoop(padding int) (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.And.Imm(asm.R6, maxRounds), asm.Mov.Imm(asm.R9, 0),
		asm.JGE.Reg(asm.R9, asm.R6, "done").WithSymbol("round"),
		asm.Mul.Imm(asm.R7, 3), asm.Add.Reg(asm.R7, asm.R9))
	for range padding {
		s.add(asm.Add.Imm(asm.R7, 1))
	}
	s.add(asm.Add.Imm(asm.R9, 1), asm.JLE.Imm(asm.R9, maxRounds, "round"), asm.Mov.Reg(asm.R0, asm.R7).WithSymbol("done"))
	s.result("sum of a loop", asm.R0, asm.R1, func(a, b uint64) uint64 {
		for i := range a & maxRounds {
			b = b*3 + i + uint64(padding)
		}
		return b
	})
	return s.trial(rounds())
}

func nestedLoop() (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.And.Imm(asm.R6, 7), asm.Mov.Imm(asm.R9, 0),
		asm.Mov.Imm(asm.R8, 0).WithSymbol("outer"),
		asm.Mul.Imm(asm.R7, 5).WithSymbol("inner"), asm.Xor.Reg(asm.R7, asm.R8), asm.Add.Reg(asm.R7, asm.R9),
		asm.Add.Imm(asm.R8, 1), asm.JLE.Reg(asm.R8, asm.R6, "inner"),
		asm.Add.Imm(asm.R9, 1), asm.JLT.Imm(asm.R9, 4, "outer"), asm.Mov.Reg(asm.R0, asm.R7))
	s.result("sum of a loop in a loop", asm.R0, asm.R1, func(a, b uint64) uint64 {
		for i := range uint64(4) {
			for j := range a&7 + 1 {
				b = b*5 ^ j + i
			}
		}
		return b
	})
	return s.trial(rounds())
}

// loopHelper lets the kernel go round: the function adds the round to b, three times
// that, on the caller's stack, and stops at round 20.
func loopHelper() (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.StoreMem(asm.R10, -64, asm.R7, asm.DWord), asm.And.Imm(asm.R6, maxRounds), asm.Mov.Reg(asm.R1, asm.R6),
		functionPointer(asm.R2, "each"), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -64), asm.Mov.Imm(asm.R4, 0),
		asm.FnLoop.Call(), asm.LoadMem(asm.R6, asm.R10, -64, asm.DWord))
	s.result("rounds made", asm.R0, asm.R1, func(a, _ uint64) uint64 { return min(a&maxRounds, 21) })
	s.result("sum of the rounds", asm.R6, asm.R1, func(a, b uint64) uint64 {
		for i := range min(a&maxRounds, 21) {
			b += 3 * i
		}
		return b
	})
	s.end = staticFunction("each", []btf.Type{typeU64, typePtr}, asm.Instructions{
		asm.LoadMem(asm.R3, asm.R2, 0, asm.DWord), asm.Mov.Reg(asm.R4, asm.R1), asm.Mul.Imm(asm.R4, 3), asm.Add.Reg(asm.R3, asm.R4),
		asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord), asm.Mov.Imm(asm.R0, 0), asm.JLT.Imm(asm.R1, 20, "go_on"), asm.Mov.Imm(asm.R0, 1),
		asm.Return().WithSymbol("go_on")})
	t, err := s.trial(rounds())
	t.Spec.Instructions = mainFunction(t.Spec.Instructions)
	return t, err
}
