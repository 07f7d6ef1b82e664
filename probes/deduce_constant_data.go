package probes

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(deductionFamily("deduce_constant_data",
	`Whether constants of a loader are known to the verifier.
A loader puts its configuration into a read-only map and freezes it; the verifier reads the values and takes branches
on them for decided. Cilium and Tetragon switch whole features off that way. A deduction that is lost makes programs
carry everything that is configured away.`,
	"bpf_map_is_rdonly() and bpf_map_direct_read() in kernel/bpf/verifier.c, 5.5 (a23740ec43ba)",
	"5.5",
	deduction{name: "word", doc: "4 bytes of a frozen map", maps: constantData,
		body: asm.Instructions{constant, asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), asm.JNE.Imm(asm.R1, 0x1122_0007, dead)}},
	deduction{name: "byte", doc: "1 byte of a frozen map", maps: constantData,
		body: asm.Instructions{constant, asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte), asm.JNE.Imm(asm.R1, 7, dead)}},
	deduction{name: "whole", doc: "8 bytes of a frozen map", maps: constantData,
		body: asm.Instructions{constant, asm.LoadMem(asm.R1, asm.R1, 8, asm.DWord), asm.JNE.Imm(asm.R1, 5, dead)}},
	deduction{name: "through_stack", doc: "a constant that was stored to the stack and read back", maps: constantData,
		body: asm.Instructions{constant, asm.LoadMem(asm.R1, asm.R1, 8, asm.DWord), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord), asm.JNE.Imm(asm.R1, 5, dead)}},
	deduction{name: "not_frozen", doc: "4 bytes of the same map when it is not frozen: never to be deduced",
		maps: map[string]*ebpf.MapSpec{"rodata": {Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, Flags: readOnlyProgram}},
		body: asm.Instructions{constant, asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), asm.JNE.Imm(asm.R1, 0, dead)}},
))

// readOnlyProgram is BPF_F_RDONLY_PROG (include/uapi/linux/bpf.h).
const readOnlyProgram = 1 << 7

// constantData is what a loader makes of a program's constants; the library freezes
// maps of this name.
var constantData = map[string]*ebpf.MapSpec{"rodata": {
	Name: ".rodata", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, Flags: readOnlyProgram,
	Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte{7, 0, 0x22, 0x11, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0}}},
}}

var constant = asm.LoadMapValue(asm.R1, 0, 0).WithReference("rodata")
