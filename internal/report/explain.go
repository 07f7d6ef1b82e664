package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

const (
	worstLines     = 10 // source lines shown of a program
	worstFunctions = 20
)

// Growth writes where the growth of a program's insns is: its functions before and
// now, then the source lines that took most of it.
func Growth(w io.Writer, g loader.Growth, o Options) error {
	p := newPage(w, o)
	p.head(flat(g.Program))
	p.line("  ", plain, count(g.Old)+" → "+count(g.New)+" insns"+factor(g.Old, g.New)+". "+GrowthSentence(g))
	p.changes("function", g.Functions, worstFunctions, func(c *loader.Change) string { return flat(c.Function) })
	p.changes("source line", g.Lines, worstLines, place)
	p.doubts(g.Doubts)
	return p.err
}

// Explanation writes where the insns of one program go, without another to compare.
func Explanation(w io.Writer, e loader.Explanation, o Options) error {
	p := newPage(w, o)
	p.head(flat(e.Program))
	if len(e.Functions) == 0 && e.Partial != "" { // nothing was learnt, which is no count of 0
		p.doubts([]string{e.Partial})
		return p.err
	}
	text := count(e.Attributed) + " insns"
	if e.Processed != nil && *e.Processed != e.Attributed {
		text = fmt.Sprintf("%s insns, of which %s are explained", count(*e.Processed), count(e.Attributed))
	}
	p.line("  ", plain, joined(": ", text, cut(flat(e.Cause), longText)))
	t := &columns{left: 1, head: []string{"  function", "self", "with calls", "pruned"}}
	for _, f := range e.Functions {
		if len(t.rows) == worstFunctions {
			t.note(fmt.Sprintf("and %d more", len(e.Functions)-worstFunctions))
			break
		}
		t.add("  "+cut(flat(f.Name), longText), count(f.Self), count(f.Total), count(f.Pruned))
	}
	p.table(t)
	t = &columns{left: 1, head: []string{"  source line", "insns", "share", "pruned"}}
	for _, l := range e.Lines[:min(len(e.Lines), worstLines)] {
		c := loader.Change{Function: l.Function, File: l.File, Line: l.Line}
		t.add("  "+place(&c), count(l.Insns), percent(float64(l.Insns), float64(e.Attributed)), count(l.Pruned))
		t.note(sourceText(l.Text, l.Function))
	}
	p.table(t)
	if e.Partial != "" {
		p.doubts([]string{e.Partial})
	}
	return p.err
}

// GrowthSentence says in one sentence where most of the growth is, for a finding's
// evidence; "" where nothing changed.
func GrowthSentence(g loader.Growth) string {
	if g.Old == g.New {
		return ""
	}
	word := "growth"
	if g.New < g.Old {
		word = "saving"
	}
	where := g.Lines
	if len(where) == 0 || where[0].Share <= 0 {
		where = g.Functions
	}
	if len(where) == 0 || where[0].Share <= 0 {
		return fmt.Sprintf("Where the %s is could not be told.", word)
	}
	top := &where[0]
	share := "All"
	if top.Share < 0.995 {
		share = percent(top.Share, 1)
	}
	if top.OldBound || top.NewBound {
		share = "At least " + percent(min(top.Share, 1), 1)
	}
	text := fmt.Sprintf("%s of the %s is in %s", share, word, cut(flat(top.Function), longText))
	if top.Line > 0 {
		text += ", " + cut(flat(path.Base(top.File)), longText) + ":" + strconv.Itoa(int(top.Line))
	}
	text += fmt.Sprintf(" (%s → %s insns)", bounded(top.Old, top.OldBound), bounded(top.New, top.NewBound))
	if len(g.Doubts) > 0 {
		text += "; " + cut(flat(strings.Join(g.Doubts, "; ")), longText)
	}
	return text + "."
}

// changes writes one table of changes, those first that took most.
func (p *page) changes(what string, all []loader.Change, most int, name func(*loader.Change) string) {
	t := &columns{left: 1, head: []string{"  " + what, "before", "now", "share"}}
	for i := range all[:min(len(all), most)] {
		c := &all[i]
		t.add("  "+cut(name(c), longText), bounded(c.Old, c.OldBound), bounded(c.New, c.NewBound), percent(c.Share, 1))
		if c.File != "" {
			t.note(sourceText(c.Text, c.Function))
		}
	}
	if n := len(all) - most; n > 0 {
		t.note(fmt.Sprintf("and %d more", n))
	}
	p.table(t)
}

func (p *page) table(t *columns) {
	if len(t.rows) > 0 {
		p.write("\n")
		t.write(p)
	}
}

func (p *page) doubts(all []string) {
	for _, d := range all {
		p.line("  note: ", yellow, cut(flat(d), longText))
	}
}

// place is FILE:LINE, the file by its own name: paths of a build say little.
func place(c *loader.Change) string {
	if c.File == "" || c.Line == 0 {
		return "(no line information)"
	}
	return flat(path.Base(c.File)) + ":" + strconv.Itoa(int(c.Line))
}

func sourceText(text, function string) string {
	return cut(flat(joined("  — in ", text, function)), longText)
}

func bounded(n uint64, bound bool) string {
	if bound {
		return "≤ " + count(n)
	}
	return count(n)
}

func count(n uint64) string {
	return snapshot.Count.Format(snapshot.Int(int64(min(n, math.MaxInt64))))
}

// factor is how many times the old the new is, where there is a number for it.
func factor(old, new uint64) string {
	if old == 0 || old == new {
		return ""
	}
	return " (" + snapshot.Times(float64(new)/float64(old)) + ")"
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", part/whole*100)
}

// WeightSentence says in one sentence where most of a program's insns are, for a finding
// whose program has no explanation from before; "" where nothing is known of any.
func WeightSentence(e loader.Explanation) string {
	if e.Attributed == 0 {
		return ""
	}
	if len(e.Functions) == 0 {
		return ""
	}
	top := slices.MaxFunc(e.Functions, func(a, b loader.FunctionInsns) int { return cmp.Compare(a.Self, b.Self) })
	text := fmt.Sprintf("%s of its %s insns are in %s", percent(float64(top.Self), float64(e.Attributed)), count(e.Attributed), cut(flat(top.Name), longText))
	at := slices.IndexFunc(e.Lines, func(l loader.LineInsns) bool { return l.Function == top.Name && l.Line > 0 })
	if at >= 0 {
		l := &e.Lines[at]
		text += fmt.Sprintf(", most of them at %s:%d (%s)", cut(flat(path.Base(l.File)), longText), l.Line, count(l.Insns))
	}
	if e.Partial != "" {
		text += "; " + cut(flat(e.Partial), longText)
	}
	return text + "."
}
