package report

import (
	"strings"
	"unicode/utf8"
)

// columns is rows of cells in columns as wide as they need to be. The first
// columns, as many as left says, are aligned to the left, the rest to the right.
type columns struct {
	head []string
	left int
	rows []columnsRow
}

// columnsRow is one row with the notes beneath it.
type columnsRow struct {
	cells []string
	notes []string
}

func (t *columns) add(cells ...string) { t.rows = append(t.rows, columnsRow{cells: cells}) }

// note puts a text beneath the last row, unless it is empty.
func (t *columns) note(s string) {
	if s != "" {
		last := &t.rows[len(t.rows)-1]
		last.notes = append(last.notes, s)
	}
}

func (t *columns) write(p *page) {
	width := make([]int, len(t.head))
	for _, r := range append([]columnsRow{{cells: t.head}}, t.rows...) {
		for i, c := range r.cells {
			width[i] = max(width[i], visible(c))
		}
	}
	p.write(p.paint(t.layout(t.head, width), bold) + "\n")
	for _, r := range t.rows {
		p.write(t.layout(r.cells, width) + "\n")
		for _, n := range r.notes {
			p.line("    ", dim, n)
		}
	}
}

func (t *columns) layout(cells []string, width []int) string {
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
