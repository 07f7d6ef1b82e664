package cli

import (
	"cmp"
	"slices"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// trendBoots bounds how many kernels of the history are read: a snapshot takes some
// milliseconds to decode.
const trendBoots = 6

// trend adds to a judged report what only several kernels show. Nothing is said on the
// kernel of the last good boot: what was so when that was accepted is no news.
func (c *check) trend(rep *report.Report, base, snap *snapshot.Snapshot) {
	if rep.Verdict == snapshot.Invalid || base.Identity.Kernel.Release == snap.Identity.Kernel.Release || !compare.MayTrend(snap) {
		return
	}
	found := c.policy.Weigh(compare.Trend(append(c.earlier(base, snap), compare.KernelBoot{Release: snap.Identity.Kernel.Release, Snapshot: snap})))
	rep.Findings = append(rep.Findings, found...)
	slices.SortStableFunc(rep.Findings, func(a, b snapshot.Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	if slices.ContainsFunc(found, c.policy.Fails) {
		rep.Verdict = snapshot.Regressed
	}
}

// earlier are the newest boots of the last kernels of this machine, oldest first. A
// snapshot that cannot be read is told by the store, and its kernel is passed over.
func (c *check) earlier(base, snap *snapshot.Snapshot) []compare.KernelBoot {
	entries, err := c.store.List()
	if err != nil {
		c.note("the history could not be read in full, so that trends over kernels may be missing", err)
	}
	var out []compare.KernelBoot
	seen := map[string]bool{snap.Identity.Kernel.Release: true}
	for _, e := range entries { // newest first
		if e.Err != nil || seen[e.Release] || e.BootID == snap.Identity.BootID || len(out) == trendBoots {
			continue
		}
		old, err := c.store.Load(e.BootID)
		if err != nil || old.Identity.MachineID != snap.Identity.MachineID {
			continue
		}
		seen[e.Release] = true
		out = append(out, compare.KernelBoot{Release: e.Release, Snapshot: old})
	}
	slices.Reverse(out)
	return out
}
