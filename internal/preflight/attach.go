package preflight

import (
	"context"
	"slices"

	"lastgood/internal/kmod"
)

// attachModules are what programs are attached to that a distribution builds as
// modules: the interfaces of the probes' private network, and the queueing discipline
// and classifier that tc attaches with. In a VM nothing loads them when they are asked for.
var attachModules = []string{"veth", "netkit", "sch_ingress", "cls_bpf"}

// withAttachModules adds them to those that a guest loads, as far as the candidate has
// them: what it does not have its probes say themselves.
func withAttachModules(ctx context.Context, tree string, load []kmod.Module) ([]kmod.Module, error) {
	if tree == "" {
		return load, nil
	}
	t, err := kmod.List(ctx, tree)
	if err != nil {
		return nil, err
	}
	more, _, err := t.Resolve(attachModules...)
	if err != nil {
		return nil, err
	}
	for _, m := range more {
		if !slices.Contains(load, m) {
			load = append(load, m)
		}
	}
	return load, nil
}
