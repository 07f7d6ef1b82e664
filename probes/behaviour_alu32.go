package probes

import "time"

var _ = behave(Behaviour{
	Name: "alu32",
	Doc: `Arithmetic and logic on 32 bits.
The same as on 64 bits, in the lower half of a register; the upper half must be zero afterwards, which compilers and
the verifier both lean on. A stale upper half turns a bounded offset into one that points anywhere.`,
	Rests: "instruction-set.rst, arithmetic instructions, class ALU: the upper 32 bits of the destination are zeroed",
	Cases: []BehaviourCase{
		{Name: "register", Doc: "each operation on 12 pairs of registers", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) { return spread(aluRegister(half, aluOps), 12).trial(numberPairs(1)) }},
		{Name: "constant", Doc: "each operation with 15 constants, on changing registers", Cost: 3 * time.Millisecond,
			Build: func() (Trial, error) {
				return spread(aluConstant(half, aluOps, constants), 1).trial(numberPairs(1))
			}},
		{Name: "multiply", Doc: "multiplication on all pairs of registers", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(aluRegister(half, aluOps[2:3]), 100).trial(numberPairs(1)) }},
	},
})
