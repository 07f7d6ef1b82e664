package report

import (
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// Drift is what differs from an earlier snapshot.
type Drift struct {
	Against  string             // which one that is, for a person
	Base     *snapshot.Snapshot // it, with the IDs of the present one
	Deltas   []snapshot.Delta
	Findings []snapshot.Finding // what of it matters
}

// mark is one difference, as it stands in the tree.
type mark struct {
	text  string
	style style
}

// legendWords are the signs that marks begin with.
var legendWords = []struct{ sign, text string }{
	{"-", "gone"}, {"+", "new"}, {"~", "other, not worse"}, {"!", "worse"}, {"?", "could not be told this time"},
}

type marks struct {
	drift    *Drift
	now      *snapshot.Snapshot
	kinds    snapshot.Kinds
	deltas   map[snapshot.Key][]snapshot.Delta
	findings map[snapshot.Key][]*snapshot.Finding
	messages map[string][]*snapshot.Subject // of the kernel's, new, by what they speak of
	used     []string                       // signs
}

func newMarks(d *Drift, now *snapshot.Snapshot, kinds snapshot.Kinds) *marks {
	m := &marks{drift: d, now: now, kinds: kinds, deltas: map[snapshot.Key][]snapshot.Delta{}, findings: map[snapshot.Key][]*snapshot.Finding{}, messages: map[string][]*snapshot.Subject{}}
	if d == nil {
		return m
	}
	for _, delta := range d.Deltas {
		m.deltas[delta.Key] = append(m.deltas[delta.Key], delta)
		if s := now.Subject(delta.Key); s != nil && delta.Key.Kind == "kernel.message" && delta.Change == snapshot.Added && s.Text("severity") != "info" {
			m.messages[s.Parent] = append(m.messages[s.Parent], s)
		}
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		k := snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID}
		m.findings[k] = append(m.findings[k], f)
	}
	return m
}

// told reports whether there is something to say of a subject, so that it must be seen.
func (m *marks) told(k snapshot.Key, gone bool) bool { return len(m.findings[k]) > 0 }

// of gives a node's marks, and those of what is told on its line.
func (m *marks) of(n *node) []mark {
	if m.drift == nil {
		return nil
	}
	var out []mark
	for i, s := range append([]*snapshot.Subject{n.sub}, n.also...) {
		for _, d := range m.deltas[s.Key()] {
			if i > 0 && d.Attr == "" && len(m.findings[s.Key()]) == 0 {
				continue // it came or went with what it is told with
			}
			out = append(out, m.mark(s, d)...)
		}
		out = append(out, m.unsaid(s)...)
		out = append(out, m.spoken(s)...)
	}
	return out
}

func (m *marks) sign(sign, text string, st style) mark {
	if !slices.Contains(m.used, sign) {
		m.used = append(m.used, sign)
	}
	return mark{sign + " " + flat(text), st}
}

// mark is what one difference is called.
func (m *marks) mark(s *snapshot.Subject, d snapshot.Delta) []mark {
	if d.Attr == "" {
		switch d.Change {
		case snapshot.Removed:
			return []mark{m.sign("-", "gone", m.colour(s.Key(), "", red))}
		case snapshot.Added:
			return []mark{m.sign("+", "new", green)}
		case snapshot.Lost:
			return []mark{m.sign("?", "could not be read", yellow)}
		}
		return nil
	}
	f := m.finding(s.Key(), d.Attr)
	if same := toldBy[d.Attr]; same != "" && m.changed(s.Key(), same) {
		return nil
	}
	if same := tells(d.Attr); f == nil && same != "" {
		f = m.finding(s.Key(), same)
	}
	switch {
	case d.Change == snapshot.Lost:
		return m.unlessUsual(f, m.sign, "?", factName(d.Attr)+" could not be read")
	case d.Attr == "name" && d.Change == snapshot.Changed:
		return []mark{m.sign("~", "renamed (was "+m.words(s, d.Attr, d.Old)+")", m.colour(s.Key(), d.Attr, plain))}
	case d.Attr == "driver" && d.Change == snapshot.Changed && m.words(s, d.Attr, d.New) == "none":
		return []mark{m.sign("!", m.change(s, d), m.worst(s.Key()))}
	case d.Attr == "driver" && d.Change == snapshot.Changed && m.words(s, d.Attr, d.Old) == "none":
		return []mark{m.sign("~", m.change(s, d), plain)}
	case f == nil && !m.worth(s, d):
		return nil
	case f == nil || f.Severity == snapshot.Info:
		return []mark{m.sign("~", m.change(s, d), plain)}
	}
	return []mark{m.sign("!", m.change(s, d), severityStyles[f.Severity])}
}

