package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// clean makes a text from the outside harmless on a terminal: devices name
// themselves, and a name may hold an escape sequence.
func clean(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unsafeRune(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func unsafeRune(r rune) bool {
	return r == utf8.RuneError || (unicode.IsControl(r) && r != '\n' && r != '\t') || unicode.Is(unicode.Cf, r)
}

// style is an ANSI colour by what it means.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "1;31"
	yellow style = "33"
	green  style = "32"
	dim    style = "2"
)

// page writes lines of a width, in colour or not; the first error of the writer is kept.
type page struct {
	w     io.Writer
	o     Options
	width int
	err   error
}

func newPage(w io.Writer, o Options) *page {
	p := &page{w: w, o: o, width: o.Width}
	if p.width <= 0 {
		p.width = 100
	}
	p.width = max(p.width, 40)
	return p
}

func (p *page) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

func (p *page) paint(s string, st style) string {
	if !p.o.Color || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// line writes lead once and the text behind it, wrapped, later lines indented by
// as much as lead is wide.
func (p *page) line(lead string, st style, text string) {
	indent := utf8.RuneCountInString(lead)
	for i, l := range wrap(clean(text), p.width-indent) {
		if i > 0 {
			lead, st = strings.Repeat(" ", indent), plain
		}
		if l == "" {
			p.write(strings.TrimRight(p.paint(strings.TrimRight(lead, " "), st), " ") + "\n")
			continue
		}
		p.write(p.paint(lead, st) + l + "\n")
	}
}

func (p *page) head(text string) { p.write("\n" + p.paint(text, bold) + "\n") }

// wrap breaks a text into lines of at most width columns, at blanks; a longer
// word stays whole, for it is a path or a name to be copied.
func wrap(text string, width int) []string {
	var out []string
	for para := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(para) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				out = append(out, line)
				line = word
			}
		}
		out = append(out, line)
	}
	return out
}

var verdictStyles = map[snapshot.Verdict]style{
	snapshot.Good: green, snapshot.Learned: green, snapshot.Regressed: red, snapshot.Incomplete: yellow, snapshot.Invalid: red,
}

var severityStyles = map[snapshot.Severity]style{snapshot.Critical: red, snapshot.Warning: yellow, snapshot.Info: dim}

