package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"lastgood/internal/snapshot"
)

// Table writes the report for a person: the verdict, the kernels compared, the
// findings worst first, what could not be measured, what to do next.
func Table(w io.Writer, r *Report, o Options) error {
	p := newPage(w, o)
	p.line(verdictWord(r)+": ", verdictStyles[r.Verdict], sentence(r))
	if o.Quiet {
		return p.err
	}
	p.kernels(r)
	p.candidates(r)
	p.findings(r)
	p.mechanisms(r.Mechanisms)
	p.since(r)
	p.incomplete(r)
	for _, n := range r.Notes {
		p.line("  note: ", yellow, n)
	}
	if len(r.Next) > 0 {
		p.head("What to do next")
		for _, n := range r.Next {
			p.line("  ", plain, n)
		}
	}
	if o.Verbose {
		p.counts(r)
	}
	return p.err
}

// gluedIDs keeps what an identifier is of beside it.
var gluedIDs = strings.NewReplacer(", build ", ", build"+string(noBreak), ", boot ", ", boot"+string(noBreak), " UTC", string(noBreak)+"UTC")

func (p *page) kernels(r *Report) {
	if r.Current != nil {
		p.line(fmt.Sprintf("  %-11s", currentName(r)+":"), dim, gluedIDs.Replace(kernelLine(r.Current)))
	}
	if r.Baseline == nil {
		return
	}
	p.line(fmt.Sprintf("  %-11s", baselineName(r)+":"), dim, gluedIDs.Replace(baselineLine(r)))
	p.line("  changed:   ", dim, changed(r))
	if !p.o.Verbose {
		return
	}
	for _, c := range r.Changes {
		p.line("    "+c.Fact+": ", dim, orNone(c.Old)+" → "+orNone(c.New))
	}
}

func (p *page) findings(r *Report) {
	if len(r.Findings) == 0 {
		return
	}
	p.head("Findings")
	var codes []string
	remarks := map[string][]*snapshot.Finding{}
	for _, f := range worstFirst(r.Findings) {
		if f.Severity != snapshot.Info || p.o.Verbose {
			p.finding(f)
			continue
		}
		if remarks[f.Code] == nil {
			codes = append(codes, f.Code)
		}
		remarks[f.Code] = append(remarks[f.Code], f)
	}
	p.remarks(codes, remarks)
}

// remarks writes what is for information only, a line for each code where there
// are several of it, for a new kernel brings dozens: first those that stand alone.
func (p *page) remarks(codes []string, of map[string][]*snapshot.Finding) {
	const few, shown = 2, 3
	for _, code := range codes {
		for _, f := range of[code] {
			if len(of[code]) <= few {
				p.finding(f)
			}
		}
	}
	folded := false
	for _, code := range codes {
		n := len(of[code])
		if n <= few {
			continue
		}
		folded = true
		var names []string
		for _, f := range of[code][:shown] {
			names = append(names, flat(f.Subject.ID))
		}
		text := fmt.Sprintf("%s, %d times: %s", code, n, strings.Join(names, ", "))
		if n > shown {
			text += ", …"
		}
		p.line(fmt.Sprintf(findingLead, snapshot.Info), dim, text)
	}
	if folded {
		p.line(fmt.Sprintf(findingLead, ""), dim, "(-v lists them one by one)")
	}
}

// findingLead is the column of severities.
const findingLead = "  %-9s "

func (p *page) finding(f *snapshot.Finding) {
	p.line(fmt.Sprintf(findingLead, flat(string(f.Severity))), severityStyles[f.Severity], said(f))
	pad := strings.Repeat(" ", len(fmt.Sprintf(findingLead, "")))
	detail := flat(f.Subject.Kind + "/" + f.Subject.ID)
	if f.Attr != "" {
		detail += " " + f.Attr
	}
	if values := oldToNew(f); values != "" && !saysNumbers(f) {
		detail += ": " + glued(values)
	}
	p.line(pad, dim, detail+" "+glued("["+flat(string(f.Class)+", "+f.Code)+"]"))
	switch {
	case f.Hint == "":
	case f.Hint == p.hint:
		p.line(pad+"hint: ", dim, "as above")
	default:
		p.line(pad+"hint: ", dim, cut(f.Hint, longText))
	}
	p.hint = cmp.Or(f.Hint, p.hint)
	if p.o.Verbose && f.Evidence != "" {
		p.line(pad, dim, cut(f.Evidence, longEvidence))
	}
}

// incomplete groups what could not be measured by its reason, what counts first. What
// does not count is one line, unless more is asked for.
func (p *page) incomplete(r *Report) {
	groups := gapsByReason(r.Incomplete)
	if len(groups) == 0 {
		return
	}
	weightless := 0
	for _, g := range r.Incomplete {
		if !g.Counts {
			weightless++
		}
	}
	switch {
	case groups[0].counts || p.o.Verbose:
		p.head("Could not be measured")
	case len(r.Findings) > 0:
		p.write("\n")
	}
	for _, g := range groups {
		if !g.counts && !p.o.Verbose {
			break // these come last
		}
		const most = 4
		names := strings.Join(g.who[:min(most, len(g.who))], ", ")
		switch {
		case len(g.who) > most && p.o.Verbose:
			names = strings.Join(g.who, ", ")
		case len(g.who) > most:
			names += fmt.Sprintf(" and %d more", len(g.who)-most)
		}
		reason := cut(g.reason, longText)
		if !g.counts {
			reason += " (does not weigh on the verdict)"
		}
		p.line("  ", plain, names+": "+reason)
	}
	if weightless > 0 && !p.o.Verbose {
		p.line("  no answer: ", dim, weightlessText(weightless))
	}
}

func weightlessText(n int) string {
	if n == 1 {
		return "from 1, which does not weigh on the verdict; -v names it and says why"
	}
	return fmt.Sprintf("from %d, of which none weighs on the verdict; -v names them and says why", n)
}

// gapGroup are the gaps of one reason.
type gapGroup struct {
	reason string
	counts bool
	who    []string
}

// gapsByReason keeps the order of the gaps, but for those that count: they lead.
func gapsByReason(gaps []snapshot.Gap) []*gapGroup {
	var out []*gapGroup
	for _, counts := range []bool{true, false} {
		groups := map[string]*gapGroup{}
		for _, g := range gaps {
			if g.Counts != counts {
				continue
			}
			if groups[g.Reason] == nil {
				groups[g.Reason] = &gapGroup{reason: g.Reason, counts: counts}
				out = append(out, groups[g.Reason])
			}
			groups[g.Reason].who = append(groups[g.Reason].who, flat(g.Kind+"/"+g.ID))
		}
	}
	return out
}

func (p *page) counts(r *Report) {
	p.head("Measured")
	width := len("took")
	for _, c := range r.Counts {
		width = max(width, len(flat(c.Kind)))
	}
	for _, c := range r.Counts {
		text := fmt.Sprint(c.Measured)
		if c.Other > 0 {
			text += fmt.Sprintf(", %d not", c.Other)
		}
		p.line(fmt.Sprintf("  %-*s  ", width, flat(c.Kind)), dim, text)
	}
	p.line(fmt.Sprintf("  %-*s  ", width, "took"), dim, snapshot.Seconds.Format(snapshot.Float(r.TookSeconds)))
}
