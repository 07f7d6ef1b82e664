package report

import (
	"fmt"
	"io"
)

// FamilyRow is one family of built-in programs.
type FamilyRow struct {
	Name, Shape string
	Cases       int
	Title       string // what it exercises
}

// FamilyTable lists the families of built-in programs.
func FamilyTable(w io.Writer, rows []FamilyRow, o Options) error {
	p := newPage(w, o)
	name, shape := len("family"), len("kind")
	for _, r := range rows {
		name, shape = max(name, Width(flat(r.Name))), max(shape, Width(flat(r.Shape)))
	}
	lead := func(a, b, c string) string { return fmt.Sprintf("%-*s  %-*s  %5s  ", name, a, shape, b, c) }
	p.line(lead("family", "kind", "cases"), bold, "what it exercises")
	for _, r := range rows {
		p.line(lead(flat(r.Name), flat(r.Shape), fmt.Sprint(r.Cases)), plain, flat(r.Title))
	}
	return p.err
}
