package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lastgood/internal/baseline"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/loader"
)

// smallerBefore makes a snapshot of another kernel, on which one source line of a program
// was walked once, and keeps the explanation of that:
// smaller-before STATE IN OUT OBJECT/PROGRAM.
func smallerBefore(ts *testscript.TestScript, _ bool, args []string) {
	snap, err := snapshot.Decode([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	sub := snap.Subject(snapshot.Key{Kind: "bpf.program", ID: args[3]})
	store, err := baseline.Open(args[0], baseline.Options{})
	ts.Check(err)
	defer store.Close()
	ts.Check(store.TryLock())
	e, err := keptExplanation(store, snap, sub)
	ts.Check(err)

	less := e.Lines[0].Insns - 1
	e.Lines[0].Insns -= less
	at := slices.IndexFunc(e.Functions, func(f loader.FunctionInsns) bool { return f.Name == e.Lines[0].Function })
	e.Functions[at].Self -= less
	e.Attributed -= less
	*e.Processed -= less
	sub.Set("insns_processed", snapshot.Int(*e.Processed))
	snap.Identity.Kernel.BuildID = "abcd"
	doc, err := json.Marshal(e)
	ts.Check(err)
	ts.Check(store.PutExplanation(explanationKey(snap, sub), doc))
	b, err := snap.Encode()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o644))
}

// spoilExplanations changes a byte of every explanation that a state folder keeps.
func spoilExplanations(ts *testscript.TestScript, _ bool, args []string) {
	kept, err := filepath.Glob(filepath.Join(args[0], "explanations", "*.json"))
	ts.Check(err)
	if len(kept) == 0 {
		ts.Fatalf("no explanations are kept in %s", args[0])
	}
	for _, name := range kept {
		b, err := os.ReadFile(name)
		ts.Check(err)
		b[len(b)/2] ^= 1
		ts.Check(os.WriteFile(name, b, 0o640))
	}
}

// regressed is a report with findings of one code on programs, whose counters are the
// names' in base and snap.
func regressed(code string, insns map[string][2]int) (rep *report.Report, base, snap *snapshot.Snapshot) {
	rep, base, snap = &report.Report{}, &snapshot.Snapshot{}, &snapshot.Snapshot{}
	for name, n := range insns {
		for i, s := range []*snapshot.Snapshot{base, snap} {
			sub := snapshot.Subject{Kind: "bpf.program", ID: "a.o/" + name, Outcome: snapshot.Measured}
			sub.Set("object", snapshot.Text("a.o"))
			sub.Set("name", snapshot.Text(name))
			sub.Set("insns_processed", snapshot.Int(n[i]))
			s.Subjects = append(s.Subjects, sub)
		}
		rep.Findings = append(rep.Findings, snapshot.Finding{Code: code, Evidence: "cause: x", Subject: snapshot.SubjectRef{Kind: "bpf.program", ID: "a.o/" + name}})
	}
	for _, s := range []*snapshot.Snapshot{base, snap} {
		if err := s.Sort(); err != nil {
			panic(err)
		}
	}
	return rep, base, snap
}

func explainingCheck(budget time.Duration) *check {
	var set workload.Set
	set.Files = []workload.File{{ObjectFile: loader.ObjectFile{Name: "a.o"}}}
	return &check{s: &session{budget: budget}, start: time.Now(), measured: &objectRun{set: set}}
}

func TestWhatACheckExplains(t *testing.T) {
	grown := map[string][2]int{"a": {1000, 9000}, "b": {1000, 9000}, "c": {1000, 9000}, "d": {1000, 9000}}
	for _, tt := range []struct {
		name, code string
		insns      map[string][2]int
		want       int
	}{
		{"three at most", "program-insns-doubled", grown, checkExplains},
		{"one that is refused for its size", "program-rejected", map[string][2]int{"a": {1000, 1_000_001}}, 1},
		{"one that is refused earlier", "program-rejected", map[string][2]int{"a": {1000, 5}}, 0},
		{"what is no growth", "program-changed", grown, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := explainingCheck(time.Second)
			rep, base, snap := regressed(tt.code, tt.insns)
			job, subjects := c.toExplain(rep, base, snap)
			if len(job.Programs) != tt.want || len(subjects) != tt.want || len(job.Files) != tt.want {
				t.Errorf("%d programs, %d subjects, %d files, want %d", len(job.Programs), len(subjects), len(job.Files), tt.want)
			}
		})
	}
}

func TestCheckExplainsWithinItsBudget(t *testing.T) {
	c := explainingCheck(time.Second)
	c.start = time.Now().Add(-time.Minute)
	rep, base, snap := regressed("program-insns-grew", map[string][2]int{"a": {10_000, 20_000}})
	c.explainFindings(t.Context(), rep, base, snap)
	if got := rep.Findings[0].Evidence; !strings.HasPrefix(got, "where the insns went was not looked for: the budget was used up\ncause: x") {
		t.Errorf("evidence %q", got)
	}
}

