package report

import (
	"lastgood/internal/snapshot"
)

// What follows gives the words of this package to those who show a report elsewhere than
// on a terminal, so that a thing is called the same wherever it stands.

// Flat makes a text from the outside harmless and puts it on one line, of at most so many runes.
func Flat(s string, most int) string { return cut(flat(s), most) }

// Lines makes a text from the outside harmless and keeps its lines; it has at most so many runes.
func Lines(s string, most int) string { return cut(clean(s), most) }

// Sentence is the verdict in one sentence.
func Sentence(r *Report) string { return sentence(r) }

// WorstFirst orders findings by severity, and of equal ones the host's own things before what foretells only.
func WorstFirst(findings []snapshot.Finding) []*snapshot.Finding { return worstFirst(findings) }

// Said is a finding's message with what it explains.
func Said(f *snapshot.Finding) string { return said(f) }

// Values are a finding's old and new value and their ratio, for a person; each is ""
// where the finding has none.
func Values(f *snapshot.Finding) (old, new, ratio string) {
	u := unitOf(f.Attr)
	if f.Old != nil {
		old = brief(u, f.Old)
	}
	if f.New != nil {
		new = brief(u, f.New)
	}
	if old != "" && new != "" {
		ratio = growth(u, f.Old, f.New)
		if len(ratio) > 2 {
			ratio = ratio[2:] // behind the comma of a sentence
		}
	}
	return old, new, ratio
}

// Value is an attribute's value in the unit that its kind declares.
func Value(kinds snapshot.Kinds, kind, attr string, v snapshot.Value) string {
	t := tree{p: newPage(nil, Options{}), kinds: kinds}
	return t.value(kind, attr, v)
}

// FactName is an attribute's name as a person reads it, without its unit.
func FactName(attr string) string { return factName(attr) }

// ChangedFacts says what else than the subjects differs, by class. The report must have a baseline.
func ChangedFacts(r *Report) string { return changed(r) }

// LearnedFrom says by which other good boots a boot was judged; "" where by none.
func LearnedFrom(l *Learned) string { return learnedFrom(l) }

// Told is a transaction in one line: when, who, what was typed.
func (t *Transaction) Told() string { return t.told() }

// PackagesTold lists a transaction's packages with their versions.
func (t *Transaction) PackagesTold() string { return t.packages(false) }

// Extent says how many of a family's programs are worse, and by how much.
func (m *Mechanism) Extent() string { return m.extent() }

// Told says how the boot before this one ended.
func (r *Reboot) Told() string { return r.told() }

// Empty reports whether there is nothing to tell: a reboot that was asked for is no change.
func (s *Since) Empty() bool { return s.empty() }

// GapGroup are the things that could not be measured for one reason.
type GapGroup struct {
	Reason string
	Counts bool // they keep the verdict from being good
	Who    []string
}

// GapsByReason groups what could not be measured, what counts first.
func GapsByReason(gaps []snapshot.Gap) []GapGroup {
	var out []GapGroup
	for _, g := range gapsByReason(gaps) {
		out = append(out, GapGroup{Reason: cut(flat(g.reason), longText), Counts: g.counts, Who: g.who})
	}
	return out
}
