package probes

import (
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"lastgood/bpf"
)

// datapathCost is about what each program takes on a slow machine; those that are
// not named take little.
var datapathCost = map[string]time.Duration{
	"large/dp_parse": 140 * time.Millisecond, "medium/dp_parse": 40 * time.Millisecond, "small/dp_parse": 6 * time.Millisecond,
	"large/dp_nat4": 16 * time.Millisecond, "medium/dp_nat4": 16 * time.Millisecond,
	"large/dp_nat6": 8 * time.Millisecond, "medium/dp_nat6": 8 * time.Millisecond,
	"small/dp_nat4": 7 * time.Millisecond, "small/dp_nat6": 7 * time.Millisecond,
}

// asSmaller are the stages that are, insn by insn, those of the next smaller size.
var asSmaller = map[string]bool{"medium/dp_emit": true, "large/dp_emit": true, "large/dp_conntrack": true}

var _ = register(Family{
	Name: "datapath", Shape: Datapath, Since: "5.10",
	Doc: `A network datapath in C, as large and as entangled as real ones.
Parsing, policy, connection tracking, load balancing, NAT and events in tail-called stages, in three sizes. It tells
how near such programs come to the kernel's limits: a higher count means that a Cilium-like program on this host got
nearer as well, though not by how much.`,
	Rests: "BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a)",
	Cases: datapathCases(),
})

func datapathCases() []Case {
	var cases []Case
	for _, d := range bpf.Datapaths() {
		load := sync.OnceValues(d.Load) // the object is parsed once for all of its stages
		for _, stage := range bpf.Stages() {
			name := d.Name + "/" + stage
			if asSmaller[name] {
				continue
			}
			cost := datapathCost[name]
			if cost == 0 {
				cost = 2 * time.Millisecond
			}
			cases = append(cases, Case{
				Name: d.Name + "_" + stage, Cost: cost,
				Doc:   fmt.Sprintf("stage %s of the %s datapath", stage, d.Name),
				Build: func() (Program, error) { return stageOf(load, stage) },
			})
		}
	}
	return cases
}

// stageOf is one program of an object, with copies of the maps that it refers to.
func stageOf(load func() (*ebpf.CollectionSpec, error), name string) (Program, error) {
	spec, err := load()
	if err != nil {
		return Program{}, fmt.Errorf("read object: %w", err)
	}
	prog := spec.Programs[name]
	if prog == nil {
		return Program{}, fmt.Errorf("read object: no program %s", name)
	}
	maps := map[string]*ebpf.MapSpec{}
	for _, ins := range prog.Instructions {
		if m := spec.Maps[ins.Reference()]; ins.IsLoadFromMap() && m != nil {
			maps[ins.Reference()] = m.Copy()
		}
	}
	return Program{Spec: prog.Copy(), Maps: maps}, nil
}
