package cli

import (
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/boot"
	"lastgood/internal/compare"
	"lastgood/internal/metrics"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// rules gathers the declared kinds and the administrator's policy over them.
func (s *session) rules(failOn string) (snapshot.Kinds, compare.Policy, error) {
	all, err := kinds()
	if err != nil {
		return nil, compare.Policy{}, err
	}
	policy := s.config.Policy()
	if failOn != "" {
		policy.FailOn = snapshot.Severity(failOn)
		if policy.FailOn.Rank() == 0 {
			return nil, policy, fmt.Errorf("--fail-on %q: it is critical, warning or info", failOn)
		}
	}
	return all, policy, policy.Check(all, append(preflightCodes(), compare.TrendCode, compare.LateCode, compare.LeftCode)...)
}

// newReport is a report of one snapshot that was not judged yet.
func newReport(snap *snapshot.Snapshot) *report.Report {
	return &report.Report{Taken: snap.Taken, Current: &snap.Identity, Counts: report.Counted(snap)}
}

// judge fills a report with the comparison of two snapshots.
func judge(rep *report.Report, base, snap *snapshot.Snapshot, kinds snapshot.Kinds, policy compare.Policy) {
	fill(rep, compare.Judge(base, snap, kinds, policy), base, snap, kinds)
}

// fill fills a report with a judgement.
func fill(rep *report.Report, j compare.Judgement, base, snap *snapshot.Snapshot, kinds snapshot.Kinds) {
	rep.Baseline, rep.Verdict, rep.Findings, rep.Incomplete, rep.Attribution = &base.Identity, j.Verdict, j.Findings, j.Gaps, j.Attribution
	if j.Elsewhere == "" {
		rep.Mechanisms = mechanisms(base, snap, kinds, j.Findings)
	}
	for _, c := range j.Changes {
		rep.Changes = append(rep.Changes, report.Change(c))
	}
	if j.Refused != "" {
		rep.Notes = append(rep.Notes, j.Refused)
	}
}

// prometheusFormat is what node_exporter's textfile collector reads.
const prometheusFormat = "prometheus"

// reportFormats are the formats of a report, the default one first.
func reportFormats() []string { return append(report.Formats(), prometheusFormat) }

// print writes a report in a format. As metrics it is what `serve` and --textfile say of the
// check as a whole, by the same names.
func (s *session) print(format string, rep *report.Report) error {
	if format == prometheusFormat {
		return metrics.WriteText(s.env.Out, metrics.Families(metrics.Input{Report: rep, Waiting: -1}))
	}
	return report.Write(s.env.Out, format, rep, s.options())
}

// summary is the verdict in one sentence.
func summary(rep *report.Report) string {
	switch rep.Verdict {
	case snapshot.Good:
		if rep.Two {
			return "B is as good as A" + counted(rep, ", but for ")
		}
		return "this host came back the same way it went down" + counted(rep, ", but for ")
	case snapshot.Learned:
		return "there was nothing to compare with yet; this boot is now the last good one"
	case snapshot.Regressed:
		if rep.Two {
			return "B is worse than A" + counted(rep, ": ")
		}
		return "this boot is worse than the last good one" + counted(rep, ": ")
	case snapshot.Invalid:
		return "this is not what was to be compared: " + strings.Join(rep.Notes, "; ")
	}
	why := counting(rep.Incomplete)
	if len(why) == 0 && len(rep.Notes) > 0 {
		return "all was measured, but there is nothing to compare it with, nor could it be kept: " + rep.Notes[0]
	}
	if len(why) == 1 {
		return "not everything could be measured: " + why[0] + counted(rep, "; so far ")
	}
	return "not everything could be measured, so nothing can be said for certain" + counted(rep, "; so far ")
}

// counting lists the reasons of the gaps that keep the verdict from being good,
// each once.
func counting(gaps []snapshot.Gap) []string {
	var out []string
	for _, g := range gaps {
		if g.Counts && !slices.Contains(out, g.Reason) {
			out = append(out, g.Reason)
		}
	}
	return out
}

// counted counts the findings by severity, worst first, behind a lead.
func counted(rep *report.Report, lead string) string {
	n := map[snapshot.Severity]int{}
	for _, f := range rep.Findings {
		n[f.Severity]++
	}
	var parts []string
	for _, s := range []struct {
		severity  snapshot.Severity
		one, more string
	}{{snapshot.Critical, "critical finding", "critical findings"}, {snapshot.Warning, "warning", "warnings"}, {snapshot.Info, "info finding", "info findings"}} {
		switch c := n[s.severity]; {
		case c == 1:
			parts = append(parts, "1 "+s.one)
		case c > 1:
			parts = append(parts, fmt.Sprintf("%d %s", c, s.more))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return lead + strings.Join(parts, ", ")
}

// next says what to do now, as commands to type.
func next(rep *report.Report) []string {
	switch rep.Verdict {
	case snapshot.Regressed:
		lines := []string{"`lastgood check -v` shows the evidence: the verifier's words, the kernel's messages."}
		if rep.Baseline != nil && rep.Current != nil && rep.Baseline.Kernel.Release != rep.Current.Kernel.Release {
			lines = append(lines, "Boot "+rep.Baseline.Kernel.Release+" again where workloads depend on what got worse: it was good.")
		}
		return append(lines, "`lastgood accept current` makes this boot the last good one, if all of this is meant.")
	case snapshot.Incomplete:
		if slices.ContainsFunc(rep.Incomplete, func(g snapshot.Gap) bool { return g.Kind == compare.BaselineKind && g.ID == compare.MachineID }) {
			return []string{"`lastgood accept current` starts anew from this machine as it is now."}
		}
		if slices.ContainsFunc(rep.Incomplete, func(g snapshot.Gap) bool { return g.Kind == lostBaseline.Kind && g.ID == lostBaseline.ID }) {
			return []string{"`lastgood list` shows the boots that are remembered, `lastgood accept BOOT` makes one of them the last good one."}
		}
		return []string{"See to what could not be measured, then run `lastgood check` again. Nothing is known to be worse for it."}
	case snapshot.Invalid:
		if b := rep.Boot; b != nil && b.Class == string(boot.FellBack) {
			return []string{"See why " + b.Intended + " did not come up before it is booted again: the console, `journalctl --list-boots`, /sys/fs/pstore.",
				"`lastgood accept current` makes this boot the last good one, if " + b.Running + " is the kernel to stay on."}
		}
		return []string{"`lastgood accept current` starts anew from this machine as it is now."}
	}
	return nil
}
