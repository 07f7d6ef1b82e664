package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/probes"
)

// must is what the catalogue owes on a step between two kernels.
type must int

const (
	moves     must = iota // some exact counter or verdict differs
	movesBoth             // some family gets dearer, and some cheaper
	silent                // no finding above info
	silentNew             // nor here, but what is newly accepted is said
	offers                // what became available is said
	mayMove               // it may, or not
	namesRead             // one warning, of the read of half a spilled pointer; nothing else
)

func (m must) String() string {
	return [...]string{"move", "move both ways", "be silent", "be silent, and say what is newly allowed", "say what became available", "(move if it can)", "warn of the one read that is refused, at most"}[m]
}

// truths are what veristat measured on some 290 programs of real projects (Cilium,
// Tetragon, Beyla, xdp-tools and others) on these kernels, in processed insns, and what
// follows for a catalogue that has none of these programs at hand.
var truths = []struct {
	from, to string
	programs string // what real programs did
	must     must
}{
	{"5.10.0-30", "5.10.0-32", "127 down, to −83 %", moves},
	{"5.10.0-32", "5.10.0-46", "none of 143", silent},
	{"6.1.0-47", "6.1.0-50", "none of 475", silent},
	{"6.1.0-50", "6.1.0-53", "none of 475", silent},
	{"6.1.0-53", "6.1.0-56", "none of 475; uninitialised stack may be read", silentNew},
	{"5.10.0-46", "6.1.0-47", "more load; counters equal", offers},
	{"6.1.0-56", "6.12.43+deb12", "259 of 366: 53 up to ×2.8, the rest down to ×0.08", movesBoth},
	{"6.12.43+deb12", "6.12.57+deb12", "none above 5 %", silent},
	{"6.12.69+deb12", "6.12.74+deb12", "none above 5 %", silent},
	{"6.12.86+deb12", "6.12.117+deb12", "none above 5 %", silent},
	{"6.12.57+deb12", "6.12.69+deb12", "1 up 8 %", mayMove},
	{"6.12.74+deb12", "6.12.86+deb12", "4 up to +17 %, 2 down", moves},
	{"6.12.117+deb12", "6.16.12+deb13", "144 up to ×5.8", moves},
	{"6.16.3+deb13", "6.16.12+deb13", "none", silent},
	{"6.17.8+deb13", "6.17.13+deb13", "none", silent},
	{"7.0.4+deb13", "7.0.13+deb13", "none", silent},
	{"7.1.3+deb13", "7.1.8+deb13", "none of 181", namesRead},
	{"7.1.3+deb13", "7.1.13+deb13", "none of 181", namesRead},
	{"6.16.12+deb13", "6.17.13+deb13", "8 up, to ×5.0", moves},
	{"6.17.13+deb13", "6.18.5+deb13", "70 up, to ×2.0", moves},
	{"6.18.5+deb13", "6.18.15+deb13", "7 up to +17 %, 3 down", moves},
	{"6.18.15+deb13", "6.19.6+deb13", "13 up to ×3.1; two over the limit", moves},
	{"6.19.6+deb13", "6.19.14+deb13", "1 up 9 %, 1 down", mayMove},
	{"6.19.14+deb13", "7.0.13+deb13", "13 down to ×0.27", moves},
	{"7.0.13+deb13", "7.1.13+deb13", "160, mostly down to ×0.23, 8 up to ×1.9", movesBoth},
	{"7.1.13+deb13", "7.2.12+deb13", "6 up to ×2.1, 17 down", moves},
	{"7.2.6+deb13", "7.2.12+deb13", "3 up to +23 %, 17 down to −40 %", moves},
	{"7.2.12+deb13", "7.3.4+deb13", "8 up to ×1.7", moves},
}

// moved is which families got dearer or lost something on a step, and which got cheaper
// or gained it.
type moved struct{ up, down map[string]bool }

func movedFamilies(from, to *snapshot.Snapshot, all snapshot.Kinds) moved {
	m := moved{map[string]bool{}, map[string]bool{}}
	for family, did := range movements(from, to, all) {
		if len(did.up) > 0 {
			m.up[family] = true
		}
		if len(did.down) > 0 {
			m.down[family] = true
		}
	}
	return m
}

