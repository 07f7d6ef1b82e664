package cli

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/probes"
)

// movement is what the programs of one family did between two snapshots.
type movement struct {
	up, down []string // programs that got dearer or are refused, and the other way about
	refused  []string // of up, those that are refused
	factor   float64  // the largest growth of processed insns, 1 where none grew
}

// movements reads the exact counters and verdicts of the built-in programs that are the
// same on both sides, by family. Any difference counts: counters do not vary by themselves.
func movements(from, to *snapshot.Snapshot, kinds snapshot.Kinds) map[string]*movement {
	out := map[string]*movement{}
	deltas := compare.Diff(from, to, kinds)
	other, verdict := map[string]bool{}, map[string]bool{}
	for _, d := range deltas {
		if d.Key.Kind == probes.ProbeKind && d.Change == snapshot.Changed {
			other[d.Key.ID] = other[d.Key.ID] || d.Attr == "program"
			verdict[d.Key.ID] = verdict[d.Key.ID] || d.Attr == "verdict"
		}
	}
	for _, d := range deltas {
		if d.Key.Kind != probes.ProbeKind || d.Change != snapshot.Changed || other[d.Key.ID] {
			continue
		}
		family, name, _ := strings.Cut(d.Key.ID, "/")
		m := out[family]
		if m == nil {
			m = &movement{factor: 1}
		}
		switch {
		case d.Attr == "verdict":
			m.verdict(name, d.New.String())
		case d.Attr == "insns_processed" && !verdict[d.Key.ID]: // of a refused program only a part is walked
			m.cost(name, d.Old, d.New)
		default:
			continue
		}
		out[family] = m
	}
	return out
}

func (m *movement) verdict(name, is string) {
	if is == "rejected" {
		m.up, m.refused = append(m.up, name), append(m.refused, name)
		return
	}
	m.down = append(m.down, name)
}

func (m *movement) cost(name string, was, is snapshot.Value) {
	old, ok1 := was.Number()
	now, ok2 := is.Number()
	switch {
	case !ok1 || !ok2 || old <= 0:
	case now > old:
		m.up = append(m.up, name)
		m.factor = max(m.factor, now/old)
	default:
		m.down = append(m.down, name)
	}
}

// mechanisms says in words what the verifier can no longer do, or now can: the moved
// programs folded into what they have in common, worst first. What is worse and made no
// finding above info is named without being explained.
func mechanisms(from, to *snapshot.Snapshot, kinds snapshot.Kinds, findings []snapshot.Finding) []report.Mechanism {
	loud := map[string]bool{}
	for _, f := range findings {
		if f.Subject.Kind == probes.ProbeKind && f.Severity.Rank() > snapshot.Info.Rank() {
			family, _, _ := strings.Cut(f.Subject.ID, "/")
			loud[family] = true
		}
	}
	moved := movements(from, to, kinds)
	families := map[string]probes.Family{}
	for _, f := range probes.Families() {
		families[f.Name] = f
	}
	var out []report.Mechanism
	for _, name := range slices.Sorted(maps.Keys(moved)) {
		m, f := moved[name], families[name]
		title, means, _ := strings.Cut(f.Doc, "\n")
		out = append(out, report.Mechanism{
			Family: name, Title: strings.TrimSuffix(title, "."), Means: strings.Join(strings.Fields(means), " "), Programs: len(f.Cases),
			Worse: m.up, Better: m.down, Refused: m.refused, Factor: m.factor, Alarming: loud[name],
		})
	}
	slices.SortStableFunc(out, func(a, b report.Mechanism) int {
		return cmp.Or(cmp.Compare(len(b.Refused), len(a.Refused)), cmp.Compare(b.Factor, a.Factor))
	})
	return out
}
