package probes

import (
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

var _ = behave(Behaviour{
	Name: "map_array",
	Doc: `Arrays.
Lookups within and beyond an array, what cannot be done to one, and values of each CPU's own. The kernel puts the lookup
into the program itself: a wrong bound there is memory of somebody else's.`,
	Rests: "Documentation/bpf/map_array.rst: no entry beyond max_entries, BPF_NOEXIST gives EEXIST, no deletion",
	Cases: []BehaviourCase{
		{Name: "lookup", Doc: "within an array and beyond its end", Cost: time.Millisecond, Build: func() (Trial, error) { return arrayLookup(ebpf.Array) }},
		{Name: "lookup_per_cpu", Doc: "the same with values of each CPU's own", Cost: time.Millisecond, Build: func() (Trial, error) { return arrayLookup(ebpf.PerCPUArray) }},
		{Name: "update", Doc: "updates with each flag, and deletion", Cost: time.Millisecond, Build: func() (Trial, error) { return arrayUpdate(ebpf.Array) }},
		{Name: "update_per_cpu", Doc: "the same with values of each CPU's own", Cost: time.Millisecond, Build: func() (Trial, error) { return arrayUpdate(ebpf.PerCPUArray) }},
	},
})

// arrayEntries is no power of two, so that the mask against speculation is not the bound.
const arrayEntries = 5

// arrayLookup writes to the entry that operand a says and reads it again.
func arrayLookup(typ ebpf.MapType) (Trial, error) {
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 24, MaxEntries: arrayEntries})}
	s.wipeKey()
	s.setKey(0, asm.Word)
	s.add(arguments("map", stackKey)...)
	s.add(asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "beyond"), packet(asm.R1), asm.LoadMem(asm.R2, asm.R1, sheetB, asm.DWord),
		asm.StoreMem(asm.R0, 0, asm.R2, asm.DWord), asm.Mov.Imm(asm.R0, 0).WithSymbol("beyond"))
	s.lookup("lookup", func(a, b uint64) uint64 {
		if uint32(a) >= arrayEntries {
			return missing
		}
		return b
	})
	var pairs [][2]uint64
	for _, a := range []uint64{0, 1, 4, 5, 6, 7, 8, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 5} {
		pairs = append(pairs, [2]uint64{a, 0xabc0 + a})
	}
	return s.trial(pairs)
}

func arrayUpdate(typ ebpf.MapType) (Trial, error) {
	s := &sheet{maps: oneMap(ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 8, MaxEntries: arrayEntries})}
	s.wipeKey()
	s.setKey(2, asm.Word)
	s.lookup("lookup of what nobody wrote", always(0))
	s.setValue(1)
	s.update("BPF_NOEXIST", updateNoExist, unix.EEXIST)
	s.lookup("lookup of what was not written", always(0))
	s.update("BPF_EXIST", updateExist, 0)
	s.lookup("lookup of what was written", plusB(1))
	s.setValue(2)
	s.update("BPF_ANY", updateAny, 0)
	s.lookup("lookup of what was overwritten", plusB(2))
	s.remove("deletion", unix.EINVAL)
	s.lookup("lookup of what cannot be deleted", plusB(2))
	s.setKey(arrayEntries, asm.Word)
	s.update("update beyond the end", updateAny, unix.E2BIG)
	s.setKey(3, asm.Word)
	s.lookup("lookup of the neighbour", always(0))
	return s.trial([][2]uint64{{0, 9 << 33}})
}