// TestTruth holds the catalogue against what real programs did: every step that changed
// them must move it, and none that did not may alarm anybody.
func TestTruth(t *testing.T) {
	t.Parallel()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]*snapshot.Snapshot{}
	for _, s := range releases(t) {
		at[strings.TrimSuffix(s.Identity.Kernel.Release, "-cloud-amd64")] = s
	}
	var b strings.Builder
	b.WriteString("# What the built-in probes tell of known steps\n\nGenerated from the snapshots under testdata/kernels by `go test ./internal/cli -run TestTruth -update`. *Real programs* is what some 290 programs of\nCilium, Tetragon, Beyla, xdp-tools and others did in the verifier on that step (processed insns, a change of more than 5 % in some program);\nthe built-in probes know none of them. *Alarms* are findings above info.\n\n| step | real programs | the probes must | families that moved up (dearer, refused) | down (cheaper, accepted) | alarms |\n|---|---|---|---|---|---|\n")
	for _, tr := range truths {
		from, to := at[tr.from], at[tr.to]
		if from == nil || to == nil {
			t.Errorf("%s → %s: a snapshot is missing under testdata/kernels", tr.from, tr.to)
			continue
		}
		m := movedFamilies(from, to, all)
		judged := compare.Judge(from, to, all, compare.Policy{})
		if why := unmet(tr.must, m, judged.Findings); why != "" {
			t.Errorf("%s → %s must %s, and %s", tr.from, tr.to, tr.must, why)
		}
		fmt.Fprintf(&b, "| %s → %s | %s | %s | %s | %s | %s |\n", tr.from, tr.to, tr.programs, tr.must, familyList(m.up), familyList(m.down), alarms(judged.Findings))
	}
	keepPage(t, filepath.Join("..", "..", "docs", "truth.md"), b.String())
}

// unmet says what is owed and not given, "" where all is.
func unmet(m must, moved moved, findings []snapshot.Finding) string {
	loud := slices.DeleteFunc(slices.Clone(findings), func(f snapshot.Finding) bool { return f.Severity == snapshot.Info })
	said := func(codes ...string) bool {
		return slices.ContainsFunc(findings, func(f snapshot.Finding) bool { return slices.Contains(codes, f.Code) })
	}
	switch {
	case m == moves && len(moved.up)+len(moved.down) == 0:
		return "nothing moves"
	case m == movesBoth && (len(moved.up) == 0 || len(moved.down) == 0):
		return fmt.Sprintf("%d families move up and %d down", len(moved.up), len(moved.down))
	case (m == silent || m == silentNew) && len(loud) > 0:
		return "it says: " + loud[0].Message
	case m == silentNew && !said("probe-accepted"):
		return "it does not say what is newly allowed"
	case m == offers && !said("feature-gained", "helper-gained"):
		return "it does not say so"
	case m == namesRead:
		for _, f := range loud {
			if f.Severity != snapshot.Warning || f.Code != "probe-rejected" || f.Subject.ID != "accept_stack_read/pointer_or_number_half" {
				return "it says: " + f.Message
			}
		}
	}
	return ""
}

func familyList(set map[string]bool) string {
	if len(set) == 0 {
		return "–"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

func alarms(findings []snapshot.Finding) string {
	counts := map[string]int{}
	for _, f := range findings {
		if f.Severity != snapshot.Info {
			counts[string(f.Severity)+" "+f.Code]++
		}
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}

// keepPage holds a generated page against its file, or writes it anew.
func keepPage(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), text); d != "" {
		t.Errorf("%s is out of date; rewrite it with -update (-have +want):\n%s", filepath.Base(path), d)
	}
}

// TestFamiliesEarnTheirPlace: a family that never moved on any step between the kept
// kernels guards one of the kernel's limits, or goes.
func TestFamiliesEarnTheirPlace(t *testing.T) {
	t.Parallel()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	kept := releases(t)
	seen, lacked, had := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, s := range kept {
		for j := range s.Subjects {
			if sub := &s.Subjects[j]; sub.Kind == probes.ProbeKind {
				lacked[sub.Text("family")] = lacked[sub.Text("family")] || sub.Outcome == snapshot.Unsupported
				had[sub.Text("family")] = had[sub.Text("family")] || sub.Outcome == snapshot.Measured
			}
		}
		if i > 0 {
			m := movedFamilies(kept[i-1], s, all)
			maps.Copy(seen, m.up)
			maps.Copy(seen, m.down)
		}
	}
	for _, f := range probes.Families() {
		if !seen[f.Name] && f.Shape != probes.Limit && !(lacked[f.Name] && had[f.Name]) {
			t.Errorf("family %s moved on no step, is known to all kernels and guards no limit", f.Name)
		}
	}
}
