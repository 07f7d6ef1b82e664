package page

import (
	"cmp"
	"strings"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// mechanismView says what the findings on built-in programs mean for others.
type mechanismView struct{ Title, Family, Extent, Means string }

const mostMechanisms = 12

// mechanismsOf explains what got worse where a finding above a remark says so; the rest are names.
func mechanismsOf(r *report.Report) (explained []mechanismView, quiet string) {
	if r == nil {
		return nil, ""
	}
	var names []string
	for i := range r.Mechanisms {
		m := &r.Mechanisms[i]
		switch {
		case len(m.Worse) == 0:
		case m.Alarming && len(explained) < mostMechanisms:
			explained = append(explained, mechanismView{upperFirst(clean(m.Title)), clean(m.Family), report.Flat(m.Extent(), 300), report.Flat(m.Means, longText)})
		default:
			names = append(names, clean(m.Family))
		}
	}
	if len(explained) == 0 {
		return nil, "" // the findings say it all
	}
	return explained, report.Flat(strings.Join(names, ", "), longText)
}

// candidateView is an installed kernel that does not run and was judged by preflight.
type candidateView struct {
	Kernel, Verdict, Level, Summary string
	When                            moment
}

const mostCandidates = 8

func candidatesOf(r *report.Report) []candidateView {
	if r == nil {
		return nil
	}
	var out []candidateView
	for _, c := range r.Candidates[:min(len(r.Candidates), mostCandidates)] {
		out = append(out, candidateView{orUnknown(c.Kernel), clean(string(c.Verdict)), cmp.Or(verdictLevels[c.Verdict], "warn"), report.Flat(c.Summary, 300), at(c.Taken)})
	}
	return out
}

// hintOf is a hint as a sentence of its own.
func hintOf(f *snapshot.Finding) []piece {
	p := pieces(f.Hint)
	if len(p) > 0 && !p[0].Code {
		p[0].Text = upperFirst(p[0].Text)
	}
	return p
}
