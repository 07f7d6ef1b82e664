package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "atomics",
	Doc: `Atomic operations.
Addition, logic, exchange and comparison with exchange, on both widths, on a map's value and on the stack: what they
leave in memory and what they give back. Counters, locks and lock-free queues are made of them.`,
	Rests: "instruction-set.rst, atomic operations; all but the plain addition 5.12 (91c960b00566), load-acquire and store-release 6.15 (880442305a39)",
	Cases: []BehaviourCase{
		{Name: "add", Doc: "plain addition", Cost: 2 * time.Millisecond, Build: func() (Trial, error) { return atomics(plainAtomics[:1]) }},
		{Name: "logic", Doc: "plain or, and, xor", Cost: 3 * time.Millisecond, Build: func() (Trial, error) { return atomics(plainAtomics[1:]) }},
		{Name: "fetch", Doc: "the same with the old value given back, and exchange", Cost: 4 * time.Millisecond, Build: func() (Trial, error) { return atomics(fetchAtomics) }},
		{Name: "compare_exchange", Doc: "comparison with exchange", Cost: 2 * time.Millisecond, Build: compareExchange},
		{Name: "acquire_release", Doc: "load-acquire and store-release", Cost: 2 * time.Millisecond, Build: acquireRelease},
	},
})

type atomicOp struct {
	name  string
	op    asm.AtomicOp
	fetch bool
	want  binary64 // what memory holds afterwards; its lower part where the operation is narrow
}

var plainAtomics = []atomicOp{
	{"add", asm.AddAtomic, false, aluOps[0].on64},
	{"or", asm.OrAtomic, false, aluOps[3].on64},
	{"and", asm.AndAtomic, false, aluOps[4].on64},
	{"xor", asm.XorAtomic, false, aluOps[5].on64},
}

var fetchAtomics = []atomicOp{
	{"fetch add", asm.FetchAdd, true, aluOps[0].on64},
	{"fetch or", asm.FetchOr, true, aluOps[3].on64},
	{"fetch and", asm.FetchAnd, true, aluOps[4].on64},
	{"fetch xor", asm.FetchXor, true, aluOps[5].on64},
	{"exchange", asm.Xchg, true, aluOps[6].on64},
}

// atomicSizes are the widths of atomic operations.
var atomicSizes = []asm.Size{asm.Word, asm.DWord}

// memoryPlace is where an operation is tried. Its first instruction makes a pointer.
type memoryPlace struct {
	name    string
	pointer func(asm.Register) asm.Instructions
	off     int16
}

var memoryPlaces = []memoryPlace{
	{"in a map", func(r asm.Register) asm.Instructions {
		return asm.Instructions{asm.LoadMapValue(r, 0, 0).WithReference("value")}
	}, 8},
	{"on the stack", func(r asm.Register) asm.Instructions { return asm.Instructions{asm.Mov.Reg(r, asm.R10)} }, -64},
}

func valueMap() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{"value": {Type: ebpf.Array, KeySize: 4, ValueSize: 64, MaxEntries: 1}}
}

// third is a register that is neither of those; which one varies with them.
func third(dst, src asm.Register) asm.Register {
	r := (dst*3 + src + 5) % 10
	for r == dst || r == src {
		r = (r + 1) % 10
	}
	return r
}

// unlike skips pairs of one register with itself, which an operation on memory has no
// use for, and with R0 where it is taken.
func (s *sheet) unlike(f formula, pairs int, free asm.Register) {
	for i := 0; pairs > 0; i++ {
		dst, src := registerPair(i)
		if dst != src && dst >= free && src >= free {
			s.apply(f, dst, src)
			pairs--
		}
	}
}

// atomics applies operations to a in memory with b in a register.
func atomics(ops []atomicOp) (Trial, error) {
	s := &sheet{maps: valueMap()}
	for _, on := range memoryPlaces {
		for _, size := range atomicSizes {
			for _, o := range ops {
				s.unlike(atomicFormula(o, on, size, false), 6, asm.R0)
				if o.fetch {
					s.unlike(atomicFormula(o, on, size, true), 6, asm.R0)
				}
			}
		}
	}
	return s.trial(numberPairs(1))
}

