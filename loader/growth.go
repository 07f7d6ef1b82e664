package loader

import (
	"cmp"
	"slices"
)

// Growth is where the insns of a program went that a kernel, or another build of
// the program, processes more than another, or saves.
type Growth struct {
	Program string `json:"program"`
	Old     uint64 `json:"old"` // insns processed, or those found where the kernel did not say
	New     uint64 `json:"new"`
	// Functions and Lines are those that changed, what grew as the whole did first.
	Functions []Change `json:"functions,omitempty"`
	Lines     []Change `json:"lines,omitempty"`
	// Doubts say why a number is not of the whole, one sentence each.
	Doubts []string `json:"doubts,omitempty"`
}

// Change is one function or source line on both sides.
type Change struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"`
	Line     uint32 `json:"line,omitempty"` // of the new side, where it is there
	Text     string `json:"text,omitempty"`
	Old      uint64 `json:"old"` // insns of the function itself, or of the line
	New      uint64 `json:"new"`
	// Share is the part of the whole growth that is here: 0.82 for 82 %. It may be
	// more than 1 where other places shrank, and is less than 0 for what went the
	// other way than the whole; 0 where the whole did not change.
	Share float64 `json:"share"`
	// OldBound and NewBound tell that the line was not among those kept on that
	// side: the number is the most it can have been.
	OldBound bool `json:"old_bound,omitempty"`
	NewBound bool `json:"new_bound,omitempty"`
}

// Compare tells which functions and lines took the growth from one explanation to
// another of the same program. Lines are matched by function, file, number and
// text, then, for an object that was changed, by text alone where that is unique.
func Compare(old, new Explanation) Growth {
	g := Growth{Program: new.Program, Old: old.insns(), New: new.insns()}
	for _, side := range []struct {
		name string
		e    *Explanation
	}{{"before", &old}, {"now", &new}} {
		if side.e.Partial != "" {
			g.Doubts = append(g.Doubts, side.name+": "+side.e.Partial)
		} else if side.e.Verdict == Rejected {
			g.Doubts = append(g.Doubts, side.name+": rejected, counted up to there")
		}
	}
	g.Functions = g.sorted(changedFunctions(old.Functions, new.Functions))
	if len(old.Lines) > 0 && len(new.Lines) > 0 {
		g.Lines = g.sorted(changedLines(&old, &new))
	}
	return g
}

func (e *Explanation) insns() uint64 {
	if e.Processed != nil {
		return *e.Processed
	}
	return e.Attributed
}

// Delta is the growth in insns, less than 0 where it shrank.
func (c Change) Delta() int64 { return int64(c.New) - int64(c.Old) }

// sorted leaves out what did not change, fills the shares in and sorts.
func (g *Growth) sorted(all []Change) []Change {
	all = slices.DeleteFunc(all, func(c Change) bool { return c.Delta() == 0 })
	whole := int64(g.New) - int64(g.Old)
	sign := int64(1)
	if whole < 0 {
		sign = -1
	}
	for i := range all {
		if whole != 0 {
			all[i].Share = float64(all[i].Delta()) / float64(whole)
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int { return cmp.Compare(sign*b.Delta(), sign*a.Delta()) })
	return all
}

// changedFunctions pairs functions by name, those of one name in their order.
func changedFunctions(old, new []FunctionInsns) []Change {
	type key struct {
		name string
		nth  int
	}
	index := func(fns []FunctionInsns, each func(key, FunctionInsns)) {
		seen := map[string]int{}
		for _, f := range fns {
			each(key{f.Name, seen[f.Name]}, f)
			seen[f.Name]++
		}
	}
	var out []Change
	at := map[key]int{}
	index(new, func(k key, f FunctionInsns) {
		at[k] = len(out)
		out = append(out, Change{Function: f.Name, New: f.Self})
	})
	index(old, func(k key, f FunctionInsns) {
		if i, ok := at[k]; ok {
			out[i].Old = f.Self
			return
		}
		out = append(out, Change{Function: f.Name, Old: f.Self})
	})
	return out
}

// lineKey is what a line is recognized by.
type lineKey struct {
	function, file, text string
	line                 uint32 // 0: moved
}

func (l *LineInsns) key(number bool) lineKey {
	k := lineKey{function: l.Function, file: l.File, text: l.Text}
	if number {
		k.line = l.Line
	}
	return k
}

func changedLines(old, new *Explanation) []Change {
	mate := pairLines(old.Lines, new.Lines)
	paired := make([]bool, len(old.Lines))
	var out []Change
	for i, l := range new.Lines {
		c := Change{Function: l.Function, File: l.File, Line: l.Line, Text: l.Text, New: l.Insns}
		if j := mate[i]; j >= 0 {
			paired[j], c.Old = true, old.Lines[j].Insns
		} else {
			c.Old, c.OldBound = old.atMost(l.Insns)
		}
		out = append(out, c)
	}
	for j, l := range old.Lines {
		if !paired[j] {
			c := Change{Function: l.Function, File: l.File, Line: l.Line, Text: l.Text, Old: l.Insns}
			c.New, c.NewBound = new.atMost(l.Insns)
			out = append(out, c)
		}
	}
	return out
}

// atMost is what a line can have had at most that is not in Lines, and whether
// that is a bound only. It is never above is, the count of the other side: of a
// line that is not known to have changed nothing is said.
func (e *Explanation) atMost(is uint64) (uint64, bool) {
	if e.LinesLeftOut == 0 {
		return 0, false
	}
	return min(e.Lines[len(e.Lines)-1].Insns, is), true
}

// pairLines returns for each new line the index of the old one, -1 for none.
func pairLines(old, new []LineInsns) []int {
	mate := make([]int, len(new))
	for i := range mate {
		mate[i] = -1
	}
	taken := make([]bool, len(old))
	for _, number := range []bool{true, false} {
		where := uniqueLines(old, number, func(j int) bool { return !taken[j] })
		mine := uniqueLines(new, number, func(i int) bool { return mate[i] < 0 })
		for key, i := range mine {
			if j, ok := where[key]; ok && i >= 0 && j >= 0 {
				mate[i], taken[j] = j, true
			}
		}
	}
	return mate
}

// uniqueLines indexes the lines that are free; -1 stands for more than one.
func uniqueLines(lines []LineInsns, number bool, free func(int) bool) map[lineKey]int {
	out := make(map[lineKey]int)
	for i := range lines {
		if !free(i) || !number && lines[i].Text == "" {
			continue
		}
		key := lines[i].key(number)
		if _, twice := out[key]; twice {
			out[key] = -1
			continue
		}
		out[key] = i
	}
	return out
}
