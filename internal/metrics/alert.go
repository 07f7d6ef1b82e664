package metrics

import (
	"lastgood/internal/report"
)

// findingInfo names what was found, so that an alert and a dashboard can say which disk it
// is. What a finding says in words is left out: it may hold numbers that change each time.
func (b *builder) findingInfo(r *report.Report) {
	for i := range r.Findings {
		f := &r.Findings[i]
		b.add("lastgood_finding_info", "A finding of the last check: its rule, and what it is about.", 1,
			label{"code", f.Code}, label{"severity", string(f.Severity)}, label{"class", string(f.Class)},
			label{"kind", f.Subject.Kind}, label{"id", f.Subject.ID}, label{"name", f.Subject.Label}, label{"attr", f.Attr})
	}
}

// gateTimes adds since when workloads are held, and between which kernels the newest
// rollback was; lastgood_gate_step_info says how far that has come.
func (b *builder) gateTimes(g *Gate) {
	if g.Held && !g.Since.IsZero() {
		b.add("lastgood_gate_held_since_timestamp_seconds", "Since when workloads are held, in seconds since 1970.", seconds(g.Since))
	}
	if g.From != "" || g.To != "" {
		b.add("lastgood_gate_rollback_info", "The kernels of the newest rollback; lastgood_gate_step_info says how it ended.", 1, label{"from", g.From}, label{"to", g.To})
	}
}
