package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "subprograms",
	Doc: `Calls between functions.
Five arguments and a result, registers that a call has to leave alone, frames of their own down to the eighth, and a
pointer to the caller's stack. A wrong result corrupts every program that compilers split into functions.`,
	Rests: "instruction-set.rst, program-local functions; R6 to R9 are kept over calls (Documentation/bpf/standardization/abi.rst); 8 frames (MAX_CALL_FRAMES)",
	Cases: []BehaviourCase{
		{Name: "arguments", Doc: "five arguments, a result, and registers that are kept", Cost: time.Millisecond, Build: callWithArguments},
		{Name: "nested", Doc: "eight frames, each with a number on its stack", Cost: time.Millisecond, Build: nestedCalls},
		{Name: "callers_stack", Doc: "a function writes to its caller's stack", Cost: time.Millisecond, Build: callersStack},
	},
})

// operands loads a into R6 and b into R7.
func operands() asm.Instructions {
	return asm.Instructions{packet(asm.R8), asm.LoadMem(asm.R6, asm.R8, sheetA, asm.DWord), asm.LoadMem(asm.R7, asm.R8, sheetB, asm.DWord)}
}

func callWithArguments() (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.Mov.Reg(asm.R8, asm.R6), asm.Sub.Reg(asm.R8, asm.R7), asm.Mov.Reg(asm.R9, asm.R7), asm.Xor.Imm(asm.R9, -1),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Reg(asm.R3, asm.R6), asm.Add.Reg(asm.R3, asm.R7),
		asm.Mov.Reg(asm.R4, asm.R6), asm.Xor.Reg(asm.R4, asm.R7),
		asm.Mov.Reg(asm.R5, asm.R8),
		asm.Call.Label("mix"))
	s.result("result of a call", asm.R0, asm.R1, func(a, b uint64) uint64 { return a + 3*b + 5*(a+b) + 7*(a^b) + 11*(a-b) })
	s.result("R6 after a call", asm.R6, asm.R1, func(a, _ uint64) uint64 { return a })
	s.result("R7 after a call", asm.R7, asm.R1, func(_, b uint64) uint64 { return b })
	s.result("R8 after a call", asm.R8, asm.R1, func(a, b uint64) uint64 { return a - b })
	s.result("R9 after a call", asm.R9, asm.R1, func(_, b uint64) uint64 { return ^b })
	mix := asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1)}
	for i, r := range []asm.Register{asm.R2, asm.R3, asm.R4, asm.R5} {
		own := asm.R6 + asm.Register(i) // the function uses the registers that it has to put back
		mix = append(mix, asm.Mov.Reg(own, r), asm.Mul.Imm(own, []int32{3, 5, 7, 11}[i]), asm.Add.Reg(asm.R0, own))
	}
	mix[0] = mix[0].WithSymbol("mix")
	s.end = append(mix, asm.Return())
	return s.trial(numberPairs(1))
}

// nestedCalls goes down to the eighth frame. Each function keeps its argument on its
// stack and in R6, calls the next with twice that and one, and adds up.
func nestedCalls() (Trial, error) {
	const frames = 8
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("frame1"))
	s.result("sum over eight frames", asm.R0, asm.R1, func(a, _ uint64) uint64 {
		sum := uint64(0)
		for range frames - 1 {
			sum, a = sum+2*a, 2*a+1
		}
		return sum
	})
	for i := 1; i < frames; i++ {
		f := asm.Instructions{
			asm.StoreMem(asm.R10, int16(-8*i), asm.R1, asm.DWord).WithSymbol(fmt.Sprintf("frame%d", i)),
			asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R0, 0),
		}
		if i < frames-1 {
			f = append(f, asm.LSh.Imm(asm.R1, 1), asm.Add.Imm(asm.R1, 1), asm.Call.Label(fmt.Sprintf("frame%d", i+1)))
		}
		s.end = append(s.end, append(f, asm.LoadMem(asm.R1, asm.R10, int16(-8*i), asm.DWord),
			asm.Add.Reg(asm.R0, asm.R1), asm.Add.Reg(asm.R0, asm.R6), asm.Return())...)
	}
	return s.trial(numberPairs(0))
}

func callersStack() (Trial, error) {
	s := new(sheet)
	s.add(operands()...)
	s.add(asm.StoreMem(asm.R10, -64, asm.R6, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -64), asm.Mov.Reg(asm.R2, asm.R7), asm.Call.Label("swap"),
		asm.LoadMem(asm.R6, asm.R10, -64, asm.DWord))
	s.result("what was there", asm.R0, asm.R1, func(a, _ uint64) uint64 { return a })
	s.result("what is there", asm.R6, asm.R1, func(_, b uint64) uint64 { return b })
	s.end = asm.Instructions{
		asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord).WithSymbol("swap"),
		asm.StoreMem(asm.R10, -64, asm.R0, asm.DWord), // the same place in its own frame
		asm.StoreMem(asm.R1, 0, asm.R2, asm.DWord),
		asm.LoadMem(asm.R0, asm.R10, -64, asm.DWord), asm.Return(),
	}
	return s.trial(numberPairs(1))
}
