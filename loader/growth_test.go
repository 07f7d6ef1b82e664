package loader

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func explained(insns uint64, lines ...LineInsns) Explanation {
	e := Explanation{Program: "p", Verdict: Accepted, Processed: &insns, Attributed: insns, Lines: lines}
	for _, l := range lines {
		e.Functions = append(e.Functions, FunctionInsns{Name: l.Function, Self: l.Insns, Total: l.Insns})
	}
	return e
}

func at(fn, file string, line uint32, text string, insns uint64) LineInsns {
	return LineInsns{Function: fn, File: file, Line: line, Text: text, Insns: insns}
}

func TestCompare(t *testing.T) {
	left := func(e Explanation, n int) Explanation { e.LinesLeftOut = n; return e }
	for _, tt := range []struct {
		name      string
		old, new  Explanation
		functions []Change
		lines     []Change
		doubts    []string
	}{
		{name: "nothing changed", old: explained(10, at("f", "a.c", 1, "x", 10)), new: explained(10, at("f", "a.c", 1, "x", 10))},
		{
			name:      "grew, and elsewhere shrank",
			old:       explained(100, at("f", "a.c", 1, "x", 60), at("g", "a.c", 9, "y", 40)),
			new:       explained(200, at("f", "a.c", 1, "x", 180), at("g", "a.c", 9, "y", 20)),
			functions: []Change{{Function: "f", Old: 60, New: 180, Share: 1.2}, {Function: "g", Old: 40, New: 20, Share: -0.2}},
			lines:     []Change{{Function: "f", File: "a.c", Line: 1, Text: "x", Old: 60, New: 180, Share: 1.2}, {Function: "g", File: "a.c", Line: 9, Text: "y", Old: 40, New: 20, Share: -0.2}},
		},
		{
			name:      "shrank: what shrank most comes first",
			old:       explained(100, at("f", "a.c", 1, "x", 60), at("f", "a.c", 2, "y", 40)),
			new:       explained(50, at("f", "a.c", 1, "x", 20), at("f", "a.c", 2, "y", 30)),
			functions: []Change{{Function: "f", Old: 60, New: 20, Share: 0.8}, {Function: "f", Old: 40, New: 30, Share: 0.2}},
			lines:     []Change{{Function: "f", File: "a.c", Line: 1, Text: "x", Old: 60, New: 20, Share: 0.8}, {Function: "f", File: "a.c", Line: 2, Text: "y", Old: 40, New: 30, Share: 0.2}},
		},
		{
			name:      "lines moved by an edit are found by their text, twice the same text is not",
			old:       explained(30, at("f", "a.c", 1, "x", 10), at("f", "a.c", 2, "}", 10), at("f", "a.c", 3, "}", 10)),
			new:       explained(40, at("f", "a.c", 5, "x", 20), at("f", "a.c", 6, "}", 10), at("f", "a.c", 7, "}", 10)),
			functions: []Change{{Function: "f", Old: 10, New: 20, Share: 1}},
			lines: []Change{
				{Function: "f", File: "a.c", Line: 5, Text: "x", Old: 10, New: 20, Share: 1},
				{Function: "f", File: "a.c", Line: 6, Text: "}", New: 10, Share: 1}, {Function: "f", File: "a.c", Line: 7, Text: "}", New: 10, Share: 1},
				{Function: "f", File: "a.c", Line: 2, Text: "}", Old: 10, Share: -1}, {Function: "f", File: "a.c", Line: 3, Text: "}", Old: 10, Share: -1},
			},
		},
		{
			name:      "a line that was not kept is bounded by the last one that was",
			old:       left(explained(100, at("f", "a.c", 1, "x", 30)), 40),
			new:       left(explained(200, at("f", "a.c", 1, "x", 30), at("f", "a.c", 2, "y", 130), at("f", "a.c", 3, "z", 25)), 40),
			functions: []Change{{Function: "f", New: 130, Share: 1.3}, {Function: "f", New: 25, Share: 0.25}},
			lines:     []Change{{Function: "f", File: "a.c", Line: 2, Text: "y", Old: 30, OldBound: true, New: 130, Share: 1}},
		},
		{
			name:      "rejected now",
			old:       explained(10, at("f", "a.c", 1, "x", 10)),
			new:       func() Explanation { e := explained(20, at("f", "a.c", 1, "x", 20)); e.Verdict = Rejected; return e }(),
			functions: []Change{{Function: "f", Old: 10, New: 20, Share: 1}},
			lines:     []Change{{Function: "f", File: "a.c", Line: 1, Text: "x", Old: 10, New: 20, Share: 1}},
			doubts:    []string{"now: rejected, counted up to there"},
		},
		{
			name: "no lines on one side: functions only",
			old:  explained(10), new: explained(20, at("f", "a.c", 1, "x", 20)),
			functions: []Change{{Function: "f", New: 20, Share: 2}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := Growth{Program: "p", Old: *tt.old.Processed, New: *tt.new.Processed, Functions: tt.functions, Lines: tt.lines, Doubts: tt.doubts}
			got := Compare(tt.old, tt.new)
			if len(got.Functions) == 0 {
				got.Functions = nil
			}
			if len(got.Lines) == 0 {
				got.Lines = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
