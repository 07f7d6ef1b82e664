package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// programKinds are the kinds whose subjects are programs.
var programKinds = []string{"bpf.probe", "bpf.program"}

// The verifier's verdicts, as a program's attribute verdict bears them.
const (
	accepted = "accepted"
	rejected = "rejected"
)

// Programs writes the programs of a snapshot as a table, in veristat's columns
// as far as the screen takes them. A refused program shows why beneath, one that
// was not measured too. The type has a column where any program says its own.
func Programs(w io.Writer, s *snapshot.Snapshot, o Options) error {
	p := newPage(w, o)
	t := &columns{left: 2, head: []string{"program", "verdict", "insns", "of limit", "states", "peak", "max/insn", "stack", "xlated", "jited", "time"},
		spare: []string{"jited", "xlated", "stack", "max/insn", "peak", "type", "time", "states", "of limit"}}
	subs := programsOf(s)
	typed := slices.ContainsFunc(subs, func(sub *snapshot.Subject) bool { return sub.Text("prog_type") != "" })
	if typed {
		t.head = append(t.head, "type")
	}
	for _, sub := range subs {
		if sub.Outcome != snapshot.Measured {
			t.add(p.paint(flat(sub.ID), dim), flat(string(sub.Outcome)))
			t.note(cut(flat(sub.Reason), longText))
			continue
		}
		cells := []string{flat(sub.ID), orDash(sub.Text("verdict")), number(sub, "insns_processed"), share(sub), number(sub, "total_states"), number(sub, "peak_states"),
			number(sub, "max_states_per_insn"), number(sub, "stack_depth"), number(sub, "xlated_bytes"), number(sub, "jited_bytes"),
			flat(snapshot.Seconds.Format(sub.Attrs["verification_seconds"]))}
		if typed {
			cells = append(cells, orDash(sub.Text("prog_type")))
		}
		t.add(cells...)
		if sub.Text("verdict") == rejected {
			t.note(cut(flat(joined(": ", sub.Text("reason"), sub.Text("cause"))), longText))
		}
		if o.Verbose {
			for _, err := range unread(sub) {
				t.note(err)
			}
		}
	}
	t.write(p)
	p.programsCount(subs)
	return p.err
}

// programsCount ends a table of many programs.
func (p *page) programsCount(subs []*snapshot.Subject) {
	if len(subs) < 2 {
		return
	}
	n := map[string]int{}
	for _, s := range subs {
		if s.Outcome == snapshot.Measured {
			n[s.Text("verdict")]++
		} else {
			n[string(s.Outcome)]++
		}
	}
	parts := []string{fmt.Sprintf("%d accepted", n[accepted]), fmt.Sprintf("%d rejected", n[rejected])}
	for _, o := range []snapshot.Outcome{snapshot.Inconclusive, snapshot.Skipped, snapshot.Unsupported} {
		if n[string(o)] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[string(o)], o))
		}
	}
	if n[""] > 0 {
		parts = append(parts, fmt.Sprintf("%d without a verdict", n[""]))
	}
	p.line(fmt.Sprintf("%d programs: ", len(subs)), bold, strings.Join(parts, ", "))
}

// programsOf are the snapshot's programs in its order.
func programsOf(s *snapshot.Snapshot) []*snapshot.Subject {
	var out []*snapshot.Subject
	for i := range s.Subjects {
		if slices.Contains(programKinds, s.Subjects[i].Kind) {
			out = append(out, &s.Subjects[i])
		}
	}
	return out
}

func number(s *snapshot.Subject, attr string) string {
	return orDash(snapshot.Count.Format(s.Attrs[attr]))
}

// share is how much of the limit on processed insns a program takes.
func share(s *snapshot.Subject) string {
	n, ok1 := s.Attrs["insns_processed"].Number()
	limit, ok2 := s.Attrs["insns_limit"].Number()
	if !ok1 || !ok2 || limit <= 0 {
		return "-"
	}
	if n > 0 && n/limit < 0.00005 { // which is little, and not nothing
		return "< 0.01 %"
	}
	return fmt.Sprintf("%.2f %%", n/limit*100)
}
