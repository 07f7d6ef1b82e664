package page

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// findingView is one finding with the evidence for it.
type findingView struct {
	ID       string // of the element
	Severity string
	Code     string
	Class    string
	Text     string
	Subject  string
	Attr     string
	Old, New string
	Ratio    string
	Hint     []piece
	Why      whyView
}

// whyView is what a finding rests on.
type whyView struct {
	Evidence  string
	Cut       bool // there is more of it on the page of findings
	Facts     []change
	Details   []detail
	Messages  []string
	Explained string
	Behind    []string
	Parent    string
}

// detail is a text that was kept as it was read: a path, the end of a log.
type detail struct {
	Name, Text string
	Long       bool
}

// Any reports whether there is anything to open.
func (w *whyView) Any() bool {
	return w.Evidence != "" || len(w.Facts)+len(w.Details)+len(w.Messages)+len(w.Behind) > 0 || w.Explained != ""
}

// remarks are findings for information only, by code: a new kernel brings dozens.
type remarks struct {
	Code  string
	Count int
	First []findingView
	More  int
}

// evidence looks up what findings rest on.
type evidence struct {
	in       *Input
	base     *snapshot.Snapshot // with the IDs of the present one
	messages map[string][]string
	room     int // runes of evidence that the page still takes
}

func newEvidence(in *Input, base *snapshot.Snapshot, room int) *evidence {
	e := &evidence{in: in, base: base, messages: map[string][]string{}, room: room}
	if in.Snapshot == nil {
		return e
	}
	for i := range in.Snapshot.Subjects {
		s := &in.Snapshot.Subjects[i]
		if s.Kind == "kernel.message" && s.Parent != "" && len(e.messages[s.Parent]) < 5 {
			if text := report.Flat(s.Text("first"), longText); text != "" {
				e.messages[s.Parent] = append(e.messages[s.Parent], text)
			}
		}
	}
	return e
}

// aligned is the last good snapshot with the IDs that the present one knows its subjects by.
func aligned(in *Input) *snapshot.Snapshot {
	if in.Base == nil || in.Snapshot == nil {
		return in.Base
	}
	return compare.Align(in.Base, in.Snapshot, in.Kinds)
}

func (e *evidence) finding(f *snapshot.Finding) findingView {
	v := findingView{ID: findingAnchor(f), Severity: severity(f.Severity), Code: clean(f.Code), Class: clean(string(f.Class)),
		Text: report.Flat(report.Said(f), longText), Subject: clean(f.Subject.Kind + "/" + f.Subject.ID), Attr: clean(f.Attr), Hint: hintOf(f)}
	v.Old, v.New, v.Ratio = report.Values(f)
	v.Why = e.why(f)
	return v
}

// severity is one of the three; what another version calls otherwise is shown as a remark.
func severity(s snapshot.Severity) string {
	if s.Rank() == 0 {
		return string(snapshot.Info)
	}
	return string(s)
}

func (e *evidence) why(f *snapshot.Finding) whyView {
	k := snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID}
	var w whyView
	w.Evidence, w.Cut = e.take(strings.TrimSpace(f.Evidence))
	var now, old *snapshot.Subject
	if e.in.Snapshot != nil {
		now = e.in.Snapshot.Subject(k)
	}
	if e.base != nil {
		old = e.base.Subject(k)
	}
	w.Facts = e.facts(old, now)
	if s := cmp.Or(now, old); s != nil {
		w.Details = e.details(s, f.Evidence)
		w.Parent = clean(s.Parent)
	}
	for _, m := range e.messages[k.String()] {
		text, _ := e.take(m)
		w.Messages = append(w.Messages, text)
	}
	w.Explained, _ = e.take(e.in.Explained[k])
	for i, b := range f.Behind {
		if i == 50 {
			w.Behind = append(w.Behind, plural(len(f.Behind)-i, "more", "more"))
			break
		}
		w.Behind = append(w.Behind, clean(b.Kind+"/"+cmp.Or(b.Label, b.ID)))
	}
	return w
}

