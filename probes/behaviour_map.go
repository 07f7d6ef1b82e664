package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// What the cases on maps have in common. A sheet's body keeps a map's key and value
// below these places on the stack.
const (
	stackKey   = -128 // 64 bytes
	stackValue = -192 // 64 bytes
)

// wipeKey makes the key and the value all zeros.
func (s *sheet) wipeKey() {
	for at := int16(0); at < 128; at += 8 {
		s.add(storeImm(stackValue+at, 0))
	}
}

// setKey makes the key operand a plus n: a number that the verifier knows nothing of.
func (s *sheet) setKey(n int32, size asm.Size) {
	s.add(packet(asm.R1), asm.LoadMem(asm.R2, asm.R1, sheetA, asm.DWord), asm.Add.Imm(asm.R2, n), asm.StoreMem(asm.R10, stackKey, asm.R2, size))
}

// setValue makes the value operand b plus n.
func (s *sheet) setValue(n int32) {
	s.add(packet(asm.R1), asm.LoadMem(asm.R2, asm.R1, sheetB, asm.DWord), asm.Add.Imm(asm.R2, n), asm.StoreMem(asm.R10, stackValue, asm.R2, asm.DWord))
}

// arguments loads a map and the places of key and value.
func arguments(name string, places ...int32) asm.Instructions {
	ins := asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference(name)}
	for i, p := range places {
		r := asm.R2 + asm.Register(i)
		ins = append(ins, asm.Mov.Reg(r, asm.R10), asm.Add.Imm(r, p))
	}
	return ins
}

// update writes the entry and keeps what came of it.
func (s *sheet) update(name string, flags int32, want unix.Errno) {
	s.add(arguments("map", stackKey, stackValue)...)
	s.add(asm.Mov.Imm(asm.R4, flags), asm.FnMapUpdateElem.Call())
	s.result32(name, -int32(want))
}

func (s *sheet) remove(name string, want unix.Errno) {
	s.add(arguments("map", stackKey)...)
	s.add(asm.FnMapDeleteElem.Call())
	s.result32(name, -int32(want))
}

// missing is what a lookup leaves where there is no entry.
const missing = 0x4d495353

// lookup keeps the first eight bytes of the value, or missing.
func (s *sheet) lookup(name string, want binary64) {
	s.add(arguments("map", stackKey)...)
	s.add(asm.FnMapLookupElem.Call())
	s.add(valueOr(missing)...)
	s.result(name, asm.R0, asm.R1, want)
}

// valueOr reads what R0 points to, or makes it n where it is no pointer.
func valueOr(n int32) asm.Instructions {
	return asm.Instructions{
		{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JEq), Dst: asm.R0, Offset: 2},
		asm.LoadMem(asm.R0, asm.R0, 0, asm.DWord), jumpAlways(1),
		asm.Mov.Imm(asm.R0, n),
	}
}

// plusB is operand b plus n: the value that setValue makes.
func plusB(n int32) binary64 { return func(_, b uint64) uint64 { return b + uint64(int64(n)) } }

func oneMap(m ebpf.MapSpec) map[string]*ebpf.MapSpec { return map[string]*ebpf.MapSpec{"map": &m} }

// Flags of an update (include/uapi/linux/bpf.h).
const (
	updateAny     = 0 // BPF_ANY
	updateNoExist = 1 // BPF_NOEXIST
	updateExist   = 2 // BPF_EXIST
)
