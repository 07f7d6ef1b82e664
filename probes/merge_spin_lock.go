package probes

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

var _ = register(mergeFamily("merge_spin_lock",
	`Paths that lock different elements of a map.
An element with a lock in it is updated under the lock. The verifier remembers which element is locked, so pointers to
such elements carry an identity; which one it is does not matter as long as the same one is unlocked. A higher count
means that programs that keep counters, rate limits or token buckets under bpf_spin_lock get dearer.`,
	"bpf_spin_lock, 5.1 (d83525ca62cf); ids of locks and of map values compared through an id map, 6.2 (4ea2bb158bec, 7c884339bbff)",
	"5.3",
	cheap(merge{name: "two_lookups", doc: "a pointer to one element or to another, locked behind the tail",
		setup: storeKeys, left: keepElement(0), right: keepElement(8), use: lockElement, maps: lockMap},
		merge{name: "locked_before", doc: "one path locked and unlocked an element; nobody needs to know",
			setup: storeKeys, left: lockOnce, right: leaveAlone, use: read(0, dw), maps: lockMap})...,
))

// lockMap has elements of a lock, a number and another.
var lockMap = map[string]*ebpf.MapSpec{"m": {Type: ebpf.Hash, KeySize: 8, ValueSize: 24, MaxEntries: 16, Key: typeU64,
	Value: structOf("element", 24, member("lock", 0, &btf.Struct{Name: "bpf_spin_lock", Size: 4, Members: []btf.Member{member("val", 0, typeInt)}}),
		member("first", 8, typeU64), member("second", 16, typeU64))}}

// storeKeys writes two keys below the slots, and zeros to the slots.
var storeKeys = then(zeroSlots, asm.Instructions{storeImm(keysAt, 1), storeImm(keysAt+8, 2)})

// keysAt is where keys of maps stand, below all slots.
const keysAt = buffer - 16

// element looks up the key at the offset and leaves the program where there is none.
func element(at int16, label string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("m"),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(keysAt+at)),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, label),
		asm.Mov.Imm(asm.R0, 0), asm.Return(),
	}
}

// keepElement spills a pointer to the element of the key at the offset.
func keepElement(at int16) func(int) asm.Instructions {
	return func(i int) asm.Instructions {
		label := fmt.Sprintf("found%d_%d", at, i)
		return append(element(at, label), asm.StoreMem(asm.RFP, slot(i), asm.R0, asm.DWord).WithSymbol(label))
	}
}

// lockElement adds to the element of the slot under its lock.
func lockElement(i int) asm.Instructions {
	return then(asm.Instructions{asm.LoadMem(asm.R7, asm.RFP, slot(i), asm.DWord)}, locked)
}

// locked writes to the element of R7 under its lock.
var locked = asm.Instructions{
	asm.Mov.Reg(asm.R1, asm.R7), asm.FnSpinLock.Call(),
	asm.LoadMem(asm.R1, asm.R7, 8, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R7, 8, asm.R1, asm.DWord),
	asm.Mov.Reg(asm.R1, asm.R7), asm.FnSpinUnlock.Call(),
}

// lockOnce locks the first element and unlocks it.
func lockOnce(i int) asm.Instructions {
	label := fmt.Sprintf("once%d", i)
	ins := append(element(0, label), asm.Mov.Reg(asm.R7, asm.R0).WithSymbol(label))
	return then(ins, locked)
}