// take is as much of a text as the page has room for: its end, where a log tells most.
func (e *evidence) take(s string) (text string, short bool) {
	most := max(min(wholeText, e.room), 300)
	s = report.Lines(s, 64<<10)
	if n := utf8.RuneCountInString(s); n > most {
		r := []rune(s)
		head := most / 4
		s, short = string(r[:head])+"\n[…]\n"+string(r[n-(most-head):]), true
	}
	e.room -= utf8.RuneCountInString(s)
	return s, short
}

// mostFacts bounds the rows of what else of a subject differs.
const mostFacts = 14

// facts are the attributes that differ, in the order of their declaration.
func (e *evidence) facts(old, now *snapshot.Subject) []change {
	if old == nil || now == nil {
		return nil
	}
	var out []change
	for _, name := range attrsOf(e.in.Kinds[now.Kind], old, now) {
		a, b := old.Attrs[name], now.Attrs[name]
		if a.Equal(b) {
			continue
		}
		if len(out) == mostFacts {
			break
		}
		out = append(out, change{clean(report.FactName(name)), valueText(e.in.Kinds, now.Kind, name, a), valueText(e.in.Kinds, now.Kind, name, b)})
	}
	return out
}

// attrsOf are the names of the attributes that may be compared, declared ones first.
func attrsOf(k *snapshot.Kind, subjects ...*snapshot.Subject) []string {
	var names []string
	evidence := map[string]bool{}
	if k != nil {
		for _, a := range k.Attrs {
			evidence[a.Name] = a.Noise == snapshot.Evidence || a.Name == k.AliasAttr
			names = append(names, a.Name)
		}
	}
	more := map[string]bool{}
	for _, s := range subjects {
		for n := range s.Attrs {
			more[n] = !slices.Contains(names, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(more)) {
		if more[n] {
			names = append(names, n)
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return evidence[n] })
}

func valueText(kinds snapshot.Kinds, kind, attr string, v snapshot.Value) string {
	if text := report.Flat(report.Value(kinds, kind, attr, v), 160); !v.IsZero() && text != "" {
		return text
	}
	return "–"
}

// details are the texts that the subject bears as evidence and the finding does not quote.
func (e *evidence) details(s *snapshot.Subject, quoted string) []detail {
	k := e.in.Kinds[s.Kind]
	if k == nil {
		return nil
	}
	var out []detail
	for _, a := range k.Attrs {
		v, ok := s.Attrs[a.Name]
		text := strings.TrimSpace(v.String())
		if !ok || a.Noise != snapshot.Evidence || text == "" || len(text) > 8 && strings.Contains(quoted, text) {
			continue
		}
		text, _ = e.take(text)
		out = append(out, detail{clean(report.FactName(a.Name)), text, strings.Contains(text, "\n") || len(text) > 100})
	}
	for _, n := range slices.Sorted(maps.Keys(s.Errs)) {
		out = append(out, detail{Name: clean(report.FactName(n)), Text: "could not be read: " + report.Flat(s.Errs[n], longText)})
	}
	return out[:min(len(out), 12)]
}

// divide takes findings apart: those that weigh, worst first, and the remarks.
func divide(findings []snapshot.Finding) (weighty, info []*snapshot.Finding) {
	for _, f := range report.WorstFirst(findings) {
		if f.Severity == snapshot.Critical || f.Severity == snapshot.Warning {
			weighty = append(weighty, f)
		} else {
			info = append(info, f)
		}
	}
	return weighty, info
}

// grouped are remarks by code, in the order in which the codes come first.
func (e *evidence) grouped(info []*snapshot.Finding, codes, each int) (out []remarks, left int) {
	where := map[string]int{}
	for _, f := range info {
		i, known := where[f.Code]
		if !known {
			if len(out) == codes {
				left++
				continue
			}
			i = len(out)
			where[f.Code], out = i, append(out, remarks{Code: clean(f.Code)})
		}
		if out[i].Count++; len(out[i].First) < each {
			v := e.finding(f)
			v.Why = whyView{} // on the page of findings
			out[i].First = append(out[i].First, v)
		} else {
			out[i].More++
		}
	}
	return out, left
}
