package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/watch"
)

// histories compares this boot's history with those of the last good kernel's other
// boots; nil without an error where nothing was sampled on this boot.
func histories(store *baseline.Store, boot, release string) (*watch.Comparison, error) {
	boots, err := store.Histories()
	if err != nil {
		return nil, err
	}
	var now *watch.History
	var then []*watch.History
	var errs []error
	for _, b := range boots {
		h, err := historyOf(store, b)
		if err != nil {
			errs = append(errs, err) // one of many
			continue
		}
		switch {
		case b == boot:
			now = h
		case h.Release == release:
			then = append(then, h)
		}
	}
	if now == nil {
		return nil, errors.Join(errs...)
	}
	old := watch.Merge(then...)
	old.Release = release
	return watch.Compare(old, now), errors.Join(errs...)
}

func historyOf(store *baseline.Store, boot string) (*watch.History, error) {
	doc, lines, err := store.History(boot)
	if err != nil {
		return nil, err
	}
	book, err := watch.Decode(doc, lines)
	if err != nil {
		return nil, fmt.Errorf("boot %s: %w", boot, err)
	}
	return book.History(), nil
}

// print is `watch --print`.
func (w *watcher) print(ctx context.Context) (int, error) {
	format, err := w.s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	boot, err := w.s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return exitUsage, err
	}
	base, _, err := w.store.LastGood()
	if err != nil {
		return exitUsage, hinted(err, "`lastgood check` learns a first boot; histories are compared with that of the last good kernel")
	}
	c, err := histories(w.store, boot, base.Identity.Kernel.Release)
	if c == nil && err == nil {
		err = hinted(errors.New("nothing was sampled on this boot yet"), "let `lastgood watch` run as a service, or `lastgood watch --once` by a timer")
	}
	if c == nil {
		return exitIncomplete, err
	}
	if err != nil {
		printError(w.s.env.Err, err)
	}
	if err := w.s.warnDamaged(w.store); err != nil {
		return exitUsage, err
	}
	if format == "json" {
		enc := json.NewEncoder(w.s.env.Out)
		enc.SetIndent("", " ")
		return exitOK, enc.Encode(printed(c))
	}
	return exitOK, report.WriteHeat(w.s.env.Out, printed(c), base.Identity.Kernel.Release, w.s.options())
}

// printed leaves out the ranges that neither side was in.
func printed(c *watch.Comparison) report.Heat {
	out := report.Heat{NotComparable: c.NotYet(), Inlet: c.Inlet, Series: []report.HeatSeries{}}
	for i := range c.Rows {
		r := &c.Rows[i]
		row := report.HeatSeries{ID: r.ID, Label: r.Label, Type: r.Type, Unit: watch.Unit(r.Type)}
		for j := range r.Bins {
			b := &r.Bins[j]
			if b.OldN+b.NewN == 0 {
				continue
			}
			p := report.HeatRange{Load: b.Label(), Old: b.Old, OldSamples: b.OldN, New: b.New, NewSamples: b.NewN}
			if b.Enough {
				d := b.Growth()
				p.Difference = &d
			}
			row.Ranges = append(row.Ranges, p)
		}
		if len(row.Ranges) > 0 {
			out.Series = append(out.Series, row)
		}
	}
	return out
}

// judgeHistory adds to a report what the histories say. Hosts without one are not
// troubled with it.
func (c *check) judgeHistory(rep *report.Report, base, snap *snapshot.Snapshot) {
	if rep.Verdict == snapshot.Invalid {
		return
	}
	compared, err := histories(c.store, snap.Identity.BootID, base.Identity.Kernel.Release)
	if err != nil {
		c.note("the history of temperatures", err)
	}
	if compared == nil {
		return
	}
	if why := compared.NotYet(); why != "" {
		rep.Incomplete = append(rep.Incomplete, snapshot.Gap{Kind: watch.KindName, ID: "*", Label: "temperatures by load", Reason: why})
	}
	class := snapshot.ClassHardware
	if slices.Contains(rep.Attribution, snapshot.ClassKernel) {
		class = snapshot.ClassKernel
	}
	for _, f := range c.policy.Weigh(compared.Findings(overridden(watch.Kind().Rules, &c.policy), class)) {
		rep.Findings = append(rep.Findings, f)
		if c.policy.Fails(f) && rep.Verdict != snapshot.Regressed {
			rep.Verdict = snapshot.Regressed
		}
	}
	slices.SortStableFunc(rep.Findings, func(a, b snapshot.Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
}

// overridden gives rules the numbers that the administrator wants.
func overridden(rules []snapshot.Rule, p *compare.Policy) []snapshot.Rule {
	out := slices.Clone(rules)
	for i := range out {
		o := p.Rules[out[i].Code]
		if o.Floor != nil {
			out[i].Floor = *o.Floor
		}
		if o.Ratio != nil {
			out[i].Ratio = *o.Ratio
		}
	}
	return out
}
