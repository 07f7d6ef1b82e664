package report

import (
	"bytes"
	"strings"
	"testing"

	"lastgood/loader"
)

func explanation(program string, scale uint64) loader.Explanation {
	n := 1000*scale + 240
	e := loader.Explanation{
		Program: program, Verdict: loader.Accepted, Processed: &n, Attributed: n,
		Functions: []loader.FunctionInsns{{Name: "cil_from_container", Self: 240, Total: n, Pruned: 3}, {Name: "nat_v6_lookup", Linkage: "static", First: 120, Self: 1000 * scale, Total: 1000 * scale, Paths: 12, Pruned: 7}},
		Lines: []loader.LineInsns{
			{Function: "nat_v6_lookup", File: "/go/src/bpf/lib/bpf_nat.c", Line: 312, Text: "for (i = 0; i < SNAT_COLLISION_RETRIES; i++) {", Insns: 900 * scale, Pruned: 5},
			{Function: "nat_v6_lookup", File: "/go/src/bpf/lib/bpf_nat.c", Line: 318, Text: "if (!map_lookup_elem(&snat_v6, &tuple))", Insns: 100 * scale},
			{Function: "cil_from_container", Insns: 240},
		},
	}
	for i := range uint64(12) {
		e.Lines = append(e.Lines, loader.LineInsns{Function: "cil_from_container", File: "a_very_long_name_of_a_source_file_that_does_not_fit_narrow_terminals.h", Line: uint32(i + 1), Text: "step();", Insns: 1 + (11-i)*(scale-1)})
	}
	return e
}

func TestExplainTables(t *testing.T) {
	old, now := explanation("cil_from_container", 2), explanation("cil_from_container", 9)
	cut := now
	cut.Partial, cut.Attributed = "the log is of the first 9000 insns of 9240", 9000
	for name, write := range map[string]func(*bytes.Buffer) error{
		"growth.table":             func(b *bytes.Buffer) error { return Growth(b, loader.Compare(old, now), Options{}) },
		"growth.narrow.table":      func(b *bytes.Buffer) error { return Growth(b, loader.Compare(old, now), Options{Width: 50}) },
		"saving.table":             func(b *bytes.Buffer) error { return Growth(b, loader.Compare(now, old), Options{}) },
		"growth.none.table":        func(b *bytes.Buffer) error { return Growth(b, loader.Compare(now, now), Options{}) },
		"explanation.table":        func(b *bytes.Buffer) error { return Explanation(b, now, Options{}) },
		"explanation.narrow.table": func(b *bytes.Buffer) error { return Explanation(b, cut, Options{Width: 40}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		checkLines(t, name, b.String())
	}
}

func TestGrowthSentence(t *testing.T) {
	line := loader.Change{Function: "f", File: "/x/bpf_nat.c", Line: 312, Old: 100, New: 920, Share: 0.82}
	with := func(f func(*loader.Change)) loader.Change { c := line; f(&c); return c }
	for _, tt := range []struct {
		name, want string
		growth     loader.Growth
	}{
		{"unchanged", "", loader.Growth{Old: 5, New: 5}},
		{"line", "82 % of the growth is in f, bpf_nat.c:312 (100 → 920 insns).", loader.Growth{Old: 1000, New: 2000, Lines: []loader.Change{line}}},
		{"saving", "82 % of the saving is in f, bpf_nat.c:312 (920 → 100 insns).", loader.Growth{Old: 2000, New: 1000, Lines: []loader.Change{with(func(c *loader.Change) { c.Old, c.New = 920, 100 })}}},
		{"more than all", "All of the growth is in f, bpf_nat.c:312 (100 → 920 insns).", loader.Growth{Old: 1000, New: 1500, Lines: []loader.Change{with(func(c *loader.Change) { c.Share = 1.64 })}}},
		{"bound", "At least 82 % of the growth is in f, bpf_nat.c:312 (≤ 100 → 920 insns).", loader.Growth{Old: 1000, New: 2000, Lines: []loader.Change{with(func(c *loader.Change) { c.OldBound = true })}}},
		{"functions only", "82 % of the growth is in f (100 → 920 insns).", loader.Growth{Old: 1000, New: 2000, Functions: []loader.Change{with(func(c *loader.Change) { c.File, c.Line = "", 0 })}}},
		{"nowhere", "Where the growth is could not be told.", loader.Growth{Old: 1000, New: 2000}},
		{"doubt", "82 % of the growth is in f, bpf_nat.c:312 (100 → 920 insns); now: rejected, counted up to there.", loader.Growth{Old: 1000, New: 2000, Lines: []loader.Change{line}, Doubts: []string{"now: rejected, counted up to there"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := GrowthSentence(tt.growth); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestExplainHostile: names and source texts come from an object of somebody else.
func TestExplainHostile(t *testing.T) {
	for _, s := range []string{"\x1b[2J\x07", "a\nb\r\tc", "\u202etxt", strings.Repeat("x", 5000), "\xff\xfe", ""} {
		e := explanation(s, 3)
		e.Cause, e.Partial = s, s
		for i := range e.Functions {
			e.Functions[i].Name = s
		}
		for i := range e.Lines {
			e.Lines[i].Function, e.Lines[i].File, e.Lines[i].Text = s, s, s
		}
		old := explanation(s, 1)
		for _, o := range []Options{{}, {Width: 40}} {
			var b bytes.Buffer
			for _, err := range []error{Growth(&b, loader.Compare(old, e), o), Explanation(&b, e, o)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			checkLines(t, "explanation", b.String())
			got := strings.ReplaceAll(GrowthSentence(loader.Compare(old, e)), "\ufffd", "")
			if strings.ContainsFunc(got, unsafeRune) || strings.ContainsAny(got, "\n\t") {
				t.Errorf("sentence %q", got)
			}
		}
	}
}

func TestWeightSentence(t *testing.T) {
	e := loader.Explanation{Attributed: 1000, Functions: []loader.FunctionInsns{{Name: "main", Self: 100}, {Name: "nat", Self: 900}}}
	for _, tt := range []struct {
		name   string
		change func(*loader.Explanation)
		want   string
	}{
		{"functions", func(*loader.Explanation) {}, "90 % of its 1,000 insns are in nat."},
		{"lines", func(e *loader.Explanation) {
			e.Lines = []loader.LineInsns{{Function: "main", File: "a.c", Line: 1, Insns: 90}, {Function: "nat", File: "/src/nat.h", Line: 7, Insns: 80}}
		}, "90 % of its 1,000 insns are in nat, most of them at nat.h:7 (80)."},
		{"cut short", func(e *loader.Explanation) { e.Partial = "out of time" }, "90 % of its 1,000 insns are in nat; out of time."},
		{"nothing", func(e *loader.Explanation) { e.Attributed = 0 }, ""},
		{"no functions", func(e *loader.Explanation) { e.Functions = nil }, ""},
	} {
		x := e
		tt.change(&x)
		if got := WeightSentence(x); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What could not be told is no count of 0.
func TestExplanationOfNothing(t *testing.T) {
	var b strings.Builder
	if err := Explanation(&b, loader.Explanation{Program: "p", Partial: "not explained: why"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Contains(got, "0 insns") || !strings.Contains(got, "not explained: why") {
		t.Errorf("%q", got)
	}
}
