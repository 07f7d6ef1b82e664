package probes

import (
	"encoding/binary"
	"time"

	"github.com/cilium/ebpf/asm"
)

var _ = behave(Behaviour{
	Name: "memory",
	Doc: `Loads, stores and the stack.
Stores of 8, 16, 32 and 64 bits, of registers and of constants, and loads of each size from each place of what was
stored, near the frame's top and at its bottom, where machines encode the offset in more bytes.`,
	Rests: "instruction-set.rst, regular load and store operations; 512 bytes of stack (MAX_BPF_STACK)",
	Cases: []BehaviourCase{
		{Name: "fill", Doc: "a register is stored, and loaded again whole and in parts", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(fills(), 4).trial(numberPairs(0)) }},
		{Name: "spill", Doc: "parts of what lies on the stack are overwritten with a register", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(spills(), 4).trial(numberPairs(1)) }},
		{Name: "constant", Doc: "parts of what lies on the stack are overwritten with a constant", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return spread(constantStores(), 2).trial(numberPairs(0)) }},
		{Name: "immediate", Doc: "constants of 64 bits, into all registers", Cost: 2 * time.Millisecond,
			Build: func() (Trial, error) { return eachRegister(immediates()).trial([][2]uint64{{0, 0}, {1<<64 - 1, 0}}) }},
	},
})

// part is some bytes of a number in memory.
type part struct {
	size asm.Size
	at   int16
}

// parts are all sizes at all places where they are aligned.
func parts() []part {
	var out []part
	for _, size := range []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord} {
		for at := 0; at < 8; at += size.Sizeof() {
			out = append(out, part{size, int16(at)})
		}
	}
	return out
}

func (p part) name(what string) string {
	return what + decimal(int32(8*p.size.Sizeof())) + " at byte " + decimal(int32(p.at))
}

// of is what a load of the part gives, of n as it lies in memory.
func (p part) of(n uint64) uint64 {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	switch from := b[p.at:]; p.size {
	case asm.Byte:
		return uint64(from[0])
	case asm.Half:
		return uint64(binary.NativeEndian.Uint16(from))
	case asm.Word:
		return uint64(binary.NativeEndian.Uint32(from))
	}
	return n
}

// in is n as it lies in memory with the part overwritten by a store of v.
func (p part) in(n, v uint64) uint64 {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	switch to := b[p.at:]; p.size {
	case asm.Byte:
		to[0] = byte(v)
	case asm.Half:
		binary.NativeEndian.PutUint16(to, uint16(v))
	case asm.Word:
		binary.NativeEndian.PutUint32(to, uint32(v))
	default:
		return v
	}
	return binary.NativeEndian.Uint64(b[:])
}

// stackPlaces are where the stack is tried: offsets that fit a byte and ones that do not.
var stackPlaces = []int16{-64, -512}

func fills() []formula {
	var out []formula
	for _, on := range stackPlaces {
		for _, p := range parts() {
			out = append(out, formula{p.name("load"), func(dst, src asm.Register) asm.Instructions {
				return asm.Instructions{asm.StoreMem(asm.R10, on, src, asm.DWord), asm.LoadMem(dst, asm.R10, on+p.at, p.size)}
			}, func(_, b uint64) uint64 { return p.of(b) }})
		}
	}
	return out
}

func spills() []formula {
	var out []formula
	for _, on := range stackPlaces {
		for _, p := range parts() {
			out = append(out, formula{p.name("store"), func(dst, src asm.Register) asm.Instructions {
				return asm.Instructions{asm.StoreMem(asm.R10, on, dst, asm.DWord), asm.StoreMem(asm.R10, on+p.at, src, p.size),
					asm.LoadMem(dst, asm.R10, on, asm.DWord)}
			}, p.in})
		}
	}
	return out
}

func constantStores() []formula {
	var out []formula
	for _, on := range stackPlaces {
		for _, p := range parts() {
			for _, n := range []int32{0x12345678, -2} {
				out = append(out, formula{p.name("store " + decimal(n) + " of "), func(dst, _ asm.Register) asm.Instructions {
					store := asm.Instruction{OpCode: asm.StoreImmOp(p.size), Dst: asm.R10, Offset: on + p.at, Constant: int64(n)}
					return asm.Instructions{asm.StoreMem(asm.R10, on, dst, asm.DWord), store, asm.LoadMem(dst, asm.R10, on, asm.DWord)}
				}, func(a, _ uint64) uint64 { return p.in(a, uint64(int64(n))) }})
			}
		}
	}
	return out
}

func immediates() []formula {
	var out []formula
	for _, n := range numbers {
		out = append(out, formula{"load constant", func(dst, _ asm.Register) asm.Instructions {
			return asm.Instructions{asm.LoadImm(dst, int64(n), asm.DWord)}
		}, always(n)})
	}
	return out
}
