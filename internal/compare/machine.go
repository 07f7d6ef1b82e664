package compare

import (
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// BaselineKind and MachineID are kind and ID of the gap that says that the baseline is of
// another machine.
const (
	BaselineKind = "tool.baseline"
	MachineID    = "machine"
)

// ofMachine tells the kinds of what belongs to one machine: its devices, its network,
// what it serves.
func ofMachine(kind string) bool {
	family, _, _ := strings.Cut(kind, ".")
	return family == "hw" || family == "net" || family == "service"
}

// ofBuild tells the kinds that follow from the kernel's build and not from the machine
// that it runs on. What belongs to agents, whose version differs from node to node, does not.
func ofBuild(kind string, kinds snapshot.Kinds) bool {
	if k := kinds[kind]; k != nil && k.Foreign {
		return false
	}
	return strings.HasPrefix(kind, "bpf.") || kind == snapshot.SourceKind
}

// sameKernel reports whether both run the same kernel build, on whatever machine.
func sameKernel(a, b *snapshot.Identity) bool { return build(a) != "" && build(a) == build(b) }

// build names a kernel build: by its build-id, or where that is not known by release and version.
func build(id *snapshot.Identity) string {
	if id.Kernel.BuildID != "" {
		return id.Kernel.BuildID
	}
	return id.Kernel.Release + id.Kernel.Version
}

// elsewhere judges a boot by a baseline of another machine: what follows from the
// kernel's build is compared where the build is the same, and the rest is not. It
// is never more than incomplete, for nobody accepted this machine.
func elsewhere(old, new *snapshot.Snapshot, kinds snapshot.Kinds, policy Policy, why string) Judgement {
	whole := new
	reason := "the baseline is of another machine (" + why + "): hardware, network and services are not comparable"
	keep := func(s snapshot.Subject) bool { return ofBuild(s.Kind, kinds) }
	if !sameKernel(&old.Identity, &new.Identity) {
		keep = func(snapshot.Subject) bool { return false }
		reason = "the baseline is of another machine (" + why + ") and of another kernel: nothing is comparable"
	}
	old, new = only(old, keep), only(new, keep)
	j := judge{old: old, new: new, kinds: kinds, policy: policy, same: old.Identity.SameBuild(&new.Identity)}
	out := Judgement{Elsewhere: why, Verdict: snapshot.Incomplete, Changes: old.Identity.Changes(&new.Identity)}
	out.Attribution = attribution(out.Changes, old, new)
	j.attribution = out.Attribution
	pairs := j.pairs(Diff(old, new, kinds))
	for _, p := range pairs {
		j.judgePair(p)
	}
	out.Findings = fold(j.findings, parents(old, new))
	slices.SortStableFunc(out.Findings, worstFirst)
	out.Gaps = append([]snapshot.Gap{{Kind: BaselineKind, ID: MachineID, Label: "the baseline", Counts: true, Reason: reason}}, j.gaps(pairs)...)
	for _, g := range Gaps(whole, kinds) {
		if !keep(snapshot.Subject{Kind: g.Kind}) {
			out.Gaps = append(out.Gaps, g)
		}
	}
	return out
}

// only is a snapshot of some of the subjects.
func only(s *snapshot.Snapshot, keep func(snapshot.Subject) bool) *snapshot.Snapshot {
	out := *s
	out.Subjects = nil
	for _, sub := range s.Subjects {
		if keep(sub) {
			out.Subjects = append(out.Subjects, sub)
		}
	}
	return &out
}
