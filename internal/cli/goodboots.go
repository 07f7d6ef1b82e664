package cli

import (
	"errors"
	"io/fs"
	"slices"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// judgeByGood judges by the last good boot, and where that found something that good
// boots may have a say in, by them too.
func (c *check) judgeByGood(rep *report.Report, base, snap *snapshot.Snapshot) compare.Judgement {
	j := compare.Judge(base, snap, c.kinds, c.policy)
	if c.against == "" && compare.MayLearn(j) {
		if l := compare.Learn(base, c.goodBoots(snap)); l.Boots() > 1 {
			j = compare.JudgeLearned(base, snap, c.kinds, c.policy, l)
		}
	}
	fill(rep, j, base, snap, c.kinds)
	if w := j.Withheld; w.Boots > 1 {
		rep.Learned = &report.Learned{Boots: w.Boots, SameBuild: w.Builds, Quiet: w.Quiet, Softened: w.Softened}
	}
	return j
}

// goodBoots are the newest boots that were good by the present baseline, of the kernel
// that runs before others, oldest first. What cannot be read is told by the store.
func (c *check) goodBoots(snap *snapshot.Snapshot) []*snapshot.Snapshot {
	if c.good != nil {
		return c.good
	}
	c.good = []*snapshot.Snapshot{}
	for _, e := range c.goodEntries(snap.Identity.Kernel.Release) {
		if s, err := c.store.Load(e.BootID); err == nil {
			c.good = append(c.good, s)
		}
	}
	return c.good
}

func (c *check) goodEntries(release string) []baseline.Entry {
	all, err := c.store.GoodSince()
	if err != nil && !errors.Is(err, baseline.ErrNone) {
		c.note("the good boots since could not all be told, so that what is known to vary may be reported", err)
	}
	return pickBoots(all, release, c.s.config.LearnBoots)
}

// pickBoots takes the newest boots of a release, then those of others, and puts them
// oldest first.
func pickBoots(newestFirst []baseline.Entry, release string, most int) []baseline.Entry {
	var at []int
	for _, same := range []bool{true, false} {
		for i, e := range newestFirst {
			if (e.Release == release) == same && len(at) < most {
				at = append(at, i)
			}
		}
	}
	slices.Sort(at)
	var out []baseline.Entry
	for _, i := range slices.Backward(at) {
		out = append(out, newestFirst[i])
	}
	return out
}

// tellLate adds to a report what came after the early snapshot of this boot, but for what was
// as late in a good boot.
func (c *check) tellLate(rep *report.Report, snap *snapshot.Snapshot) {
	if c.settling.deadline == 0 || rep.Verdict == snapshot.Invalid {
		return
	}
	early, err := c.store.Early(snap.Identity.BootID)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.note("the early snapshot of this boot", err)
		return
	}
	found := compare.Late(early, snap, nil, c.kinds)
	if len(found) > 0 {
		found = compare.Late(early, snap, c.usuallyLate(snap), c.kinds)
	}
	found = c.policy.Weigh(found)
	rep.Findings = append(rep.Findings, found...)
	slices.SortStableFunc(rep.Findings, func(a, b snapshot.Finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	if slices.ContainsFunc(found, c.policy.Fails) {
		rep.Verdict = snapshot.Regressed
	}
}

// usuallyLate are both snapshots of the good boots that have an early one.
func (c *check) usuallyLate(snap *snapshot.Snapshot) []compare.EarlyAndSettled {
	var out []compare.EarlyAndSettled
	for _, s := range c.goodBoots(snap) {
		if early, err := c.store.Early(s.Identity.BootID); err == nil {
			out = append(out, compare.EarlyAndSettled{Early: early, Settled: s})
		}
	}
	return out
}