// atomicFormula leaves in dst what memory holds afterwards, or what came back in src.
func atomicFormula(o atomicOp, on memoryPlace, size asm.Size, back bool) formula {
	p := part{size: size}
	f := formula{p.name(o.name+" "+on.name+" ") + ": memory", func(dst, src asm.Register) asm.Instructions {
		at := third(dst, src)
		ins := append(on.pointer(at), asm.StoreMem(at, on.off, dst, asm.DWord), o.op.Mem(at, src, size, on.off))
		if back {
			ins = append(ins, asm.Mov.Reg(dst, src))
		} else {
			ins = append(ins, asm.LoadMem(dst, at, on.off, asm.DWord))
		}
		return append(ins, packet(other(dst, src)))
	}, func(a, b uint64) uint64 { return p.in(a, o.want(p.of(a), b)) }}
	if back {
		f.name = p.name(o.name+" "+on.name+" ") + ": given back"
		f.want = func(a, _ uint64) uint64 { return p.of(a) }
	}
	return f
}

// compareExchange has a in memory, b in R0 and the complement of b to exchange it with.
func compareExchange() (Trial, error) {
	s := &sheet{maps: valueMap()}
	for _, on := range memoryPlaces {
		for _, size := range atomicSizes {
			p := part{size: size}
			run := func(dst, src, last asm.Register) asm.Instructions {
				at := third(dst, src)
				for at == asm.R0 || at == dst || at == src {
					at = at%9 + 1
				}
				ins := append(on.pointer(at), asm.StoreMem(at, on.off, dst, asm.DWord), asm.Mov.Reg(asm.R0, src), asm.Xor.Imm(src, -1),
					asm.CmpXchg.Mem(at, src, size, on.off), asm.LoadMem(dst, at, on.off, asm.DWord))
				if last == asm.R0 {
					ins = append(ins, asm.Mov.Reg(dst, asm.R0))
				}
				return append(ins, packet(other(dst, src)))
			}
			s.unlike(formula{p.name("compare and exchange " + on.name + " "), func(dst, src asm.Register) asm.Instructions { return run(dst, src, dst) },
				func(a, b uint64) uint64 {
					if p.of(a) == kept(b, size) {
						return p.in(a, ^b)
					}
					return a
				}}, 10, asm.R1)
			s.unlike(formula{p.name("compare and exchange "+on.name+" ") + ": given back", func(dst, src asm.Register) asm.Instructions { return run(dst, src, asm.R0) },
				func(a, _ uint64) uint64 { return p.of(a) }}, 10, asm.R1)
		}
	}
	return s.trial(numberPairs(2))
}

func acquireRelease() (Trial, error) {
	s := &sheet{maps: valueMap()}
	for _, on := range memoryPlaces {
		for _, size := range []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord} {
			p := part{size: size}
			s.unlike(formula{p.name("load-acquire " + on.name + " "), func(dst, src asm.Register) asm.Instructions {
				at := third(dst, src)
				return append(on.pointer(at), asm.StoreMem(at, on.off, src, asm.DWord), asm.LoadAcquire(dst, at, size, on.off), packet(other(dst, src)))
			}, func(_, b uint64) uint64 { return p.of(b) }}, 10, asm.R0)
			s.unlike(formula{p.name("store-release " + on.name + " "), func(dst, src asm.Register) asm.Instructions {
				at := third(dst, src)
				return append(on.pointer(at), asm.StoreMem(at, on.off, dst, asm.DWord), asm.StoreRelease(at, src, size, on.off),
					asm.LoadMem(dst, at, on.off, asm.DWord), packet(other(dst, src)))
			}, p.in}, 10, asm.R0)
		}
	}
	return s.trial(numberPairs(0))
}