func TestExplainedStatus(t *testing.T) {
	told := explainedProgram{subject: &snapshot.Subject{Outcome: snapshot.Measured}, explanation: loader.Explanation{Verdict: loader.Accepted}}
	refused := told
	refused.explanation.Verdict = loader.Rejected
	library := explainedProgram{subject: &snapshot.Subject{Outcome: snapshot.Skipped}, err: loader.ErrLibraryOnly}
	failed := explainedProgram{subject: &snapshot.Subject{Outcome: snapshot.Inconclusive}, err: os.ErrNotExist}
	for _, tt := range []struct {
		name string
		all  []explainedProgram
		want int
	}{
		{"told", []explainedProgram{told, library}, exitOK},
		{"refused", []explainedProgram{told, refused}, exitRegressed},
		{"not all could be told", []explainedProgram{refused, failed}, exitIncomplete},
		{"nothing was told", []explainedProgram{library}, exitIncomplete},
	} {
		if got := (&explained{programs: tt.all}).status(); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestWhatAnAcceptExplains(t *testing.T) {
	snap := &snapshot.Snapshot{}
	for i := range 30 {
		sub := snapshot.Subject{Kind: "bpf.program", ID: fmt.Sprintf("a.o/p%02d", i), Outcome: snapshot.Measured}
		sub.Set("object", snapshot.Text("a.o"))
		sub.Set("name", snapshot.Text(fmt.Sprintf("p%02d", i)))
		sub.Set("program", snapshot.Text(fmt.Sprintf("%016x", i/2))) // each twice
		sub.Set("insns_processed", snapshot.Int(4_000+i*500))
		snap.Subjects = append(snap.Subjects, sub)
	}
	large, keys := largePrograms(snap)
	if len(large) != acceptExplains || len(keys) != acceptExplains || large[0].Text("name") != "p29" || large[1].Text("name") != "p28" {
		t.Fatalf("%d programs, first %s", len(large), large[0].ID)
	}
	snap.Subjects = snap.Subjects[:5]
	if large, _ = largePrograms(snap); len(large) != 3 { // 5,000, 5,500 and 6,000 insns
		t.Errorf("%d programs have 5,000 insns or more", len(large))
	}

	store, err := baseline.Open(t.TempDir(), baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.TryLock(); err != nil {
		t.Fatal(err)
	}
	var set workload.Set
	set.Files = []workload.File{{ObjectFile: loader.ObjectFile{Name: "a.o"}}}
	if _, subjects := explainJobOfSubjects(store, snap, large, set); len(subjects) != 0 {
		t.Errorf("%d of a kernel that nobody can tell from another", len(subjects))
	}
	snap.Identity.Kernel.BuildID = "abcd"
	if _, subjects := explainJobOfSubjects(store, snap, large, set); len(subjects) != 2 { // of the three two are one
		t.Errorf("%d programs are to be explained, want 2", len(subjects))
	}
	n := uint64(6_000)
	x := explainedProgram{explanation: loader.Explanation{Verdict: loader.Accepted, Processed: &n}}
	if err := keepExplanation(store, snap, large[0], &x); err != nil {
		t.Fatal(err)
	}
	if _, subjects := explainJobOfSubjects(store, snap, large, set); len(subjects) != 1 {
		t.Errorf("%d programs are to be explained when one is kept, want 1", len(subjects))
	}
	n++
	if err := keepExplanation(store, snap, large[0], &x); err == nil || !strings.Contains(err.Error(), "not like the first") {
		t.Errorf("of another count: %v", err)
	}
	large[0].Set("insns_processed", snapshot.Int(7_000))
	if e, err := keptExplanation(store, snap, large[0]); e != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is of other settings is used: %v", err)
	}
}

// What a check says where the growth cannot be told as it should be.
func TestSentenceOfAnUnfinishedExplanation(t *testing.T) {
	c := explainingCheck(time.Second)
	store, err := baseline.Open(t.TempDir(), baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.TryLock(); err != nil {
		t.Fatal(err)
	}
	c.store = store
	_, base, snap := regressed("program-insns-grew", map[string][2]int{"p": {10_000, 20_000}})
	base.Identity.Kernel.BuildID = "abcd"
	base.Subjects[0].Set("program", snapshot.Text("31d8fd3deff0be40"))
	old, part := uint64(10_000), uint64(300)
	fns := []loader.FunctionInsns{{Name: "nat", Self: part}}
	cut := explainedProgram{explanation: loader.Explanation{Attributed: part, Partial: "out of time", Functions: fns}}
	const weight = "100 % of its 300 insns are in nat; out of time; "
	if got := c.sentence(base, &snap.Subjects[0], &cut); got != weight+"how it was at the last good boot was not kept" {
		t.Errorf("not kept: %q", got)
	}
	before := explainedProgram{explanation: loader.Explanation{Verdict: loader.Accepted, Processed: &old, Attributed: old, Functions: []loader.FunctionInsns{{Name: "nat", Self: old}}}}
	if err := keepExplanation(store, base, &base.Subjects[0], &before); err != nil {
		t.Fatal(err)
	}
	if got := c.sentence(base, &snap.Subjects[0], &cut); !strings.HasPrefix(got, weight+"this is not of all that was walked") {
		t.Errorf("cut short: %q", got)
	}
	failed := explainedProgram{err: loader.ErrLibraryOnly}
	if got := c.sentence(base, &snap.Subjects[0], &failed); !strings.HasPrefix(got, "where the insns went could not be told: ") {
		t.Errorf("failed: %q", got)
	}
}
