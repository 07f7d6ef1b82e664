package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Row is one boot of the history.
type Row struct {
	Taken    time.Time
	BootID   string
	Release  string
	Verdict  snapshot.Verdict // "" where the boot was not judged
	Critical int
	Warning  int
	Info     int
	LastGood bool
	Current  bool
	Trouble  string // why the snapshot cannot be used
}

// marksHead is the head of the column that says which boots are special: it needs none.
const marksHead = ""

// History writes the boots that are remembered, as given.
func History(w io.Writer, rows []Row, o Options) error {
	p := newPage(w, o)
	if len(rows) == 0 {
		p.write("no boot is remembered yet; `lastgood check` learns the first one\n")
		return p.err
	}
	t := &columns{left: 4, head: []string{"boot", "taken (UTC)", "kernel", "verdict", "critical", "warning", "info", marksHead},
		beneath: []string{marksHead, "taken (UTC)"}, spare: []string{"info", "warning"}}
	for _, r := range rows {
		var marks []string
		if r.LastGood {
			marks = append(marks, p.paint("last good", green))
		}
		if r.Current {
			marks = append(marks, "this boot")
		}
		mark := strings.Join(marks, ", ")
		if r.Trouble != "" {
			t.add(start(r.BootID, 8), taken(r.Taken), orDash(r.Release), p.paint("unusable", red), "", "", "", mark)
			t.note(cut(flat(r.Trouble), longText))
			continue
		}
		counts := []string{"-", "-", "-"} // a boot that was not judged has no findings to count, not none
		if r.Verdict != "" {
			counts = []string{fmt.Sprint(r.Critical), fmt.Sprint(r.Warning), fmt.Sprint(r.Info)}
		}
		verdict := p.paint(orDash(string(r.Verdict)), verdictStyles[r.Verdict])
		t.add(start(r.BootID, 8), taken(r.Taken), orDash(r.Release), verdict, counts[0], counts[1], counts[2], mark)
	}
	t.write(p)
	if !slices.ContainsFunc(rows, func(r Row) bool { return r.LastGood }) {
		p.line("", plain, "none of them is the last good one: `lastgood accept BOOT` makes it that")
	}
	return p.err
}

func taken(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02 15:04")
}
