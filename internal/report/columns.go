package report

import (
	"slices"
	"strings"
)

// columns is rows of cells in columns as wide as they need to be. The first
// columns, as many as left says, are aligned to the left, the rest to the right.
type columns struct {
	head []string
	left int
	// beneath are the columns that go beneath their row where a terminal is too narrow, spare
	// those that are left out there: the first named goes first.
	beneath, spare []string
	rows           []columnsRow
}

// columnsRow is one row with the notes beneath it.
type columnsRow struct {
	cells []string
	under []string // cells of columns that went beneath
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
	for _, r := range append([]columnsRow{{cells: t.head}}, t.rows...) {
		for i, c := range r.cells {
			r.cells[i] = p.plainly(c)
		}
	}
	out := t.fit(p)
	width := t.widths()
	if room := p.width - (total(width) - width[0]); p.bounded && width[0] > room {
		width[0] = max(room, 4)
	}
	t.row(p, t.head, width, bold)
	for _, r := range t.rows {
		t.row(p, r.cells, width, plain)
		if len(r.under) > 0 {
			p.line("    ", dim, strings.Join(r.under, ", "))
		}
		for _, n := range r.notes {
			p.line("    ", dim, n)
		}
	}
	if len(out) > 0 {
		p.line("no room for: ", dim, strings.Join(out, ", ")+" (-o json has them)")
	}
}

// fit takes columns out until the rest fits, and gives the heads of those that are left out, in their order.
func (t *columns) fit(p *page) (out []string) {
	order := slices.Clone(t.head)
	defer func() {
		slices.SortFunc(out, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	}()
	for _, name := range slices.Concat(t.beneath, t.spare) {
		width := t.widths()
		width[0] = min(width[0], p.width*2/5) // a longer name may have a line of its own
		if !p.bounded || total(width) <= p.width {
			break
		}
		at := slices.Index(t.head, name)
		if at < 1 {
			continue
		}
		down := slices.Contains(t.beneath, name)
		if !down {
			out = append(out, name)
		}
		for i := range t.rows {
			r := &t.rows[i]
			if at >= len(r.cells) {
				continue
			}
			if c := bare(r.cells[at]); down && c != "" && c != "-" {
				r.under = append(r.under, strings.TrimSpace(name+" "+c))
			}
			r.cells = slices.Delete(r.cells, at, at+1)
		}
		t.head = slices.Delete(t.head, at, at+1)
		if at < t.left {
			t.left--
		}
	}
	return out
}

func (t *columns) widths() []int {
	width := make([]int, len(t.head))
	for _, r := range append([]columnsRow{{cells: t.head}}, t.rows...) {
		for i, c := range r.cells {
			width[i] = max(width[i], Width(c))
		}
	}
	return width
}

// gap is the number of blanks between two columns.
const gap = 2

func total(width []int) int {
	n := 0
	for i, w := range width {
		if i > 0 && w > 0 {
			n += gap
		}
		n += w
	}
	return n
}

// row writes one row. A name that is wider than its column has a line of its own, for it
// is to be copied whole.
func (t *columns) row(p *page, cells []string, width []int, st style) {
	if len(cells) > 1 && Width(cells[0]) > width[0] {
		p.write(p.paint(cells[0], st) + "\n")
		cells = append([]string{""}, cells[1:]...)
	}
	p.write(p.paint(t.layout(cells, width), st) + "\n")
}

func (t *columns) layout(cells []string, width []int) string {
	var b strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, width[i]-Width(c)))
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		if i < t.left {
			b.WriteString(c + pad)
		} else {
			b.WriteString(pad + c)
		}
	}
	return strings.TrimRight(b.String(), " ")
}
