package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(deductionFamily("deduce_lookup",
	`Whether a lookup in an array is known to succeed.
A lookup in an array cannot fail where the key is below the number of entries. A verifier that sees it takes the check
for "not found" for decided. It costs: the key becomes a number that matters, so paths with different keys no longer
merge. A deduction that is gained makes such programs dearer in their bulk although this probe gets cheaper.`,
	"get_constant_map_key() in kernel/bpf/verifier.c, 6.14 (d2102f2f5d75)",
	"5.3",
	deduction{name: "stored_key", doc: "a key of 3 stored as a constant, of 16 entries", maps: arrayMap,
		body: lookupSucceeds(asm.StoreImm(asm.RFP, -8, 3, asm.Word))},
	deduction{name: "spilled_key", doc: "a key of 3 stored from a register", maps: arrayMap,
		body: lookupSucceeds(asm.Mov.Imm(asm.R1, 3), asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word))},
	deduction{name: "bounded_key", doc: "a key of at most 3", maps: arrayMap,
		body: lookupSucceeds(asm.And.Imm(asm.R6, 3), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word))},
	deduction{name: "percpu_array", doc: "a key of 3 for a per-CPU array", maps: map[string]*ebpf.MapSpec{"m": {Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 16}},
		body: lookupSucceeds(asm.StoreImm(asm.RFP, -8, 3, asm.Word))},
	deduction{name: "key_too_high", doc: "a key of 16 of 16 entries: never to be deduced", maps: arrayMap,
		body: lookupSucceeds(asm.StoreImm(asm.RFP, -8, 16, asm.Word))},
	deduction{name: "found_once", doc: "what was checked once is found when asked again", maps: arrayMap,
		body: append(lookupAt(asm.And.Imm(asm.R6, 31), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word)), asm.JEq.Imm(asm.R0, 0, out), asm.JEq.Imm(asm.R0, 0, dead))},
	deduction{name: "copy_found", doc: "what was checked is found by its copy", maps: arrayMap,
		body: append(lookupAt(asm.And.Imm(asm.R6, 31), asm.StoreMem(asm.RFP, -8, asm.R6, asm.Word)), asm.Mov.Reg(asm.R8, asm.R0), asm.JEq.Imm(asm.R0, 0, out), asm.JEq.Imm(asm.R8, 0, dead))},
))

// lookupAt stores a key below the frame pointer, where a register that is stored is
// kept track of (at a multiple of 8), and looks it up.
func lookupAt(store ...asm.Instruction) asm.Instructions {
	return then(store, asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8), asm.FnMapLookupElem.Call(),
	})
}

func lookupSucceeds(store ...asm.Instruction) asm.Instructions {
	return append(lookupAt(store...), asm.JEq.Imm(asm.R0, 0, dead))
}
