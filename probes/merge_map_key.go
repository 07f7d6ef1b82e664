package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The maps that keys are looked up in.
var (
	arrayMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 16}}
	hashMap  = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 16}}
	wordMap  = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16}}
)

var _ = register(mergeFamily("merge_map_key",
	`Paths that differ in a map key on the stack.
The key is built on the stack and handed to a map lookup. Which key it is decides nothing about what the lookup gives,
unless the verifier wants to prove from it that an array lookup cannot fail. A higher count means that programs that
look up per-CPU or configuration arrays with constant keys, as all Cilium programs do, get dearer.`,
	"null check elision for array lookups with a constant key, 6.14 (d2102f2f5d75)",
	"5.3",
	merge{name: "array_two_numbers", grows: oneSlot, doc: "a 4-byte key of 7 or of 9 for an array",
		left: storeWord(7), right: storeWord(9), use: lookup(0), maps: arrayMap},
	merge{name: "array_spilled_numbers", doc: "an 8-byte spill of 7 or of 9, whose low half is the key",
		left: storeNumber(7), right: storeNumber(9), use: lookup(0), maps: arrayMap},
	merge{name: "array_zero_unknown", doc: "a key of zero against an unknown one",
		left: storeZero, right: storeUnknown, use: lookup(0), maps: arrayMap},
	merge{name: "array_high_half", doc: "a spilled zero against an unknown number, of which the high half is the key",
		left: storeNumber(0), right: storeUnknown, use: lookup(4), maps: arrayMap},
	merge{name: "hash_high_half", grows: oneSlot, doc: "a spilled zero against an unknown number, of which the high half is the 4-byte key of a hash",
		left: storeNumber(0), right: storeUnknown, use: lookup(4), maps: wordMap},
	merge{name: "hash_low_half", doc: "the same with the low half",
		left: storeNumber(0), right: storeUnknown, use: lookup(0), maps: wordMap},
	merge{name: "hash_two_numbers", doc: "an 8-byte key of 7 or of 9 for a hash",
		left: storeNumber(7), right: storeNumber(9), use: lookup(0), maps: hashMap},
	merge{name: "hash_halves_number", doc: "an 8-byte key of two unknown halves or of a constant for a hash",
		left: storeHalves, right: storeNumber(9), use: lookup(0), maps: hashMap},
))

// storeWord writes the constant n to the low half of the slot by way of a register.
func storeWord(n int32) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{asm.Mov.Imm(asm.R1, n), asm.StoreMem(asm.RFP, slot(i), asm.R1, asm.Word)}
	}
}

// lookup looks the key up that begins at the given offset in the slot.
func lookup(at int16) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		return asm.Instructions{
			asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, int32(slot(i)+at)),
			asm.FnMapLookupElem.Call(),
		}
	}
}
