package report

import (
	"io"

	"lastgood/internal/snapshot"
)

// BreakingPoints writes how large programs may become, as a table; nothing where a
// snapshot has none.
func BreakingPoints(w io.Writer, s *snapshot.Snapshot, o Options) error {
	p := newPage(w, o)
	t := &columns{left: 1, head: []string{"breaking point", "largest", "insns then", "of"}, beneath: []string{"of"}}
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if sub.Kind != "bpf.breaking_point" {
			continue
		}
		if sub.Outcome != snapshot.Measured {
			t.add(p.paint(flat(sub.ID), dim), flat(string(sub.Outcome)))
			t.note(cut(flat(sub.Reason), longText))
			continue
		}
		largest := number(sub, "largest")
		if sub.Text("open_ended") == "yes" {
			largest = "> " + largest
		}
		t.add(flat(sub.ID), largest, number(sub, "insns_processed"), flat(sub.Text("parameter")))
		t.note(cut(flat(joined(": ", sub.Text("reason"), sub.Text("cause"))), longText))
	}
	if len(t.rows) == 0 {
		return nil
	}
	p.write("\n")
	t.write(p)
	return p.err
}
