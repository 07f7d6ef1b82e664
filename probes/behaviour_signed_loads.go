package probes

import (
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "signed_loads",
	Doc: `Loads that extend a sign.
Loads of 8, 16 and 32 bits from a packet and from the stack, extended to 64 by their sign: what newer compilers make of
every small signed field.`,
	Rests: "instruction-set.rst, sign-extension load operations; 6.6 (1f9a1ea821ff)",
	Cases: []BehaviourCase{
		{Name: "packet", Doc: "from the packet", Cost: 2 * time.Millisecond, Build: func() (Trial, error) {
			return spread(signedLoads(func(dst, src asm.Register, p part) asm.Instructions {
				return asm.Instructions{asm.LoadMemSX(dst, other(dst, src), sheetA+p.at, p.size)}
			}), 10).trial(numberPairs(0))
		}},
		{Name: "stack", Doc: "from the stack", Cost: 2 * time.Millisecond, Build: func() (Trial, error) {
			return spread(signedLoads(func(dst, _ asm.Register, p part) asm.Instructions {
				return asm.Instructions{asm.StoreMem(asm.R10, -64, dst, asm.DWord), asm.LoadMemSX(dst, asm.R10, p.at-64, p.size)}
			}), 10).trial(numberPairs(0))
		}},
	},
})

func signedLoads(load func(dst, src asm.Register, p part) asm.Instructions) []formula {
	var out []formula
	for _, p := range parts() {
		if p.size == asm.DWord {
			continue
		}
		out = append(out, formula{p.name("signed load"), func(dst, src asm.Register) asm.Instructions { return load(dst, src, p) },
			func(a, _ uint64) uint64 { return signExtend(p.of(a), 8*p.size.Sizeof()) }})
	}
	return out
}
