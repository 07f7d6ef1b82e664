package probes

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
)

// TestRules: what is said of a probe that changed from one kernel to the next.
func TestRules(t *testing.T) {
	kinds, err := snapshot.NewKinds(probeKind)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		old, new snapshot.Subject
		want     []string // severity code
	}{
		{"nothing", probe("deduction", "accepted", 12), probe("deduction", "accepted", 12), nil},
		{"a deduction is lost", deduced("made", 12), deduced("not made", 92), []string{"info deduction-lost"}},
		{"a deduction is gained", deduced("not made", 92), deduced("made", 12), []string{"info deduction-gained"}},
		{"a merge is lost", merged(341, 1), merged(8972, 32), []string{"warning merge-lost"}},
		{"a merge of few paths is lost", merged(341, 1), merged(696, 2), []string{"warning merge-lost"}},
		{"a merge is gained", merged(8972, 32), merged(341, 1), []string{"info merge-gained"}},
		{"a datapath doubles", probe("datapath", "accepted", 21_000), probe("datapath", "accepted", 45_000), []string{"critical insns-doubled"}},
		{"a datapath grows", probe("datapath", "accepted", 21_000), probe("datapath", "accepted", 28_000), []string{"warning insns-grew"}},
		{"a datapath comes near the limit", probe("datapath", "accepted", 700_000), probe("datapath", "accepted", 810_000), []string{"critical headroom-low"}},
		{"a shape is refused", probe("merge", "accepted", 300), probe("merge", "rejected", 20), []string{"warning probe-rejected"}},
		{"a shape is accepted", probe("merge", "rejected", 20), probe("merge", "accepted", 300), []string{"info probe-accepted"}},
		{"a dear shape is accepted", probe("merge", "rejected", 20), probe("merge", "accepted", 30_000), []string{"info probe-accepted"}},
		{"a limit shrinks", probe("limit", "accepted", 20), probe("limit", "rejected", 20), []string{"critical limit-shrunk"}},
		{"a limit is raised", probe("limit", "rejected", 20), probe("limit", "accepted", 20), []string{"info limit-raised"}},
		{"the reason changes", reason(probe("limit", "rejected", 20), "stack"), reason(probe("limit", "rejected", 20), "memory_access"), []string{"info reason-changed"}},
		{"the kernel lost what it takes", probe("merge", "accepted", 300), unsupported(), []string{"critical probe-unsupported"}},
		{"it lacked it before", unsupported(), unsupported(), nil},
		{"the program is another", probe("datapath", "accepted", 21_000), another(probe("datapath", "rejected", 450_000)), nil},
	} {
		got := findings(kinds, test.old, test.new)
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

func findings(kinds snapshot.Kinds, old, new snapshot.Subject) []string {
	world := func(build string, s snapshot.Subject) *snapshot.Snapshot {
		snap := &snapshot.Snapshot{Tool: "test", Subjects: []snapshot.Subject{s, {
			Kind: snapshot.SourceKind, ID: "bpf_probes", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(probeKind.Name)}}}}
		snap.Identity.Kernel = snapshot.KernelIdentity{BuildID: build, Arch: "x86_64"}
		snap.Identity.MachineID = "m"
		return snap
	}
	var out []string
	for _, f := range compare.Judge(world("a", old), world("b", new), kinds, compare.Policy{}).Findings {
		if f.Subject.Kind == probeKind.Name {
			out = append(out, string(f.Severity)+" "+f.Code)
		}
	}
	slices.Sort(out)
	return out
}

func probe(shape, verdict string, insns int) snapshot.Subject {
	s := snapshot.Subject{Kind: probeKind.Name, ID: "f/c", Outcome: snapshot.Measured}
	s.Set("shape", snapshot.Text(shape))
	s.Set("program", snapshot.Text("0123"))
	s.Set("verdict", snapshot.Text(verdict))
	s.Set("insns_processed", snapshot.Int(insns))
	s.Set("insns_limit", snapshot.Int(1_000_000))
	return s
}

func deduced(how string, insns int) snapshot.Subject {
	s := probe("deduction", "accepted", insns)
	s.Set("deduction", snapshot.Text(how))
	return s
}

func merged(insns, paths int) snapshot.Subject {
	s := probe("merge", "accepted", insns)
	s.Set("paths", snapshot.Int(paths))
	return s
}

func reason(s snapshot.Subject, why string) snapshot.Subject {
	s.Set("reason", snapshot.Text(why))
	return s
}

func another(s snapshot.Subject) snapshot.Subject {
	s.Set("program", snapshot.Text("4567"))
	return s
}

func unsupported() snapshot.Subject {
	s := probe("merge", "rejected", 3)
	lacking(&s, "unknown opcode e5")
	return s
}
