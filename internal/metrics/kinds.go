package metrics

import (
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
)

// kind adds what a kind's declaration makes of its subjects.
func (b *builder) kind(k *snapshot.Kind, subjects []snapshot.Subject, base *snapshot.Snapshot) {
	states := judgedStates(k)
	for i := range subjects {
		s := &subjects[i]
		b.info(k, s)
		var old *snapshot.Subject
		if base != nil {
			old = base.Subject(s.Key())
		}
		for j := range k.Attrs {
			b.number(k, &k.Attrs[j], s, old)
			b.level(k, &k.Attrs[j], s)
			b.members(k, &k.Attrs[j], s)
		}
	}
	for j := range k.Attrs {
		if a := &k.Attrs[j]; states[a.Name] != nil {
			b.states(k, a, subjects, states[a.Name])
		}
	}
}

// info adds a subject's texts. Evidence is left out: it may be anything, of any length.
func (b *builder) info(k *snapshot.Kind, s *snapshot.Subject) {
	labels := []label{{"id", s.ID}, {"name", s.Name()}, {"outcome", string(s.Outcome)}, {"parent", s.Parent}}
	for _, a := range k.Attrs {
		if a.Noise == snapshot.Evidence || a.Name == k.AliasAttr {
			continue
		}
		if text, ok := textOf(s, a.Name); ok {
			labels = append(labels, label{labelName(a.Name), text})
		}
	}
	b.add(metricName(k.Name, "info"), sentence(k.Doc), 1, labels...)
}

// textOf is an attribute as a text: one, or yes or no. A set is none, for its members
// come and go.
func textOf(s *snapshot.Subject, attr string) (string, bool) {
	v, ok := s.Attrs[attr]
	_, number := v.Number()
	_, list := v.Items()
	return v.String(), ok && !number && !list
}

// number adds an attribute that is a number, what it was, and how far its limit is.
func (b *builder) number(k *snapshot.Kind, a *snapshot.Attr, s, old *snapshot.Subject) {
	v, ok := s.Attrs[a.Name].Number()
	if !ok || a.Noise == snapshot.Evidence {
		return
	}
	m, id := measureOf(a), label{"id", s.ID}
	if a.Cumulative {
		b.count(metricName(k.Name, counterName(m.name)), sentence(a.Doc), v*m.factor, id)
	} else {
		b.add(metricName(k.Name, m.name), sentence(a.Doc), v*m.factor, id)
	}
	if limit, ok := limitOf(a, s); ok {
		b.add(metricName(k.Name, m.name, "headroom_ratio"), "What is left of the limit, as a share of it: "+a.Name+".", (limit-v)/limit, id)
	}
	if old == nil || a.Noise != snapshot.Exact || a.Better == snapshot.NeitherBetter {
		return
	}
	if was, ok := old.Attrs[a.Name].Number(); ok {
		b.add(metricName(k.Name, "baseline", m.name), "At the last good boot: "+a.Name+".", was*m.factor, id)
	}
}

// limitOf is the limit that a subject bears, or the attribute's fixed one.
func limitOf(a *snapshot.Attr, s *snapshot.Subject) (float64, bool) {
	limit := a.Limit
	if v, ok := s.Attrs[a.LimitAttr].Number(); ok && a.LimitAttr != "" {
		limit = v
	}
	return limit, limit > 0
}

// level adds where a text stands in its order, the best being 0.
func (b *builder) level(k *snapshot.Kind, a *snapshot.Attr, s *snapshot.Subject) {
	text, ok := textOf(s, a.Name)
	at := slices.Index(a.Order, text)
	if !ok || at < 0 {
		return
	}
	var names []string
	for i, o := range a.Order {
		names = append(names, fmt.Sprintf("%d %s", i, o))
	}
	b.add(metricName(k.Name, unreserved(word(a.Name)), "level"), "How bad it is: "+clean(strings.Join(names, ", "))+".", float64(at), label{"id", s.ID})
}

