package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"lastgood/internal/collect"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/loader"
	"lastgood/probes"
)

// Bounds of explaining during a check.
const (
	checkExplains    = 3
	checkExplainEach = 5 * time.Second
)

// walkedMore are the codes of findings that say that the verifier walks more of a program.
var walkedMore = []string{"program-rejected", "program-insns-grew", "program-insns-doubled", "program-headroom-low"}

// explainFindings loads the worst of the regressed programs once more, and puts where
// their insns went into the findings' evidence. It takes what is left of the budget and no more.
func (c *check) explainFindings(ctx context.Context, rep *report.Report, base, snap *snapshot.Snapshot) {
	job, subjects := c.toExplain(rep, base, snap)
	if len(job.Programs) == 0 {
		return
	}
	left := c.s.budget - time.Since(c.start)
	if left < collect.MinBudget {
		c.explainedIs(rep, subjects, "where the insns went was not looked for: the budget was used up")
		return
	}
	job.Each, job.Total = checkExplainEach, left*9/10
	x, err := c.s.explain(ctx, job, left, c.s.guard, "")
	if err != nil {
		c.explainedIs(rep, subjects, "where the insns went could not be told: "+err.Error())
		return
	}
	c.notes = append(c.notes, x.warnings...)
	for i, sub := range subjects {
		c.explainedIs(rep, []*snapshot.Subject{sub}, c.sentence(base, sub, &x.programs[i]))
	}
}

// toExplain are the worst findings' programs and how they are read.
func (c *check) toExplain(rep *report.Report, base, snap *snapshot.Snapshot) (job probes.ExplainJob, subjects []*snapshot.Subject) {
	if c.measured == nil {
		return
	}
	for _, f := range rep.Findings {
		sub := snap.Subject(snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID})
		if !slices.Contains(walkedMore, f.Code) || sub == nil || slices.Contains(subjects, sub) || !grew(base, sub) {
			continue
		}
		at := slices.IndexFunc(c.measured.set.Files, func(o workload.File) bool { return o.Name == sub.Text("object") && !o.Idle })
		if at < 0 {
			continue
		}
		job.Files = append(job.Files, c.measured.set.Files[at].ObjectFile)
		job.Programs = append(job.Programs, probes.ExplainProgram{File: len(job.Files) - 1, Name: sub.Text("name")})
		if subjects = append(subjects, sub); len(subjects) == checkExplains {
			break
		}
	}
	return job, subjects
}

// grew reports whether more of a program was walked than before. One that is refused
// earlier, for want of a field say, is not explained by where its insns went.
func grew(base *snapshot.Snapshot, sub *snapshot.Subject) bool {
	old := base.Subject(sub.Key())
	if old == nil {
		return false
	}
	was, ok1 := old.Attrs["insns_processed"].Number()
	is, ok2 := sub.Attrs["insns_processed"].Number()
	return ok1 && ok2 && is > was
}

// sentence says where the growth is, against the last good boot's explanation where it
// was kept, else where most of the insns are.
func (c *check) sentence(base *snapshot.Snapshot, sub *snapshot.Subject, x *explainedProgram) string {
	if x.err != nil {
		return "where the insns went could not be told: " + x.err.Error()
	}
	kept, err := keptExplanation(c.store, base, base.Subject(sub.Key()))
	if kept != nil && x.explanation.Verdict != "" { // of one that was cut short, less was walked
		if g := loader.Compare(*kept, x.explanation); g.New > g.Old {
			return report.GrowthSentence(g)
		}
	}
	why := "how it was at the last good boot was not kept"
	switch {
	case kept != nil:
		why = "this is not of all that was walked, and so not compared with the last good boot"
	case !errors.Is(err, fs.ErrNotExist):
		why = "how it was at the last good boot cannot be told: " + err.Error()
	}
	if s := report.WeightSentence(x.explanation); s != "" {
		return strings.TrimSuffix(s, ".") + "; " + why
	}
	return why
}

// explainedIs puts a sentence before the evidence of the findings on the subjects.
func (c *check) explainedIs(rep *report.Report, subjects []*snapshot.Subject, text string) {
	for i := range rep.Findings {
		f := &rep.Findings[i]
		ours := slices.ContainsFunc(subjects, func(s *snapshot.Subject) bool { return s.Kind == f.Subject.Kind && s.ID == f.Subject.ID })
		if !ours || !slices.Contains(walkedMore, f.Code) {
			continue
		}
		f.Evidence = strings.TrimSpace(fmt.Sprintf("%s\n%s", text, f.Evidence))
	}
}
