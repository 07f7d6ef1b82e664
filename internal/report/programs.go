package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// programKinds are the kinds whose subjects are programs.
var programKinds = map[string]bool{"bpf.probe": true, "bpf.program": true}

// Programs writes the programs of a snapshot as a table, in veristat's columns
// as far as the screen takes them. A refused program shows why beneath.
func Programs(w io.Writer, s *snapshot.Snapshot, o Options) error {
	p := newPage(w, o)
	t := &table{left: 2, head: []string{"program", "verdict", "insns", "of limit", "states", "peak", "max/insn", "stack", "xlated", "jited", "time"}}
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if !programKinds[sub.Kind] {
			continue
		}
		if sub.Outcome != snapshot.Measured {
			t.add(p.paint(clean(sub.ID), dim), string(sub.Outcome))
			t.note(clean(sub.Reason))
			continue
		}
		verdict := sub.Text("verdict")
		t.add(clean(sub.ID), verdict, number(sub, "insns_processed"), share(sub), number(sub, "total_states"), number(sub, "peak_states"),
			number(sub, "max_states_per_insn"), number(sub, "stack_depth"), number(sub, "xlated_bytes"), number(sub, "jited_bytes"),
			snapshot.Seconds.Format(sub.Attrs["verification_seconds"]))
		if verdict == "rejected" {
			t.note(clean(strings.TrimSpace(sub.Text("reason") + ": " + sub.Text("cause"))))
		}
	}
	t.write(p, o.Verbose)
	return p.err
}

func number(s *snapshot.Subject, attr string) string {
	return snapshot.Count.Format(s.Attrs[attr])
}

// share is how much of the limit on processed insns a program takes.
func share(s *snapshot.Subject) string {
	n, ok1 := s.Attrs["insns_processed"].Number()
	limit, ok2 := s.Attrs["insns_limit"].Number()
	if !ok1 || !ok2 || limit <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", n/limit*100)
}

// table is rows of cells in columns as wide as they need to be. The first
// columns, as many as left says, are aligned to the left, the rest to the right.
type table struct {
	head []string
	left int
	rows []tableRow
}

type tableRow struct {
	cells []string
	note  string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, tableRow{cells: cells}) }
func (t *table) note(s string)       { t.rows[len(t.rows)-1].note = s }

func (t *table) write(p *page, notes bool) {
	width := make([]int, len(t.head))
	for _, r := range append([]tableRow{{cells: t.head}}, t.rows...) {
		for i, c := range r.cells {
			width[i] = max(width[i], visible(c))
		}
	}
	p.write(p.paint(t.layout(t.head, width), bold) + "\n")
	for _, r := range t.rows {
		p.write(t.layout(r.cells, width) + "\n")
		if notes && r.note != "" {
			p.line("    ", dim, r.note)
		}
	}
}

func (t *table) layout(cells []string, width []int) string {
	var b strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, width[i]-visible(c)))
		if i > 0 {
			b.WriteString("  ")
		}
		if i < t.left {
			b.WriteString(c + pad)
		} else {
			b.WriteString(pad + c)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// visible is the number of columns that a cell takes, colours not counted.
func visible(s string) int {
	n := utf8.RuneCountInString(s)
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return n
		}
		end := strings.IndexByte(s[i:], 'm')
		if end < 0 {
			return n
		}
		n -= end + 1
		s = s[i+end+1:]
	}
}

// csvColumns are veristat's names for what a program's attributes hold.
var csvColumns = []struct{ name, attr string }{
	{"total_insns", "insns_processed"}, {"total_states", "total_states"}, {"peak_states", "peak_states"},
	{"max_states_per_insn", "max_states_per_insn"}, {"max_mark_read_len", "mark_read"}, {"prog_size", "insns"},
	{"prog_size_jited", "jited_bytes"}, {"stack_depth", "stack_depth"},
}

// ProgramsCSV writes the programs in veristat's CSV, so that `veristat -C` reads
// them. That format has no word for "absent": as veristat itself does, a counter
// that is not known is written as 0, and a program without a verdict is left out.
func ProgramsCSV(w io.Writer, s *snapshot.Snapshot) error {
	var b strings.Builder
	b.WriteString("file_name,prog_name,verdict,duration")
	for _, c := range csvColumns {
		b.WriteString("," + c.name)
	}
	b.WriteString("\n")
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		verdict := map[string]string{"accepted": "success", "rejected": "failure"}[sub.Text("verdict")]
		if !programKinds[sub.Kind] || verdict == "" {
			continue
		}
		file, prog, _ := strings.Cut(sub.ID, "/")
		seconds, _ := sub.Attrs["verification_seconds"].Number()
		fmt.Fprintf(&b, "%s,%s,%s,%d", csvName(file), csvName(prog), verdict, int64(seconds*1e6))
		for _, c := range csvColumns {
			n, _ := sub.Attrs[c.attr].Number()
			b.WriteString("," + strconv.FormatInt(int64(n), 10))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// csvName keeps a name one field: veristat splits at commas and knows no quotes.
func csvName(s string) string {
	return strings.NewReplacer(",", "_", "\n", "_", "\"", "_").Replace(clean(s))
}
