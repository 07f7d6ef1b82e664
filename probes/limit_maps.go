package probes

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var _ = register(limitFamily("limit_maps",
	`How many maps a program may use.
Each map that the program refers to counts once, those that hold its constants among them. Where the limit is lower,
programs with many maps (Cilium's, profilers') are refused.`,
	"MAX_USED_MAPS (include/linux/bpf_verifier.h), 64",
	"",
	limitCase{name: "within", doc: "64 maps", cost: 6 * time.Millisecond, ins: func() asm.Instructions { return useMaps(64) }, maps: func() map[string]*ebpf.MapSpec { return manyMaps(64) },
		grow: limitGrowth("maps", 2, 256, useMaps, manyMaps)},
	limitCase{name: "beyond", doc: "65 maps", cost: 6 * time.Millisecond, ins: func() asm.Instructions { return useMaps(65) }, maps: func() map[string]*ebpf.MapSpec { return manyMaps(65) }},
))

func manyMaps(n int) map[string]*ebpf.MapSpec {
	specs := make(map[string]*ebpf.MapSpec, n)
	for i := range n {
		specs[fmt.Sprintf("m%d", i)] = &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	}
	return specs
}

func useMaps(n int) asm.Instructions {
	var ins asm.Instructions
	for i := range n {
		ins = append(ins, asm.LoadMapPtr(asm.R1, 0).WithReference(fmt.Sprintf("m%d", i)))
	}
	return append(ins, ending()...)
}
