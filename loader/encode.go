package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

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
// not there, a jump that does not reach its target, and an opcode the kernel has
// no encoding for.
//
// It gives what asm.Instructions.Marshal gives (atomics apart, see marshal), without that method's copy and
// its allocation for each instruction: on a program of a million instructions
// those cost a fifth of the kernel's own time.
func EncodeInsns(insns asm.Instructions) ([]byte, error) {
	e := encoder{out: make([]byte, 0, len(insns)*insnSize)}
	for i := range insns {
		ins := &insns[i]
		if ins.Metadata != (asm.Metadata{}) {
			if err := e.note(ins, i); err != nil {
				return nil, err
			}
		}
		if plain(ins) {
			e.out = appendInsn(e.out, ins)
			continue
		}
		if err := e.marshal(*ins); err != nil {
			return nil, fmt.Errorf("encode instruction %d: %w", i, err)
		}
	}
	return e.out, e.resolve(insns)
}

type encoder struct {
	out     []byte
	odd     bytes.Buffer
	symbols map[string]int // slot a symbol stands for
	refs    []reference
}

// marshal appends an instruction the way asm encodes it. v0.22 drops the kind of an
// atomic operation that was assembled by hand (it leaves the constant at zero, which
// stands for a plain addition), so the constant is filled in first.
func (e *encoder) marshal(ins asm.Instruction) error {
	if op := ins.OpCode.AtomicOp(); op != asm.InvalidAtomic {
		ins.Constant = int64(op >> 8)
	}
	e.odd.Reset()
	if _, err := ins.Marshal(&e.odd, nativeEndian); err != nil {
		return err
	}
	e.out = append(e.out, e.odd.Bytes()...)
	return nil
}

// reference is an instruction to be patched when all symbols are known.
type reference struct{ index, slot int }

// note remembers what the metadata of instruction i says.
func (e *encoder) note(ins *asm.Instruction, i int) error {
	slot := len(e.out) / insnSize
	if name := ins.Symbol(); name != "" {
		if _, dup := e.symbols[name]; dup {
			return fmt.Errorf("encode instruction %d: symbol %s stands twice", i, name)
		}
		if e.symbols == nil {
			e.symbols = make(map[string]int)
		}
		e.symbols[name] = slot
	}
	if ins.Reference() != "" || ins.IsLoadFromMap() && ins.Map() != nil {
		e.refs = append(e.refs, reference{i, slot})
	}
	return nil
}

// gotol is `gotol +imm`, the jump whose distance is in the constant.
var gotol = asm.OpCode(asm.Jump32Class).SetJumpOp(asm.Ja)

// resolve patches the distance or the descriptor into every reference. As asm has
// it, only a distance of -1 waits for its symbol.
func (e *encoder) resolve(insns asm.Instructions) error {
	for _, ref := range e.refs {
		ins := &insns[ref.index]
		raw := e.out[ref.slot*insnSize:]
		if ins.IsLoadFromMap() {
			if m := ins.Map(); m != nil {
				binary.NativeEndian.PutUint32(raw[4:], uint32(m.FD()))
			}
			continue
		}
		wide := (ins.IsFunctionReference() || ins.OpCode == gotol) && ins.Constant == -1
		narrow := !wide && ins.OpCode.Class().IsJump() && ins.Offset == -1
		if !wide && !narrow {
			continue
		}
		slot, ok := e.symbols[ins.Reference()]
		if !ok {
			return fmt.Errorf("encode instruction %d: no symbol %s: %w", ref.index, ins.Reference(), asm.ErrUnsatisfiedProgramReference)
		}
		distance := slot - ref.slot - 1
		if wide {
			binary.NativeEndian.PutUint32(raw[4:], uint32(int32(distance)))
			continue
		}
		if distance < math.MinInt16 || distance > math.MaxInt16 {
			return fmt.Errorf("encode instruction %d: symbol %s is %d instructions away, a jump reaches 32767", ref.index, ins.Reference(), distance)
		}
		binary.NativeEndian.PutUint16(raw[2:], uint16(int16(distance)))
	}
	return nil
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

func appendInsn(out []byte, ins *asm.Instruction) []byte {
	regs := byte(ins.Src)<<4 | byte(ins.Dst)
	if nativeEndian == binary.BigEndian {
		regs = byte(ins.Dst)<<4 | byte(ins.Src)
	}
	out = append(out, byte(ins.OpCode), regs)
	out = binary.NativeEndian.AppendUint16(out, uint16(ins.Offset))
	return binary.NativeEndian.AppendUint32(out, uint32(ins.Constant))
}
