package probes

import (
	"encoding/binary"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// No case makes two tail calls out of two calls of one program: where a kernel counts
// those wrongly, programs double with each of 33 steps. A program that is not stopped by
// the kernel stops itself.
var _ = behave(Behaviour{
	Name: "tail_calls",
	Doc: `Tail calls.
A program goes on in another one, in itself until the kernel stops it after 33, and out of a function; a place of the
array that is empty or beyond its end is passed over. Datapaths of several programs are strung together that way, and
their loops rely on the limit.`,
	Rests: "MAX_TAIL_CALL_CNT, 33; out of functions 5.10 (e411901c0b77); the count is kept over calls",
	Cases: []BehaviourCase{
		{Name: "limit", Doc: "a program goes on in itself, at an index that is known", Cost: time.Millisecond, Build: func() (Trial, error) { return tailCallLimit(false) }},
		{Name: "limit_index", Doc: "the same at an index that the packet gives", Cost: time.Millisecond, Build: func() (Trial, error) { return tailCallLimit(true) }},
		{Name: "function", Doc: "a program goes on in itself out of a function", Cost: time.Millisecond, Build: tailCallFromFunction},
		{Name: "target", Doc: "the place that the packet says: another program, empty, beyond the end", Cost: time.Millisecond, Build: func() (Trial, error) { return tailCallTarget(nil) }},
		{Name: "known_target", Doc: "places that are known when the program is loaded", Cost: time.Millisecond, Build: func() (Trial, error) { return tailCallTarget([]int32{1, 2, 4, 3}) }},
	},
})

// maxTailCalls is what a kernel allows; ownLimit is where a program stops by itself.
const (
	maxTailCalls = 33
	ownLimit     = 60
)

// count adds one to the operand at off, for R6 is the context, and leaves it in R7. It
// reads the packet anew: a tail call may have changed it.
func count(off int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word), asm.LoadMem(asm.R3, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, sheetResults), asm.JGT.Reg(asm.R4, asm.R3, short),
		asm.LoadMem(asm.R7, asm.R2, off, asm.DWord), asm.Add.Imm(asm.R7, 1), asm.StoreMem(asm.R2, off, asm.R7, asm.DWord),
	}
}

// countedTrial runs a program that counts in the operands themselves.
func countedTrial(ins asm.Instructions, a, b uint64) (Trial, error) {
	t := Trial{Program: Program{Maps: programArray(), Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: ins}},
		Inserted: []Inserted{{Array: "progs"}}, Place: func(at int) string {
			return map[int]string{sheetA: "runs of the program", sheetB: "runs that came back"}[at]
		}}
	in := ethernet(sheetResults)
	want := ethernet(sheetResults)
	binary.NativeEndian.PutUint64(want[sheetA:], a)
	binary.NativeEndian.PutUint64(want[sheetB:], b)
	t.Vectors = []Vector{{What: "tail calls", In: in, Want: want, Compared: 2}}
	return t, nil
}

// callIndex makes the tail call to itself, at an index that is always 0: known to be, or
// as a byte of the packet is.
func callIndex(ofPacket bool) asm.Instructions {
	index := asm.Mov.Imm(asm.R3, 0)
	if ofPacket {
		index = asm.LoadMem(asm.R3, asm.R2, 0, asm.Byte) // the first byte of an address that is zero
	}
	return asm.Instructions{index, asm.Mov.Reg(asm.R1, asm.R6), asm.LoadMapPtr(asm.R2, 0).WithReference("progs"), asm.FnTailCall.Call()}
}

func tailCallLimit(ofPacket bool) (Trial, error) {
	ins := then(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, count(sheetA), asm.Instructions{asm.JGT.Imm(asm.R7, ownLimit, short)},
		callIndex(ofPacket), count(sheetB), ending(), asm.Instructions{asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return()})
	return countedTrial(ins, maxTailCalls+1, 1)
}

// tailCallFromFunction: each run is in a function's frame of the one before, so all come
// back.
func tailCallFromFunction() (Trial, error) {
	main := then(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, count(sheetA), asm.Instructions{asm.JGT.Imm(asm.R7, ownLimit, short),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("callee")}, count(sheetB), ending(),
		asm.Instructions{asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return()})
	callee := then(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, callIndex(false), ending())
	return countedTrial(then(mainFunction(main), staticFunction("callee", []btf.Type{typeCtx}, callee)), maxTailCalls+1, maxTailCalls+1)
}

// tailCallTarget goes on at the place that operand a says, or tries the known ones one
// after the other: 0 and 3 bear programs, 1 and 2 are empty, 4 is beyond the end.
func tailCallTarget(known []int32) (Trial, error) {
	const passed, reached = 0x11, 0x2200
	s := &sheet{maps: map[string]*ebpf.MapSpec{"progs": {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4}}}
	call := func(index asm.Instruction) {
		s.add(index, asm.LoadMem(asm.R1, asm.R10, stackContext, asm.DWord), asm.LoadMapPtr(asm.R2, 0).WithReference("progs"), asm.FnTailCall.Call())
	}
	s.add(asm.LoadMem(asm.R6, asm.R10, stackContext, asm.DWord), packet(asm.R7))
	if known == nil {
		call(asm.LoadMem(asm.R3, asm.R7, sheetA, asm.Word))
	}
	for _, i := range known {
		call(asm.Mov.Imm(asm.R3, i))
	}
	// Only a call that was passed over comes here; the packet may be another now.
	off := s.next("way of a tail call", func(a, _ uint64) uint64 {
		if i := uint32(number(numberBytes(a)[:4])); known != nil || i == 0 || i == 3 {
			return reached
		}
		return passed
	})
	s.add(writeTo(off, passed)...)
	t, err := s.trial([][2]uint64{{0, 0}, {1 | 1<<32, 0}, {2 | 2<<32, 0}, {3 | 3<<32, 0}, {4 | 4<<32, 0}, {1<<64 - 1, 0}})
	other := then(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, writeTo(off, reached), ending(), asm.Instructions{asm.Mov.Imm(asm.R0, 1).WithSymbol(short), asm.Return()})
	spec := &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: other}
	t.Inserted = []Inserted{{"progs", 0, spec}, {"progs", 3, spec}}
	return t, err
}

func numberBytes(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// writeTo writes a constant into the packet, whose context is R6.
func writeTo(off int16, n int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word), asm.LoadMem(asm.R3, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, int32(off)+8), asm.JGT.Reg(asm.R4, asm.R3, short),
		asm.Mov.Imm(asm.R1, n), asm.StoreMem(asm.R2, off, asm.R1, asm.DWord),
	}
}
