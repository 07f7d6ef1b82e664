package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lastgood/internal/collect"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/workload"
	"lastgood/loader"
	"lastgood/probes"
)

// explained is what came of explaining programs.
type explained struct {
	identity snapshot.Identity
	programs []explainedProgram
	warnings []string // what the kernel said meanwhile
}

// explainedProgram is one program, in the order it was asked for.
type explainedProgram struct {
	object, name string
	subject      *snapshot.Subject
	explanation  loader.Explanation
	err          error // why there is none
}

// explain has the measuring process explain programs, under the bounds and the guard of
// measuring. An error means that there is no answer at all.
func (s *session) explain(ctx context.Context, job probes.ExplainJob, budget time.Duration, guard openGuard, unguarded string) (*explained, error) {
	src, err := probes.Explanations(job)
	if err != nil {
		return nil, err
	}
	in := measureInput{Explain: &job}
	input, err := in.encode()
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	p := newProgress(s)
	defer p.end()
	snap, err := collect.Run(ctx, collect.Options{
		Host: s.host(), Sources: []source.Source{src}, Tool: tool(), Phase: "explain", Budget: budget, Jobs: s.jobs,
		Guard: guard, Unguarded: unguarded, Input: input, Progress: p.show,
	})
	if err != nil {
		return nil, err
	}
	return gatherExplained(&job, snap), nil
}

func gatherExplained(job *probes.ExplainJob, snap *snapshot.Snapshot) *explained {
	out := &explained{identity: snap.Identity}
	reason := "it was not reached"
	for i := range snap.Subjects {
		switch sub := &snap.Subjects[i]; {
		case sub.Kind == collect.WarningKind:
			out.warnings = append(out.warnings, "the kernel warned during \""+sub.Name()+"\": "+sub.Text("lines"))
		case sub.Kind == snapshot.SourceKind && sub.Outcome != snapshot.Measured && sub.Reason != "":
			reason = sub.Reason
		}
	}
	for _, p := range job.Programs {
		x := explainedProgram{object: job.Files[p.File].Name, name: p.Name}
		x.subject = snap.Subject(snapshot.Key{Kind: probes.ExplanationKind, ID: x.object + "/" + x.name})
		if x.subject == nil {
			x.err = errors.New(reason)
		} else {
			x.explanation, x.err = probes.DecodeExplanation(x.subject)
		}
		out.programs = append(out.programs, x)
	}
	return out
}

// explainEach bounds one program for a person, who can interrupt it.
const explainEach = 5 * time.Minute

// explainObjects explains the selected programs of objects and prints what came of it.
func (p *probe) explainObjects(ctx context.Context, s *session, set workload.Set) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	job, unread := explainJobOf(set)
	for _, err := range unread {
		printError(s.env.Err, err)
	}
	if len(job.Programs) == 0 {
		if len(unread) > 0 {
			return exitIncomplete, nil
		}
		return exitUsage, errors.New("explain: no program is like --program")
	}
	job.Each, job.Total = explainEach, s.budget*9/10
	x, err := s.explain(ctx, job, s.budget, s.guardFor(groupsOf(&job)), "a person runs it")
	if err != nil {
		return exitIncomplete, err
	}
	for _, w := range x.warnings {
		printError(s.env.Err, errors.New(w))
	}
	if err := s.printExplained(format, x); err != nil {
		return exitUsage, err
	}
	status := x.status()
	if len(unread) > 0 && status != exitRegressed {
		status = exitIncomplete
	}
	return status, nil
}

// explainJobOf takes all programs that the set's files select; files whose programs
// cannot be listed are told of.
func explainJobOf(set workload.Set) (job probes.ExplainJob, unread []error) {
	for _, p := range set.Problems {
		unread = append(unread, errors.New(p.Why))
	}
	for i := range set.Files {
		f := &set.Files[i].ObjectFile
		names, err := programsOf(f)
		if err != nil {
			unread = append(unread, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		job.Files = append(job.Files, *f)
		for _, name := range names {
			job.Programs = append(job.Programs, probes.ExplainProgram{File: len(job.Files) - 1, Name: name})
		}
	}
	return job, unread
}

// programsOf are the names of the programs that a file selects.
func programsOf(f *loader.ObjectFile) ([]string, error) {
	b, err := f.Read()
	if err != nil {
		return nil, err
	}
	listed, err := loader.ListPrograms(b)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range listed {
		if f.Loads(l.Name) {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

// groupsOf are the names that the crash guard knows a job by.
func groupsOf(job *probes.ExplainJob) []string {
	var out []string
	for _, p := range job.Programs {
		out = append(out, job.Group(p))
	}
	return out
}

// status is 3 where something could not be told, or nothing at all was, 1 where a
// program is refused.
func (x *explained) status() int {
	status, told := exitOK, false
	for i := range x.programs {
		p := &x.programs[i]
		told = told || p.err == nil
		switch {
		case p.err != nil && (p.subject == nil || p.subject.Outcome == snapshot.Inconclusive):
			status = exitIncomplete
		case p.err == nil && p.explanation.Verdict == "":
			status = exitIncomplete
		case p.err == nil && p.explanation.Verdict == loader.Rejected && status == exitOK:
			status = exitRegressed
		}
	}
	if !told {
		return exitIncomplete
	}
	return status
}

// explainedDoc is the JSON of `probe --explain`.
type explainedDoc struct {
	Schema   string                  `json:"schema"`
	Tool     string                  `json:"tool"`
	Kernel   snapshot.KernelIdentity `json:"kernel"`
	Programs []explainedEntry        `json:"programs"`
}

type explainedEntry struct {
	Object      string              `json:"object"`
	Program     string              `json:"program"`
	Reason      string              `json:"reason,omitempty"` // why there is no explanation
	Explanation *loader.Explanation `json:"explanation,omitempty"`
}

const explainedSchema = "lastgood.explanations/v1"

func (s *session) printExplained(format string, x *explained) error {
	if format == "json" {
		doc := explainedDoc{Schema: explainedSchema, Tool: tool(), Kernel: x.identity.Kernel, Programs: []explainedEntry{}}
		for i := range x.programs {
			p := &x.programs[i]
			e := explainedEntry{Object: p.object, Program: p.name, Explanation: &p.explanation}
			if p.err != nil {
				e.Reason, e.Explanation = p.err.Error(), nil
			}
			doc.Programs = append(doc.Programs, e)
		}
		enc := json.NewEncoder(s.env.Out)
		enc.SetIndent("", " ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(doc); err != nil {
			return fmt.Errorf("write explanations: %w", err)
		}
		return nil
	}
	for i := range x.programs {
		p := &x.programs[i]
		if err := s.printExplanation(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) printExplanation(p *explainedProgram) error {
	e := p.explanation
	if p.err != nil {
		e = loader.Explanation{Partial: "not explained: " + p.err.Error()}
	}
	e.Program = p.name + " of " + p.object
	return report.Explanation(s.env.Out, e, s.options())
}

// oneProgram is the set's only selected program, or says which there are.
func oneProgram(job *probes.ExplainJob) (*loader.ObjectFile, string, error) {
	if len(job.Programs) == 1 {
		return &job.Files[job.Programs[0].File], job.Programs[0].Name, nil
	}
	const most = 20
	var names []string
	for _, p := range job.Programs[:min(len(job.Programs), most)] {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, "", errors.New("--export: no program is like --program")
	}
	return nil, "", hinted(fmt.Errorf("--export: it is of one program, and %d are selected", len(job.Programs)),
		"name one with --program: %s", strings.Join(names, ", "))
}
