package metrics

import (
	"cmp"
	"maps"
	"slices"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func verdicts() []snapshot.Verdict {
	return []snapshot.Verdict{snapshot.Good, snapshot.Incomplete, snapshot.Invalid, snapshot.Learned, snapshot.Regressed}
}

func severities() []snapshot.Severity {
	return []snapshot.Severity{snapshot.Critical, snapshot.Info, snapshot.Warning}
}

func classes() []snapshot.Class {
	return []snapshot.Class{snapshot.ClassConfig, snapshot.ClassHardware, snapshot.ClassIdentity, snapshot.ClassKernel, snapshot.ClassObject, snapshot.ClassService, snapshot.ClassTool}
}

// report adds what the last check came to. Every series is there whatever that was, so
// that an alert sees it go back to 0.
func (b *builder) report(r *report.Report) {
	if r == nil {
		return
	}
	for _, v := range verdicts() {
		b.add("lastgood_verdict", "The verdict of the last check: 1 for the one that holds.", flag(v == r.Verdict), label{"verdict", string(v)})
	}
	b.findings(r)
	b.findingInfo(r)
	b.add("lastgood_incomplete", "What the last check could not measure.", float64(len(r.Incomplete)))
	counting := 0
	for _, g := range r.Incomplete {
		counting += int(flag(g.Counts))
	}
	b.add("lastgood_incomplete_counting", "What the last check could not measure and keeps the verdict from being good.", float64(counting))
	b.add("lastgood_check_faults", "Faults of lastgood's own that the last check met.", float64(len(r.Notes)))
	b.add("lastgood_check_duration_seconds", "How long the last check took.", r.TookSeconds)
	if !r.Taken.IsZero() {
		b.add("lastgood_check_timestamp_seconds", "When the last check was begun, in seconds since 1970.", seconds(r.Taken))
	}
	for _, class := range classes() {
		b.add("lastgood_attribution", "What changed since the last good boot: 1 for each class that did.", flag(slices.Contains(r.Attribution, class)), label{"class", string(class)})
	}
	seen := map[string]bool{}
	for _, c := range r.Candidates {
		name := clean(c.Kernel)
		if seen[name] {
			continue // a series may stand once
		}
		seen[name] = true
		for _, v := range verdicts() {
			b.add("lastgood_preflight_verdict", "The verdict of the last preflight of an installed kernel that does not run: 1 for the one that holds.", flag(v == c.Verdict), label{"kernel", name}, label{"verdict", string(v)})
		}
	}
	if r.Boot != nil {
		b.add("lastgood_boot_info", "How this boot came about.", 1, label{"class", r.Boot.Class}, label{"intended", r.Boot.Intended}, label{"running", r.Boot.Running})
	}
}

func (b *builder) findings(r *report.Report) {
	type series struct {
		severity snapshot.Severity
		class    snapshot.Class
	}
	n := map[series]int{}
	codes := map[[2]string]int{}
	for _, f := range r.Findings {
		n[series{f.Severity, f.Class}]++
		codes[[2]string{f.Code, string(f.Severity)}]++
	}
	for _, s := range severities() {
		for _, c := range classes() {
			b.add("lastgood_findings", "Findings of the last check by severity and by what they are attributed to.", float64(n[series{s, c}]), label{"severity", string(s)}, label{"class", string(c)})
		}
	}
	order := slices.SortedFunc(maps.Keys(codes), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) })
	for _, c := range order {
		b.add("lastgood_findings_by_code", "Findings of the last check by the rule that made them; a code without one has no series.", float64(codes[c]), label{"code", c[0]}, label{"severity", c[1]})
	}
}

// identities adds which kernel runs and which one was good.
func (b *builder) identities(in Input) {
	var now, was *snapshot.Identity
	if in.Report != nil {
		now, was = in.Report.Current, in.Report.Baseline
	}
	if now == nil && in.Snapshot != nil {
		now = &in.Snapshot.Identity
	}
	if was == nil && in.Base != nil {
		was = &in.Base.Identity
	}
	if now != nil {
		b.kernel("lastgood_kernel_info", "The kernel that was checked.", now)
	}
	if was != nil {
		b.kernel("lastgood_baseline_info", "The kernel of the last good boot.", was)
	}
	if in.Report != nil && !in.Report.Accepted.IsZero() {
		b.add("lastgood_baseline_accepted_timestamp_seconds", "When the last good boot was accepted, in seconds since 1970.", seconds(in.Report.Accepted), label{"by", in.Report.AcceptedBy})
	}
	if in.Snapshot != nil {
		b.add("lastgood_snapshot_timestamp_seconds", "When the last snapshot was begun, in seconds since 1970.", seconds(in.Snapshot.Taken))
	}
}

func (b *builder) kernel(name, help string, id *snapshot.Identity) {
	k := &id.Kernel
	b.add(name, help, 1, label{"release", k.Release}, label{"build_id", k.BuildID}, label{"arch", k.Arch})
}

// history adds the boots that are kept, the gate and the notifications.
func (b *builder) history(in Input) {
	n := map[snapshot.Verdict]int{}
	for _, boot := range in.Boots {
		n[boot.Verdict]++
	}
	if in.Boots != nil {
		for _, v := range verdicts() {
			b.add("lastgood_boots", "Boots that are kept, by the verdict of their newest check.", float64(n[v]), label{"verdict", string(v)})
		}
		b.add("lastgood_boots", "Boots that are kept, by the verdict of their newest check.", float64(n[""]), label{"verdict", "none"})
	}
	if in.Gate != nil {
		b.add("lastgood_gate_held", "Whether workloads are held.", flag(in.Gate.Held))
		b.add("lastgood_gate_strikes", "Bad boots since the last good one.", float64(in.Gate.Strikes))
		b.add("lastgood_gate_step_info", "What the gate is doing.", 1, label{"step", in.Gate.Step})
		b.gateTimes(in.Gate)
	}
	if in.Waiting >= 0 {
		b.add("lastgood_notifications_waiting", "Notifications that are still to be sent, one a target.", float64(in.Waiting))
	}
}