// members adds how many a set holds, where more or fewer of them are worse: the warnings
// of a disk, the critical events in a log. Which they are is not for a label: they come
// and go.
func (b *builder) members(k *snapshot.Kind, a *snapshot.Attr, s *snapshot.Subject) {
	items, ok := s.Attrs[a.Name].Items()
	if !ok || a.Noise == snapshot.Evidence || a.Better == snapshot.NeitherBetter || a.Unit != snapshot.NoUnit {
		return
	}
	b.add(metricName(k.Name, word(a.Name), "members"), "How many there are: "+a.Name+".", float64(len(items)), label{"id", s.ID})
}

// judgedStates are the attributes whose states a rule speaks of, with those states.
func judgedStates(k *snapshot.Kind) map[string][]string {
	out := map[string][]string{}
	for _, r := range k.Rules {
		if r.On == snapshot.OnBecomes || r.On == snapshot.OnIs {
			out[r.Attr] = append(append(out[r.Attr], r.From...), r.To...)
		}
	}
	return out
}

// maxStates bounds the states of an attribute that are told apart.
const maxStates = 32

// states counts the subjects in each state; one that is declared and not there is 0.
func (b *builder) states(k *snapshot.Kind, a *snapshot.Attr, subjects []snapshot.Subject, declared []string) {
	n := map[string]int{}
	order := []string{}
	count := func(state string, by int) {
		if _, seen := n[state]; !seen {
			if len(order) == maxStates {
				state = "other"
			}
			if !slices.Contains(order, state) {
				order = append(order, state)
			}
		}
		n[state] += by
	}
	for _, state := range append(slices.Clone(declared), a.Order...) {
		count(clean(state), 0)
	}
	for i := range subjects {
		if text, ok := textOf(&subjects[i], a.Name); ok {
			count(clean(text), 1)
		}
	}
	slices.Sort(order)
	for _, state := range order {
		if state != "" {
			b.add(metricName(k.Name, unreserved(word(a.Name)), "subjects"), "How many are in each state: "+a.Name+".", float64(n[state]), label{labelName(a.Name), state})
		}
	}
}

// outcomes are those of every subject.
func outcomes() []snapshot.Outcome {
	return []snapshot.Outcome{snapshot.Inconclusive, snapshot.Measured, snapshot.Skipped, snapshot.Unsupported}
}

// subjects counts what was looked at, by kind and by how well it could be observed.
func (b *builder) subjects(s *snapshot.Snapshot) {
	for _, group := range byKind(s) {
		n := map[snapshot.Outcome]int{}
		for i := range group {
			n[group[i].Outcome]++
		}
		for _, o := range outcomes() {
			b.add("lastgood_subjects", "What the last snapshot holds, by kind and by how well it could be observed.", float64(n[o]), label{"kind", group[0].Kind}, label{"outcome", string(o)})
		}
	}
}

// drift counts, kind by kind, what is missing, new, known by another name and could not
// be told, against the last good boot.
func (b *builder) drift(in Input) {
	n := map[string]map[string]int{}
	for _, s := range []*snapshot.Snapshot{in.Base, in.Snapshot} {
		for i := range s.Subjects {
			if n[s.Subjects[i].Kind] == nil {
				n[s.Subjects[i].Kind] = map[string]int{}
			}
		}
	}
	for _, d := range compare.Diff(in.Base, in.Snapshot, in.Kinds) {
		if change := driftOf(d); change != "" && n[d.Key.Kind] != nil {
			n[d.Key.Kind][change]++
		}
	}
	for _, kind := range sortedKeys(n) {
		for _, change := range []string{"lost", "missing", "new", "regained", "renamed"} {
			b.add("lastgood_drift_subjects", "What differs from the last good boot, by kind: missing, new, renamed, lost where it could not be told this time, regained where it could not be told then.", float64(n[kind][change]), label{"kind", kind}, label{"change", change})
		}
	}
}

// driftOf is what a difference counts as, "" for none of these. The attribute "name" is
// what the kernel calls a thing today, by the convention of every kind that has one.
func driftOf(d snapshot.Delta) string {
	switch {
	case d.Attr == "" && d.Change == snapshot.Removed:
		return "missing"
	case d.Attr == "" && d.Change == snapshot.Added:
		return "new"
	case d.Attr == "" && d.Change == snapshot.Lost:
		return "lost"
	case d.Attr == "" && d.Change == snapshot.Regained:
		return "regained"
	case d.Attr == "name" && d.Change == snapshot.Changed:
		return "renamed"
	}
	return ""
}
