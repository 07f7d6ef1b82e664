package probes

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A sheet is a packet of numbers: two operands, a and b, and behind them the results
// that the program writes, each eight bytes wide.
const (
	sheetA       = 16 // behind an Ethernet header of 14 bytes, and aligned
	sheetB       = sheetA + 8
	sheetResults = sheetB + 8
	// sheetMax is how many results fit: the packet of a test run lies in one page,
	// with room before and behind (bpf_prog_test_run_skb() in net/bpf/test_run.c).
	sheetMax = 380
	// blank is what stands where no result was written yet.
	blank = 0x5a
)

// Places on the stack that a sheet's program keeps; all below is the body's.
const (
	stackPacket  = -8
	stackContext = -16
)

// short is where a program goes whose packet is shorter than it ought to be.
const short = "short"

// binary64 makes one number of two.
type binary64 func(a, b uint64) uint64

// sheet gathers a program's body and what ought to come of it.
type sheet struct {
	body  asm.Instructions
	end   asm.Instructions // behind the exit: functions
	names []string
	want  []binary64
	maps  map[string]*ebpf.MapSpec
}

// add appends instructions to the body.
func (s *sheet) add(ins ...asm.Instruction) { s.body = append(s.body, ins...) }

// packet loads the packet's address.
func packet(dst asm.Register) asm.Instruction {
	return asm.LoadMem(dst, asm.R10, stackPacket, asm.DWord)
}

// next names the next result and says where it belongs.
func (s *sheet) next(name string, want binary64) int16 {
	s.names, s.want = append(s.names, name), append(s.want, want)
	return int16(sheetResults + 8*(len(s.want)-1))
}

// result writes value into the next result, by way of another register, at.
func (s *sheet) result(name string, value, at asm.Register, want binary64) {
	off := s.next(name, want)
	s.add(packet(at), asm.StoreMem(at, off, value, asm.DWord))
}

// result32 writes the lower half of what a helper returned, for those that return an
// int: before 6.4 (d7ba4cc900bf) the upper half of what they gave back was undefined.
func (s *sheet) result32(name string, want int32) {
	s.add(asm.Mov.Reg32(asm.R0, asm.R0))
	s.result(name, asm.R0, asm.R1, func(uint64, uint64) uint64 { return uint64(uint32(want)) })
}

// always is a result that does not depend on the operands.
func always(n uint64) binary64 { return func(uint64, uint64) uint64 { return n } }

func (s *sheet) size() int { return sheetResults + 8*len(s.want) }

// trial runs the sheet once for every pair of operands.
func (s *sheet) trial(pairs [][2]uint64) (Trial, error) {
	if len(s.want) > sheetMax {
		return Trial{}, fmt.Errorf("build sheet: %d results do not fit", len(s.want))
	}
	ins := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(s.size())),
		asm.JGT.Reg(asm.R4, asm.R3, short),
		asm.StoreMem(asm.R10, stackPacket, asm.R2, asm.DWord),
		asm.StoreMem(asm.R10, stackContext, asm.R1, asm.DWord),
	}
	ins = append(ins, s.body...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return())
	ins = append(ins, s.end...)
	t := Trial{Program: Program{Maps: s.maps, Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: ins}}, Place: s.place}
	for _, p := range pairs {
		t.Vectors = append(t.Vectors, s.vector(p[0], p[1]))
	}
	return t, nil
}

func (s *sheet) vector(a, b uint64) Vector {
	in := ethernet(s.size())
	for i := sheetResults; i < len(in); i++ {
		in[i] = blank
	}
	binary.NativeEndian.PutUint64(in[sheetA:], a)
	binary.NativeEndian.PutUint64(in[sheetB:], b)
	want := append([]byte{}, in...)
	for i, f := range s.want {
		binary.NativeEndian.PutUint64(want[sheetResults+8*i:], f(a, b))
	}
	return Vector{What: fmt.Sprintf("%#x, %#x", a, b), In: in, Want: want, Compared: len(s.want)}
}

// place names a result by its offset.
func (s *sheet) place(offset int) string {
	if i := (offset - sheetResults) / 8; offset >= sheetResults && i < len(s.names) {
		return s.names[i]
	}
	return fmt.Sprintf("byte %d", offset)
}

// ethernet is a packet of so many bytes, all zero but for the header's type: one of
// those kept for experiments (IEEE 802, 0x88b5), which no protocol reads.
func ethernet(size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint16(b[12:], 0x88b5)
	return b
}

// number reads up to eight bytes as this machine would.
func number(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.NativeEndian.Uint64(full[:])
}

// formula is an instruction and what it makes of the numbers in dst and src.
type formula struct {
	name string
	ins  func(dst, src asm.Register) asm.Instructions
	want binary64
}

// apply loads the operands into dst and src, applies f and keeps what dst holds. The
// two may be one register, which then holds a.
func (s *sheet) apply(f formula, dst, src asm.Register) {
	at := other(dst, src)
	want := f.want
	s.add(packet(at), asm.LoadMem(dst, at, sheetA, asm.DWord))
	if src != dst {
		s.add(asm.LoadMem(src, at, sheetB, asm.DWord))
	} else {
		want = func(a, _ uint64) uint64 { return f.want(a, a) }
	}
	s.add(f.ins(dst, src)...)
	s.add(asm.StoreMem(at, s.next(fmt.Sprintf("%s r%d r%d", f.name, dst, src), want), dst, asm.DWord))
}

// other is the first register that is none of those.
func other(dst, src asm.Register) asm.Register {
	r := asm.R0
	for r == dst || r == src {
		r++
	}
	return r
}

// registerPair walks through all pairs of registers, R0 to R9, in an order in which
// neighbours are unlike; those of one register with itself are among them.
func registerPair(i int) (dst, src asm.Register) {
	i = i * 37 % 100
	return asm.Register(i % 10), asm.Register(i / 10)
}

// everyPair applies a formula to all 100 pairs of registers: the JIT gives some of the
// machine's registers a part in shifts and divisions, and prefixes to others.
func (s *sheet) everyPair(f formula) {
	for i := range 100 {
		dst, src := registerPair(i)
		s.apply(f, dst, src)
	}
}