// toldBy are attributes that say in other words what another one says.
var toldBy = map[string]string{"generation": "speed_bits", "link_full_speed": "slot_speed_bits"}

func tells(attr string) string {
	for other, by := range toldBy {
		if by == attr {
			return other
		}
	}
	return ""
}

func (m *marks) changed(k snapshot.Key, attr string) bool {
	return slices.ContainsFunc(m.deltas[k], func(d snapshot.Delta) bool { return d.Attr == attr })
}

// unlessUsual says that an attribute could not be read only where a rule cares for it.
func (m *marks) unlessUsual(f *snapshot.Finding, sign func(string, string, style) mark, s, text string) []mark {
	if f == nil {
		return nil
	}
	return []mark{sign(s, text, yellow)}
}

// worth reports whether a difference that no rule speaks of is shown: what a person
// would ask for first.
func (m *marks) worth(s *snapshot.Subject, d snapshot.Delta) bool {
	return d.Attr == "driver" || d.Attr == "speed_bits" || d.Attr == "state" || d.Attr == "carrier"
}

// change is a difference in words: slower, no driver, or the value with what it was.
func (m *marks) change(s *snapshot.Subject, d snapshot.Delta) string {
	was, is := m.words(s, d.Attr, d.Old), m.words(s, d.Attr, d.New)
	a, ok1 := d.Old.Number()
	b, ok2 := d.New.Number()
	switch {
	case d.Change == snapshot.Removed:
		return "no " + factName(d.Attr) + " (was " + was + ")"
	case d.Change == snapshot.Added || d.Change == snapshot.Regained:
		return factName(d.Attr) + " " + is
	case d.Attr == "driver" && is == "none":
		return "no driver (was " + was + ")"
	case d.Attr == "speed_bits" && ok1 && ok2:
		return map[bool]string{true: "slower ", false: "faster "}[b < a] + is + " (was " + was + ")"
	}
	return factName(d.Attr) + " " + is + " (was " + was + ")"
}

func (m *marks) words(s *snapshot.Subject, attr string, v snapshot.Value) string {
	t := tree{p: newPage(nil, Options{}), kinds: m.kinds}
	return cut(t.value(s.Kind, attr, v), 60)
}

// worst is the colour of the worst finding on a subject.
func (m *marks) worst(k snapshot.Key) style {
	worst := snapshot.Warning
	for _, f := range m.findings[k] {
		if f.Severity.Rank() > worst.Rank() {
			worst = f.Severity
		}
	}
	return severityStyles[worst]
}

func (m *marks) finding(k snapshot.Key, attr string) *snapshot.Finding {
	for _, f := range m.findings[k] {
		if f.Attr == attr {
			return f
		}
	}
	return nil
}

// colour is that of the finding on an attribute, or of the subject's own where it is gone.
func (m *marks) colour(k snapshot.Key, attr string, otherwise style) style {
	if f := m.finding(k, attr); f != nil {
		return severityStyles[f.Severity]
	}
	return otherwise
}

// unsaid are the findings that no difference of an exact attribute told: a sensor above its limit.
func (m *marks) unsaid(s *snapshot.Subject) []mark {
	var out []mark
	for _, f := range m.findings[s.Key()] {
		said := slices.ContainsFunc(m.deltas[s.Key()], func(d snapshot.Delta) bool { return d.Attr == f.Attr })
		if said || f.Severity == snapshot.Info {
			continue
		}
		out = append(out, m.sign("!", cut(f.Message, longText), severityStyles[f.Severity]))
	}
	return out
}

// mostMessages is how many of the kernel's messages are shown of one device.
const mostMessages = 3

// spoken are the kernel's new messages of a subject.
func (m *marks) spoken(s *snapshot.Subject) []mark {
	var out []mark
	all := m.messages[s.Key().String()]
	for i, msg := range all {
		if i == mostMessages {
			out = append(out, m.sign("!", fmt.Sprintf("and %d more kinds of kernel messages", len(all)-i), yellow))
			break
		}
		severity := snapshot.Severity(strings.TrimSpace(msg.Text("severity")))
		out = append(out, m.sign("!", "kernel: "+cut(msg.Text("first"), 200), severityStyles[severity]))
	}
	return out
}
