package page

import (
	"fmt"
	"strings"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// verdictView is the first screen: is this host as good as at its last good boot?
type verdictView struct {
	Level    string // good, bad, warn or none: how it is drawn
	Word     string // the verdict's own word
	Headline string
	Sentence []piece
	Worst    *worstView // stands for the sentence where the boot is worse
	Now      *kernelView
	Base     *kernelView
	Changed  string
	Learned  string
	Taken    moment
	Next     [][]piece
	Notes    [][]piece
	Gate     string
	Held     bool
	Counts   []countView
	Measured string
}

// kernelView is one of the two boots that are compared.
type kernelView struct {
	Release string
	Facts   []pair
	Warn    string // what is not as it should be
	Why     string
}

// pair is a name and what it stands for; When is set where that is a time.
type pair struct {
	Name, Text string
	When       moment
}

// countView is how many findings there are of a severity.
type countView struct {
	Severity string
	Text     string
}

// headlines say each verdict as one would to a colleague.
var headlines = map[snapshot.Verdict]struct{ level, text string }{
	snapshot.Good:       {"good", "As good as the last good boot"},
	snapshot.Learned:    {"good", "First boot: learned as the last good one"},
	snapshot.Regressed:  {"bad", "Worse than the last good boot"},
	snapshot.Incomplete: {"warn", "Not everything could be measured"},
	snapshot.Invalid:    {"bad", "Not the boot that was meant"},
}

func verdictOf(in *Input) *verdictView {
	r := in.Report
	if r == nil {
		return &verdictView{Level: "none", Word: "no result yet", Headline: "This host was not checked yet", Gate: gateText(in), Held: in.Held,
			Sentence: pieces("`lastgood check` compares this boot with the last good one; the first run learns")}
	}
	h, known := headlines[r.Verdict]
	if !known {
		h.level, h.text = "warn", "No verdict"
	}
	v := &verdictView{Level: h.level, Word: clean(string(r.Verdict)), Headline: h.text, Taken: at(r.Taken), Gate: gateText(in), Held: in.Held, Sentence: pieces(strings.TrimRight(report.Sentence(r), ". "))}
	if len(v.Sentence) > 0 {
		v.Sentence[0].Text = upperFirst(v.Sentence[0].Text)
	}
	if r.Current != nil {
		v.Now = running(r)
	}
	if r.Baseline != nil {
		v.Base = lastGood(r)
		v.Changed = report.ChangedFacts(r)
		v.Learned = strings.TrimPrefix(report.LearnedFrom(r.Learned), ", ")
	}
	for _, n := range r.Next {
		v.Next = append(v.Next, pieces(n))
	}
	for _, n := range r.Notes[:min(len(r.Notes), 10)] {
		v.Notes = append(v.Notes, pieces(n))
	}
	v.Counts, v.Measured = counts(r), measured(r)
	if r.Verdict == snapshot.Regressed {
		v.Worst = worstOf(r)
	}
	return v
}

// worstView is what is worst, for who reads no further, and how much else there is.
type worstView struct{ Text, Link, More string }

func worstOf(r *report.Report) *worstView {
	weighty, _ := divide(r.Findings)
	if len(weighty) == 0 {
		return nil
	}
	n := map[snapshot.Severity]int{}
	for _, f := range weighty[1:] {
		n[f.Severity]++
	}
	var more []string
	if c := n[snapshot.Critical]; c > 0 {
		more = append(more, plural(c, "more critical finding", "more critical findings"))
	}
	if w := n[snapshot.Warning]; w > 0 {
		more = append(more, plural(w, "warning", "warnings"))
	}
	return &worstView{Text: upperName(report.Flat(report.Said(weighty[0]), 300)), Link: findingAnchor(weighty[0]), More: strings.Join(more, " and ")}
}

// upperName begins a sentence, unless it begins with a name: a path, a program's, a device's.
func upperName(s string) string {
	if word, _, _ := strings.Cut(s, " "); strings.ContainsAny(word, "/._-:0123456789") {
		return s
	}
	return upperFirst(s)
}

// measured says what the verdict rests on.
func measured(r *report.Report) string {
	programs, devices, rest := 0, 0, 0
	for _, c := range r.Counts {
		switch {
		case c.Kind == kindProgram || c.Kind == kindLoaded || c.Kind == kindProbe:
			programs += c.Measured
		case device(c.Kind):
			devices += c.Measured
		default:
			rest += c.Measured
		}
	}
	if programs+devices+rest == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %s and %s", plural(programs, "program", "programs"), plural(devices, "device or sensor", "devices and sensors"), plural(rest, "other fact", "other facts"))
}

// gateText is what the gate does; that nothing is under way goes without saying.
func gateText(in *Input) string {
	return report.Flat(strings.TrimRight(strings.TrimPrefix(in.Gate, "nothing is under way; "), ". "), longText)
}

func upperFirst(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func running(r *report.Report) *kernelView {
	k := &kernelView{Release: orUnknown(r.Current.Kernel.Release)}
	k.Facts = append(k.Facts, pair{Name: "checked", When: at(r.Taken)})
	if b := r.Boot; b != nil && b.Class != "" {
		text := clean(b.Class)
		if b.Class != string(boot.AsIntended) {
			k.Warn, k.Why = upperFirst(text), report.Flat(b.Why, longText)
		} else {
			k.Facts = append(k.Facts, pair{Name: "booted", Text: text})
		}
	}
	k.Facts = append(k.Facts, ids(r.Current)...)
	return k
}

func lastGood(r *report.Report) *kernelView {
	k := &kernelView{Release: orUnknown(r.Baseline.Kernel.Release)}
	if !r.Accepted.IsZero() {
		k.Facts = append(k.Facts, acceptedOf(r.Accepted, r.AcceptedBy))
	}
	k.Facts = append(k.Facts, ids(r.Baseline)...)
	return k
}

// acceptedOf says when a boot became the last good one, and by whom.
func acceptedOf(when time.Time, by string) pair {
	switch by = clean(by); by {
	case baseline.ByLearned:
		return pair{Name: "learned", When: at(when), Text: "on the first run"}
	case "":
		return pair{Name: "accepted", When: at(when)}
	}
	return pair{Name: "accepted", When: at(when), Text: "by " + by}
}

// ids are what names a boot and a kernel build beyond doubt.
func ids(id *snapshot.Identity) []pair {
	var out []pair
	if id.Kernel.BuildID != "" {
		out = append(out, pair{Name: "build", Text: start(id.Kernel.BuildID, 12)})
	}
	if id.BootID != "" {
		out = append(out, pair{Name: "boot", Text: start(id.BootID, 8)})
	}
	return out
}

func orUnknown(s string) string {
	if s = clean(s); s == "" {
		return "unknown kernel"
	}
	return s
}

func counts(r *report.Report) []countView {
	n := map[snapshot.Severity]int{}
	for i := range r.Findings {
		n[r.Findings[i].Severity]++
	}
	var out []countView
	for _, c := range []struct {
		s         snapshot.Severity
		one, more string
	}{{snapshot.Critical, "critical", "critical"}, {snapshot.Warning, "warning", "warnings"}, {snapshot.Info, "info", "info"}} {
		if n[c.s] > 0 {
			out = append(out, countView{string(c.s), plural(n[c.s], c.one, c.more)})
		}
	}
	return out
}

// hostName is what this host calls itself, "" where nobody asked.
func hostName(s *snapshot.Snapshot) string {
	if s == nil {
		return ""
	}
	for i := range s.Subjects {
		if s.Subjects[i].Kind == "host.name" {
			return clean(s.Subjects[i].Text("name"))
		}
	}
	return ""
}

// sinceView is what changed on the host since the last good boot.
type sinceView struct {
	Facts        []change
	Transactions []transactionView
	More         int
	Rebooted     string
	Notes        []string
}

type change struct{ Name, Old, New string }

type transactionView struct{ Told, Packages string }

const mostTransactions = 8

func sinceOf(r *report.Report) *sinceView {
	if r == nil || r.Since.Empty() {
		return nil
	}
	s := r.Since
	v := &sinceView{Rebooted: report.Flat(s.Reboot.Told(), longText)}
	for _, f := range s.Facts[:min(len(s.Facts), 40)] {
		v.Facts = append(v.Facts, change{clean(f.What), report.Flat(f.Old, 300), report.Flat(f.New, 300)})
	}
	v.More = max(0, len(s.Transactions)-mostTransactions)
	for i := range s.Transactions[v.More:] {
		t := &s.Transactions[v.More+i]
		v.Transactions = append(v.Transactions, transactionView{report.Flat(t.Told(), longText), report.Flat(t.PackagesTold(), longText)})
	}
	for _, n := range s.Notes[:min(len(s.Notes), 10)] {
		v.Notes = append(v.Notes, report.Flat(n, longText))
	}
	return v
}
