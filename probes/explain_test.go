package probes

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

func TestExplainJobIsChecked(t *testing.T) {
	file := []loader.ObjectFile{{Name: "a.o"}}
	for name, job := range map[string]ExplainJob{
		"no such file": {Files: file, Programs: []ExplainProgram{{1, "p"}}, Each: 1, Total: 1},
		"less than 0":  {Files: file, Programs: []ExplainProgram{{-1, "p"}}, Each: 1, Total: 1},
		"no time":      {Files: file, Programs: []ExplainProgram{{0, "p"}}, Each: 1},
	} {
		if _, err := Explanations(job); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// explainSteps runs a job's steps here, at the given times.
func explainSteps(t *testing.T, job ExplainJob, at ...time.Time) []snapshot.Subject {
	t.Helper()
	src, err := Explanations(job)
	if err != nil {
		t.Fatal(err)
	}
	var out []snapshot.Subject
	for i, st := range src.Steps(source.Host{}) {
		now := at[min(i, len(at)-1)]
		for _, s := range st.Run(context.Background(), source.Host{Now: func() time.Time { return now }}) {
			if s.Kind != st.Kind || s.ID != st.ID {
				t.Errorf("step %s/%s gave %s", st.Kind, st.ID, s.Key())
			}
			out = append(out, s)
		}
	}
	return out
}

func TestExplainingEndsWithItsTime(t *testing.T) {
	start := time.Unix(1000, 0)
	job := ExplainJob{Files: []loader.ObjectFile{{Name: "a.o", Path: "/nonexistent/a.o"}}, Programs: []ExplainProgram{{0, "p"}, {0, "q"}}, Each: time.Second, Total: 2 * time.Second}
	got := explainSteps(t, job, start, start.Add(2*time.Second))
	if got[0].Outcome != snapshot.Inconclusive || !strings.Contains(got[0].Reason, "read object") {
		t.Errorf("within its time: %s %s", got[0].Outcome, got[0].Reason)
	}
	if got[1].Outcome != snapshot.Skipped || !strings.Contains(got[1].Reason, "were over") {
		t.Errorf("beyond it: %s %s", got[1].Outcome, got[1].Reason)
	}
	if _, err := DecodeExplanation(&got[1]); err == nil || err.Error() != got[1].Reason {
		t.Errorf("decoded: %v", err)
	}
}

func TestExplainLive(t *testing.T) {
	needCensus(t)
	job := ExplainJob{Files: []loader.ObjectFile{{Name: "a.o", Path: "../bpf/path_walker_small_bpfel.o"}},
		Programs: []ExplainProgram{{0, "walk_path"}, {0, "nobody"}}, Each: time.Minute, Total: time.Minute}
	got := explainSteps(t, job, time.Now())
	e, err := DecodeExplanation(&got[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.Verdict != loader.Accepted || e.Processed == nil || e.Attributed == 0 || len(e.Functions) == 0 {
		t.Errorf("%+v", e)
	}
	if got[1].Outcome != snapshot.Inconclusive || !strings.Contains(got[1].Reason, "no program nobody") {
		t.Errorf("%s %s", got[1].Outcome, got[1].Reason)
	}
}

// An explanation fits into the line that the measuring process writes, whatever the
// object's texts are, and what was left out is counted.
func TestExplanationFitsIntoALine(t *testing.T) {
	e := loader.Explanation{Program: "p"}
	var all uint64
	for i := range 200 {
		e.Lines = append(e.Lines, loader.LineInsns{Function: strings.Repeat("\x01", 128), File: strings.Repeat("\x02", 256), Text: strings.Repeat("\"", 160), Insns: uint64(200 - i)})
		all += uint64(200 - i)
	}
	text, err := encodeExplanation(&e)
	if err != nil {
		t.Fatal(err)
	}
	sub := snapshot.Subject{Kind: ExplanationKind, ID: "a.o/p", Outcome: snapshot.Measured}
	sub.Set(explanationAttr, snapshot.Text(text))
	line, err := json.Marshal(sub)
	if err != nil || len(line) >= 1<<20 {
		t.Fatalf("a line of %d bytes, %v", len(line), err)
	}
	back, err := DecodeExplanation(&sub)
	if err != nil {
		t.Fatal(err)
	}
	sum := back.InsnsLeftOut
	for _, l := range back.Lines {
		sum += l.Insns
	}
	if sum != all || len(back.Lines)+back.LinesLeftOut != 200 || len(back.Lines) == 0 {
		t.Errorf("%d lines and %d left out, %d insns of %d", len(back.Lines), back.LinesLeftOut, sum, all)
	}
}

func TestDecodeExplanationRefusesRubbish(t *testing.T) {
	sub := snapshot.Subject{Kind: ExplanationKind, ID: "a.o/p", Outcome: snapshot.Measured}
	var syntax *json.SyntaxError
	if _, err := DecodeExplanation(&sub); !errors.As(err, &syntax) {
		t.Errorf("nothing: %v", err)
	}
}
