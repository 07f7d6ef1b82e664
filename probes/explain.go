package probes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// ExplanationKind is the kind of the subjects that Explanations gives. They are no part
// of a kept snapshot: what they bear is read by DecodeExplanation and printed, or kept
// beside the objects.
const ExplanationKind = "bpf.explanation"

// explanationAttr bears an explanation as JSON.
const explanationAttr = "explanation"

var explanationKind = snapshot.Kind{
	Name:  ExplanationKind,
	Doc:   "Where the insns of one program went.",
	Attrs: []snapshot.Attr{{Name: explanationAttr, Noise: snapshot.Evidence, Doc: "the explanation, as JSON"}},
}

// ExplainJob says which programs are to be explained and how long that may take.
type ExplainJob struct {
	Files    []loader.ObjectFile `json:"files"`
	Programs []ExplainProgram    `json:"programs"` // in this order
	// Each bounds one program, Total all of them, both in the measuring process. A
	// program that was cut short by them is explained as far as it came.
	Each  time.Duration `json:"each"`
	Total time.Duration `json:"total"`
}

// ExplainProgram is a program of one of the job's files.
type ExplainProgram struct {
	File int    `json:"file"`
	Name string `json:"name"`
}

// id is the name under which the results speak of a program.
func (j *ExplainJob) id(p ExplainProgram) string { return j.Files[p.File].Name + "/" + p.Name }

// Group is what the crash guard knows the explaining of a program by. It is not that of
// measuring it: a listing that went wrong is no reason to leave the measuring out.
func (j *ExplainJob) Group(p ExplainProgram) string {
	return "explain " + p.Name + " of " + j.Files[p.File].Name
}

func (j *ExplainJob) check() error {
	for _, p := range j.Programs {
		if p.File < 0 || p.File >= len(j.Files) {
			return fmt.Errorf("explain %s: it is of file %d, and there are %d", p.Name, p.File, len(j.Files))
		}
	}
	if j.Each <= 0 || j.Total <= 0 {
		return errors.New("explain: no time is given")
	}
	return nil
}

// Explanations is a source that loads programs of objects with all of the verifier's
// listing and tells where their insns went. Nothing is pinned or attached.
func Explanations(job ExplainJob) (source.Source, error) {
	if err := job.check(); err != nil {
		return source.Source{}, err
	}
	return source.Source{
		Name:  "explanations",
		Doc:   "Explanations.\nLoads programs with the verifier's whole listing and adds up which functions and source lines took its insns.",
		Kinds: []snapshot.Kind{explanationKind},
		Steps: func(source.Host) []source.Step {
			x := &explaining{job: &job, shelf: shelf{types: btf.NewCache()}}
			var steps []source.Step
			for _, p := range job.Programs {
				// No cost: the bound is on time and not on a guess, and what comes first is wanted first.
				steps = append(steps, source.Step{Group: job.Group(p), Name: p.Name, Kind: ExplanationKind, ID: job.id(p),
					Run: func(ctx context.Context, h source.Host) []snapshot.Subject {
						return []snapshot.Subject{x.explain(ctx, h.Now(), p)}
					}})
			}
			return steps
		},
	}, nil
}

// explaining is a job at work.
type explaining struct {
	job   *ExplainJob
	shelf shelf
	end   time.Time // when the time for all is over; set by the first program
}

// maxExplanation bounds the JSON of an explanation: the measuring process writes it
// into a line that must not be longer than a MiB, with every quote escaped once more.
const maxExplanation = 400 << 10

// leastTime is what is not worth a beginning.
const leastTime = 10 * time.Millisecond

func (x *explaining) explain(ctx context.Context, now time.Time, p ExplainProgram) snapshot.Subject {
	f := &x.job.Files[p.File]
	sub := snapshot.Subject{Kind: ExplanationKind, ID: x.job.id(p), Label: p.Name + " of " + f.Name, Outcome: snapshot.Measured}
	if x.end.IsZero() {
		x.end = now.Add(x.job.Total)
	}
	limits := loader.Limits{Time: min(x.job.Each, x.end.Sub(now))}
	if limits.Time < leastTime {
		sub.Outcome, sub.Reason = snapshot.Skipped, fmt.Sprintf("the %v for all explanations were over", x.job.Total)
		return sub
	}
	e, err := x.load(ctx, f, p.Name, limits)
	var skip *unexplainable
	switch {
	case errors.As(err, &skip), errors.Is(err, loader.ErrLibraryOnly):
		sub.Outcome, sub.Reason = snapshot.Skipped, err.Error()
	case err != nil:
		sub.Outcome, sub.Reason = snapshot.Inconclusive, err.Error()
	}
	if err != nil {
		return sub
	}
	text, err := encodeExplanation(&e)
	if err != nil {
		sub.Outcome, sub.Reason = snapshot.Inconclusive, err.Error()
		return sub
	}
	sub.Set(explanationAttr, snapshot.Text(text))
	return sub
}

// unexplainable is a program that is not loaded by itself.
type unexplainable struct{ why string }

func (e *unexplainable) Error() string { return e.why }

func (x *explaining) load(ctx context.Context, f *loader.ObjectFile, name string, limits loader.Limits) (loader.Explanation, error) {
	object, err := x.shelf.object(f)
	if err != nil {
		return loader.Explanation{}, err
	}
	if object.Spec(name) == nil {
		return loader.Explanation{}, fmt.Errorf("read object %s: it has no program %s", f.Name, name)
	}
	if why := object.Skip(name); why != "" {
		return loader.Explanation{}, &unexplainable{why}
	}
	return object.Explain(ctx, name, x.shelf.types, limits)
}

// encodeExplanation is e as JSON; of one whose texts make it too long, lines are left
// out from the least visited on.
func encodeExplanation(e *loader.Explanation) (string, error) {
	for {
		b, err := json.Marshal(e)
		if err != nil {
			return "", fmt.Errorf("explain %s: %w", e.Program, err)
		}
		if len(b) <= maxExplanation {
			return string(b), nil
		}
		if len(e.Lines) == 0 {
			return "", fmt.Errorf("explain %s: the explanation has %d KiB", e.Program, len(b)>>10)
		}
		half := len(e.Lines) / 2
		for _, l := range e.Lines[half:] {
			e.InsnsLeftOut += l.Insns
		}
		e.LinesLeftOut += len(e.Lines) - half
		e.Lines = e.Lines[:half]
	}
}

// DecodeExplanation reads what a subject of ExplanationKind bears.
func DecodeExplanation(s *snapshot.Subject) (loader.Explanation, error) {
	var e loader.Explanation
	if s.Outcome != snapshot.Measured {
		return e, errors.New(s.Reason)
	}
	if err := json.Unmarshal([]byte(s.Text(explanationAttr)), &e); err != nil {
		return e, fmt.Errorf("read explanation of %s: %w", s.ID, err)
	}
	return e, nil
}