// Table writes the report for a person: the verdict, the kernels compared, the
// findings worst first, what could not be measured, what to do next.
func Table(w io.Writer, r *Report, o Options) error {
	p := newPage(w, o)
	p.line(strings.ToUpper(string(r.Verdict))+": ", verdictStyles[r.Verdict], r.Summary)
	if o.Quiet {
		return p.err
	}
	p.kernels(r)
	p.findings(r)
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

func (p *page) kernels(r *Report) {
	if r.Current != nil {
		p.line("  this boot: ", dim, kernelLine(r.Current))
	}
	if r.Baseline == nil {
		return
	}
	base := kernelLine(r.Baseline)
	if !r.Accepted.IsZero() {
		base += ", accepted " + r.Accepted.UTC().Format("2006-01-02 15:04 UTC")
		if r.AcceptedBy != "" {
			base += " by " + r.AcceptedBy
		}
	}
	p.line("  last good: ", dim, base)
	p.line("  changed:   ", dim, changed(r))
	if !p.o.Verbose {
		return
	}
	for _, c := range r.Changes {
		p.line("    "+c.Fact+": ", dim, orNone(c.Old)+" → "+orNone(c.New))
	}
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func kernelLine(id *snapshot.Identity) string {
	parts := []string{"kernel " + orNone(id.Kernel.Release)}
	if id.Kernel.Arch != "" {
		parts[0] += " " + id.Kernel.Arch
	}
	if b := id.Kernel.BuildID; b != "" {
		parts = append(parts, "build "+b[:min(12, len(b))])
	}
	if id.BootID != "" {
		parts = append(parts, "boot "+id.BootID[:min(8, len(id.BootID))])
	}
	return strings.Join(parts, ", ")
}

// changed says what else than the subjects differs, by class.
func changed(r *Report) string {
	if len(r.Attribution) == 0 {
		return "nothing: the same kernel build, configuration and tool"
	}
	var parts []string
	for _, class := range r.Attribution {
		var facts []string
		for _, c := range r.Changes {
			if c.Class == class {
				facts = append(facts, strings.ReplaceAll(c.Fact, "_", " "))
			}
		}
		part := string(class)
		if len(facts) > 0 {
			part += " (" + strings.Join(facts, ", ") + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func (p *page) findings(r *Report) {
	if len(r.Findings) == 0 {
		return
	}
	p.head("Findings")
	var remarks []string // codes, in order
	names := map[string][]string{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity != snapshot.Info || p.o.Verbose {
			p.finding(f)
			continue
		}
		if names[f.Code] == nil {
			remarks = append(remarks, f.Code)
		}
		names[f.Code] = append(names[f.Code], f.Subject.ID)
	}
	p.remarks(r, remarks, names)
}

// remarks writes what is for information only, a line for each code where there
// are several of it: a new kernel brings dozens.
func (p *page) remarks(r *Report, codes []string, names map[string][]string) {
	const few, shown = 2, 3
	folded := false
	for i := range r.Findings {
		f := &r.Findings[i]
		if n := names[f.Code]; f.Severity == snapshot.Info && len(n) > 0 && len(n) <= few {
			p.finding(f)
		}
	}
	for _, code := range codes {
		who := names[code]
		if len(who) <= few {
			continue
		}
		folded = true
		p.line(fmt.Sprintf(findingLead, snapshot.Info), dim, fmt.Sprintf("%s, %d times: %s, …", code, len(who), strings.Join(who[:shown], ", ")))
	}
	if folded {
		p.line(fmt.Sprintf(findingLead, ""), dim, "(-v lists them one by one)")
	}
}

// findingLead is the column of severities.
const findingLead = "  %-9s "

func (p *page) finding(f *snapshot.Finding) {
	text := f.Message
	if n := len(f.Behind); n > 0 {
		text += ", and with it " + behind(f.Behind)
	}
	p.line(fmt.Sprintf(findingLead, f.Severity), severityStyles[f.Severity], text)
	pad := strings.Repeat(" ", len(fmt.Sprintf(findingLead, "")))
	detail := f.Subject.Kind + "/" + f.Subject.ID
	if f.Attr != "" {
		detail += " " + f.Attr
	}
	if f.Old != nil && f.New != nil {
		detail += ": " + brief(f.Old) + " → " + brief(f.New)
	}
	p.line(pad, dim, detail+" ["+string(f.Class)+", "+f.Code+"]")
	if f.Hint != "" {
		p.line(pad+"hint: ", dim, f.Hint)
	}
	if p.o.Verbose && f.Evidence != "" {
		p.line(pad, dim, f.Evidence)
	}
}

// brief is a value in at most some forty columns: a set of helpers can be long.
func brief(v *snapshot.Value) string {
	const most = 40
	text := []rune(snapshot.Count.Format(*v))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// behind names what a finding explains, the first few of it.
func behind(refs []snapshot.SubjectRef) string {
	const most = 4
	var names []string
	for _, s := range refs[:min(most, len(refs))] {
		name := s.Label
		if name == "" {
			name = s.ID
		}
		names = append(names, name)
	}
	text := fmt.Sprintf("%d behind it: %s", len(refs), strings.Join(names, ", "))
	if len(refs) > most {
		text += ", …"
	}
	return text
}

// incomplete groups what could not be measured by its reason, what counts first.
func (p *page) incomplete(r *Report) {
	var reasons []string
	names := map[string][]string{}
	for _, counts := range []bool{true, false} {
		for _, g := range r.Incomplete {
			if g.Counts != counts {
				continue
			}
			reason := g.Reason
			if !counts {
				reason += " (does not weigh on the verdict)"
			}
			if names[reason] == nil {
				reasons = append(reasons, reason)
			}
			names[reason] = append(names[reason], g.Kind+"/"+g.ID)
		}
	}
	if len(reasons) == 0 {
		return
	}
	p.head("Could not be measured")
	for _, reason := range reasons {
		const most = 4
		who := names[reason]
		text := strings.Join(who[:min(most, len(who))], ", ")
		if len(who) > most && !p.o.Verbose {
			text += fmt.Sprintf(" and %d more", len(who)-most)
		} else if len(who) > most {
			text = strings.Join(who, ", ")
		}
		p.line("  ", plain, text+": "+reason)
	}
}

func (p *page) counts(r *Report) {
	p.head("Measured")
	for _, c := range r.Counts {
		text := fmt.Sprint(c.Measured)
		if c.Other > 0 {
			text += fmt.Sprintf(", %d not", c.Other)
		}
		p.line(fmt.Sprintf("  %-16s ", c.Kind), dim, text)
	}
	p.line(fmt.Sprintf("  %-16s ", "took"), dim, snapshot.Seconds.Format(snapshot.Float(r.TookSeconds)))
}
