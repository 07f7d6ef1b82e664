package probes

import (
	"math/bits"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "byte_swap",
	Doc: `Byte order.
Conversions to little and big endian and plain swaps of 16, 32 and 64 bits. Every program that reads an address, a port
or a length from a packet depends on them.`,
	Rests: "instruction-set.rst, byte swap instructions; plain swaps 6.6 (0845c3db7bf5)",
	Cases: []BehaviourCase{
		{Name: "to_endian", Doc: "to little and to big endian, on all registers", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return eachRegister(toEndian()).trial(numberPairs(0)) }},
		{Name: "swap", Doc: "plain swaps, on all registers", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return eachRegister(plainSwaps()).trial(numberPairs(0)) }},
	},
})

// eachRegister applies each formula to each register, with itself as the other one.
func eachRegister(formulas []formula) *sheet {
	s := new(sheet)
	for _, f := range formulas {
		for r := asm.R0; r <= asm.R9; r++ {
			s.apply(f, r, r)
		}
	}
	return s
}

// swapped turns the lower bytes about, and drops the rest.
func swapped(n uint64, size asm.Size) uint64 {
	return bits.ReverseBytes64(n) >> (64 - 8*size.Sizeof())
}

// kept drops all but the lower bytes.
func kept(n uint64, size asm.Size) uint64 {
	return n << (64 - 8*size.Sizeof()) >> (64 - 8*size.Sizeof())
}

var swapSizes = []asm.Size{asm.Half, asm.Word, asm.DWord}

func toEndian() []formula {
	little := number([]byte{1}) == 1
	var out []formula
	for _, size := range swapSizes {
		for _, e := range []asm.Endianness{asm.LE, asm.BE} {
			want := kept
			if (e == asm.LE) != little {
				want = swapped
			}
			name := "to " + e.String() + decimal(int32(8*size.Sizeof()))
			out = append(out, formula{name, func(dst, _ asm.Register) asm.Instructions {
				return asm.Instructions{asm.HostTo(e, dst, size)}
			}, func(a, _ uint64) uint64 { return want(a, size) }})
		}
	}
	return out
}

func plainSwaps() []formula {
	var out []formula
	for _, size := range swapSizes {
		out = append(out, formula{"bswap" + decimal(int32(8*size.Sizeof())), func(dst, _ asm.Register) asm.Instructions {
			return asm.Instructions{asm.BSwap(dst, size)}
		}, func(a, _ uint64) uint64 { return swapped(a, size) }})
	}
	return out
}
