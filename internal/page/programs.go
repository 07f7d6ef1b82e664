package page

import (
	"cmp"
	"fmt"
	"slices"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// barView is one program against its limit.
type barView struct {
	Name     string
	Workload bool   // of this node, not a built-in one
	Loaded   bool   // as it runs, not as its object was measured
	Level    string // "", low, rejected, "before": rejected as at the last good boot, or "meant": at a limit on purpose
	Meant    bool   // it was made to stand beside a limit, and does
	Share    float64
	HasWas   bool
	FillW    string // of the bar, in per cent
	WasX     string
	FloorX   string
	Used     string // "61 %"
	Amount   string // "612,004 of 1,000,000 insns"
	Before   string // "104,233" at the last good boot
	Same     bool   // it was the same then
	Verdict  string
	Link     string // anchor of a finding on it
	URL      string // where that is
	Said     string // all of it in a sentence
}

// barsView are the programs that a page shows.
type barsView struct {
	all        []barView
	Workload   []barView
	Builtin    []barView
	Rest       []barView // shown where somebody opens them
	Total      int
	Unmeasured int
	More       int
	Threshold  string // what is low headroom
}

// defaultFloor is the share of the limit below which headroom is low, where no rule says.
const defaultFloor = 0.2

// shapeLimit is what the catalogue calls families that try a limit from both sides: one program
// stands just within it and one just beyond.
const shapeLimit = "limit"

// floorOf is what the kind's rule on headroom asks for.
func floorOf(kinds snapshot.Kinds, kind string) float64 {
	if k := kinds[kind]; k != nil {
		for _, r := range k.Rules {
			if r.On == snapshot.OnHeadroom && r.Share > 0 {
				return r.Share
			}
		}
	}
	return defaultFloor
}

// bars are all programs of the newest snapshot, this node's own first, those nearest to
// their limit first.
func bars(in *Input, base *snapshot.Snapshot) barsView {
	floor := floorOf(in.Kinds, kindProgram)
	v := barsView{Threshold: percent(floor * 100)}
	if in.Snapshot == nil {
		return v
	}
	links := findingLinks(in.Report)
	for i := range in.Snapshot.Subjects {
		s := &in.Snapshot.Subjects[i]
		if s.Kind != kindProgram && s.Kind != kindLoaded && s.Kind != kindProbe {
			continue
		}
		p, ok := programOf(s)
		if !ok {
			if s.Kind != kindLoaded {
				v.Unmeasured++
			}
			continue
		}
		b := barOf(s, p, oldProgram(base, s), floor)
		b.Link = links[s.Key()]
		v.all = append(v.all, b)
	}
	v.Total = len(v.all)
	slices.SortStableFunc(v.all, func(a, b barView) int {
		return cmp.Or(-compareBool(a.Workload, b.Workload), -compareBool(a.Link != "", b.Link != ""), compareBool(a.Meant, b.Meant), compareBool(a.Level == "before", b.Level == "before"), cmp.Compare(b.Share, a.Share))
	})
	return v
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// findingLinks are the anchors of the worst weighty finding of each subject.
func findingLinks(r *report.Report) map[snapshot.Key]string {
	out := map[snapshot.Key]string{}
	if r == nil {
		return out
	}
	weighty, _ := divide(r.Findings)
	for _, f := range weighty {
		k := snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID}
		if out[k] == "" {
			out[k] = findingAnchor(f)
		}
	}
	return out
}

func oldProgram(base *snapshot.Snapshot, s *snapshot.Subject) *Program {
	if base == nil {
		return nil
	}
	old := base.Subject(s.Key())
	if old == nil {
		return nil
	}
	if p, ok := programOf(old); ok && p.Digest == s.Text("program") { // of another program it says nothing
		return &p
	}
	return nil
}

func barOf(s *snapshot.Subject, p Program, old *Program, floor float64) barView {
	b := barView{Name: clean(s.Name()), Workload: s.Kind != kindProbe, Loaded: s.Kind == kindLoaded, Verdict: clean(p.Verdict), Amount: "insns not counted"}
	if p.Insns >= 0 {
		b.Amount = count(p.Insns) + " insns"
	}
	if p.Insns >= 0 && p.Limit > 0 {
		b.Share = share(p.Insns, p.Limit)
		b.Used = percent(p.Insns / p.Limit * 100)
		b.Amount = fmt.Sprintf("%s of %s insns", count(p.Insns), count(p.Limit))
	}
	b.Level = level(b.Workload, p, old, floor)
	b.Meant = s.Kind == kindProbe && s.Text("shape") == shapeLimit && (b.Level == "" || b.Level == "before")
	if b.Meant && b.Level == "" && b.Share > (1-floor)*100 {
		b.Level = "meant"
	}
	if old != nil && old.Insns >= 0 {
		b.Before = count(old.Insns)
		b.Same = old.Insns == p.Insns && old.Verdict == p.Verdict
		if old.Limit > 0 {
			b.WasX, b.HasWas = px(min(share(old.Insns, old.Limit), 99.5)), true
		}
		if old.Verdict != p.Verdict && old.Verdict != "" {
			b.Before = clean(old.Verdict) + " with " + b.Before
		}
	}
	b.FillW, b.FloorX = px(b.Share), px((1-floor)*100)
	if b.Level == "rejected" || b.Level == "before" {
		b.FillW = "100"
	}
	b.Said = b.said()
	return b
}

// level says how alarming a program is. Built-in ones stand beyond limits on purpose, so
// what was so at the last good boot, or where there is none yet, is no alarm.
func level(workload bool, p Program, old *Program, floor float64) string {
	low := func(p Program) bool { return p.Limit > 0 && p.Insns/p.Limit > 1-floor }
	switch {
	case p.Verdict == "rejected" && (old == nil && !workload || old != nil && old.Verdict == "rejected"):
		return "before"
	case p.Verdict == "rejected":
		return "rejected"
	case low(p) && (workload || old != nil && !low(*old)):
		return "low"
	}
	return ""
}

func (b *barView) said() string {
	text := b.Name + ": " + b.Amount
	if b.Used != "" {
		text += ", " + b.Used + " of the limit"
	}
	if b.Level == "rejected" || b.Level == "before" {
		text += ", rejected by the verifier"
	}
	if b.Meant {
		text += ", made to stand beside a limit"
	}
	if b.Before != "" {
		text += "; at the last good boot " + b.Before
	}
	return text
}

// first are those of the first page: of this node's own and of the built-in ones so many,
// and of the rest so many to be opened.
func (v barsView) first(workloads, builtin, rest int) *barsView {
	for _, b := range v.all {
		switch {
		case b.Workload && len(v.Workload) < workloads:
			v.Workload = append(v.Workload, b)
		case !b.Workload && len(v.Builtin) < builtin:
			v.Builtin = append(v.Builtin, b)
		case len(v.Rest) < rest:
			v.Rest = append(v.Rest, b)
		}
	}
	v.More = v.Total - len(v.Workload) - len(v.Builtin)
	return &v
}

// part are those from one place to another.
func (v barsView) part(from, to int) *barsView {
	for _, b := range v.all[from:min(to, len(v.all))] {
		if b.Workload {
			v.Workload = append(v.Workload, b)
		} else {
			v.Builtin = append(v.Builtin, b)
		}
	}
	return &v
}
