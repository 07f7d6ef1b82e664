package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/probes"
)

// Bounds of explaining the programs of an accepted boot.
const (
	acceptExplains    = 20
	acceptExplainTime = 30 * time.Second
	// acceptExplainFrom is what a rule on growth asks for: below it no finding is made
	// that would want an explanation.
	acceptExplainFrom = 5_000
)

// keepExplanations keeps where the insns of the largest programs go on this kernel, which
// is not there to be asked when another one takes more. What cannot be kept is said.
func (s *session) keepExplanations(ctx context.Context, store *baseline.Store, snap *snapshot.Snapshot, set workload.Set) (notes []string) {
	large, wanted := largePrograms(snap)
	if err := store.PruneExplanations(wanted); err != nil {
		notes = append(notes, "explanations that nobody needs were not removed: "+err.Error())
	}
	job, subjects := explainJobOfSubjects(store, snap, large, set)
	if len(subjects) == 0 {
		return notes
	}
	job.Each, job.Total = acceptExplainTime, acceptExplainTime*9/10
	x, err := s.explain(ctx, job, acceptExplainTime, s.guard, "")
	if err != nil {
		return append(notes, "where the insns of programs go is not kept for the next boot: "+hintText(err))
	}
	notes = append(notes, x.warnings...)
	for i, sub := range subjects {
		if err := keepExplanation(store, snap, sub, &x.programs[i]); err != nil {
			notes = append(notes, fmt.Sprintf("where the insns of %s go is not kept for the next boot: %s", sub.Name(), hintText(err)))
		}
	}
	return notes
}

// largePrograms are those that are explained, the largest first, and the keys that their
// explanations have.
func largePrograms(snap *snapshot.Snapshot) (large []*snapshot.Subject, keys []baseline.ExplanationKey) {
	insns := func(s *snapshot.Subject) float64 { n, _ := s.Attrs["insns_processed"].Number(); return n }
	for i := range snap.Subjects {
		sub := &snap.Subjects[i]
		if sub.Kind == probes.ProgramKind().Name && sub.Text("program") != "" && insns(sub) >= acceptExplainFrom {
			large = append(large, sub)
		}
	}
	slices.SortStableFunc(large, func(a, b *snapshot.Subject) int { return cmp.Compare(insns(b), insns(a)) })
	large = large[:min(len(large), acceptExplains)]
	for _, sub := range large {
		keys = append(keys, explanationKey(snap, sub))
	}
	return large, keys
}

// explainJobOfSubjects leaves out what is kept already, and programs that are one and the
// same in several objects.
func explainJobOfSubjects(store *baseline.Store, snap *snapshot.Snapshot, large []*snapshot.Subject, set workload.Set) (job probes.ExplainJob, subjects []*snapshot.Subject) {
	if snap.Identity.Kernel.BuildID == "" {
		return // it could not be told what they are of
	}
	seen := map[baseline.ExplanationKey]bool{}
	for _, sub := range large {
		key := explanationKey(snap, sub)
		at := slices.IndexFunc(set.Files, func(f workload.File) bool { return f.Name == sub.Text("object") })
		if seen[key] || at < 0 {
			continue
		}
		seen[key] = true
		if kept, _ := keptExplanation(store, snap, sub); kept != nil {
			continue
		}
		job.Files = append(job.Files, set.Files[at].ObjectFile)
		job.Programs = append(job.Programs, probes.ExplainProgram{File: len(job.Files) - 1, Name: sub.Text("name")})
		subjects = append(subjects, sub)
	}
	return job, subjects
}

// keepExplanation keeps one that is of the whole verification.
func keepExplanation(store *baseline.Store, snap *snapshot.Snapshot, sub *snapshot.Subject, x *explainedProgram) error {
	if x.err != nil {
		return x.err
	}
	e := x.explanation
	n, _ := sub.Attrs["insns_processed"].Number()
	if e.Verdict == "" || e.Processed == nil || float64(*e.Processed) != n {
		return fmt.Errorf("the second load is not like the first: %s", cmp.Or(e.Partial, string(e.Verdict)+" "+string(e.Reason)))
	}
	b, err := json.Marshal(&e)
	if err != nil {
		return fmt.Errorf("explain %s: %w", sub.ID, err)
	}
	return store.PutExplanation(explanationKey(snap, sub), b)
}
