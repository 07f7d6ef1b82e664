package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// insnSize is the size of one struct bpf_insn.
const insnSize = asm.InstructionSize

// nativeEndian is the byte order of this machine. binary.NativeEndian will not
// do: asm compares the order it is given with the two fixed ones.
var nativeEndian = func() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// EncodeInsns encodes insns in the byte order of this machine, with jumps and
// calls between symbols resolved and loaded maps replaced by their descriptors.
// It does not change its argument. It fails on a reference to a symbol that is
// not there and on an opcode the kernel has no encoding for.
func EncodeInsns(insns asm.Instructions) ([]byte, error) {
	if linked(insns) {
		return encodeLinked(insns)
	}
	out := make([]byte, 0, len(insns)*insnSize)
	var odd bytes.Buffer
	for i := range insns {
		ins := &insns[i]
		if plain(ins) {
			out = appendInsn(out, ins)
			continue
		}
		odd.Reset()
		if _, err := ins.Marshal(&odd, nativeEndian); err != nil {
			return nil, fmt.Errorf("encode instruction %d: %w", i, err)
		}
		out = append(out, odd.Bytes()...)
	}
	return out, nil
}

// linked tells whether any instruction refers to a symbol or a map.
func linked(insns asm.Instructions) bool {
	for i := range insns {
		ins := &insns[i]
		if ins.Reference() != "" || ins.IsLoadFromMap() && ins.Map() != nil {
			return true
		}
	}
	return false
}

func encodeLinked(insns asm.Instructions) ([]byte, error) {
	own := make(asm.Instructions, len(insns))
	copy(own, insns)
	var buf bytes.Buffer
	buf.Grow(int(own.Size()))
	if err := own.Marshal(&buf, nativeEndian); err != nil {
		return nil, fmt.Errorf("encode instructions: %w", err)
	}
	return buf.Bytes(), nil
}

// plain tells whether ins is encoded field by field: its opcode is the kernel's
// own byte, its constant fits, and it is neither two slots wide nor a call, whose
// constant may carry a platform.
func plain(ins *asm.Instruction) bool {
	return ins.OpCode <= 0xff && !ins.OpCode.IsDWordLoad() &&
		!(ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() == asm.Call) &&
		!(ins.OpCode.Class().IsALU() && ins.Offset != 0) &&
		ins.Dst <= 0xf && ins.Src <= 0xf
}

// appendInsn is the short way for a million plain instructions: Instruction.Marshal
// allocates for each, which costs a fifth of the kernel's own time on a long program.
func appendInsn(out []byte, ins *asm.Instruction) []byte {
	regs := byte(ins.Src)<<4 | byte(ins.Dst)
	if nativeEndian == binary.BigEndian {
		regs = byte(ins.Dst)<<4 | byte(ins.Src)
	}
	out = append(out, byte(ins.OpCode), regs)
	out = binary.NativeEndian.AppendUint16(out, uint16(ins.Offset))
	return binary.NativeEndian.AppendUint32(out, uint32(ins.Constant))
}
