package report

import (
	"io"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// Inventory writes the hardware as a tree: what hangs on what.
func Inventory(w io.Writer, s *snapshot.Snapshot, kinds snapshot.Kinds, o Options) error {
	return InventoryDrift(w, s, nil, kinds, o)
}

// InventoryDrift writes the hardware as a tree and marks in it what differs from an
// earlier snapshot; what is gone stands where it was. drift is nil where there is nothing
// to compare with.
func InventoryDrift(w io.Writer, s *snapshot.Snapshot, drift *Drift, kinds snapshot.Kinds, o Options) error {
	p := newPage(w, o)
	t := &tree{p: p, kinds: kinds, marks: newMarks(drift, s, kinds)}
	roots := t.build(s, drift)
	if drift != nil {
		p.line("compared with ", dim, drift.Against)
	}
	if len(roots) == 0 {
		p.write("no hardware was found\n")
		return p.err
	}
	for _, r := range roots {
		t.plainly(r)
		t.measure(r, 0)
	}
	t.fit()
	for i, r := range roots {
		if i > 0 {
			p.write("\n")
		}
		t.write(r, "", "")
	}
	t.legend()
	return p.err
}

// tree is the page with the tree's columns: the branch with the name, an amount (a size,
// a speed, a reading), and a text.
type tree struct {
	p      *page
	kinds  snapshot.Kinds
	marks  *marks
	left   int // width of the first column
	amount int // and of the second
	text   int // where the third begins
}

// branch is how much wider each level of the tree is.
const branch = 3

// plainly leaves what the terminal shows.
func (t *tree) plainly(n *node) {
	n.name, n.amount = t.p.plainly(n.name), t.p.plainly(n.amount)
	for i := range n.facts {
		n.facts[i] = t.p.plainly(n.facts[i])
	}
	for i := range n.marks {
		n.marks[i].text = t.p.plainly(n.marks[i].text)
	}
	for _, c := range n.children {
		t.plainly(c)
	}
}

// measure finds how wide the columns have to be.
func (t *tree) measure(n *node, depth int) {
	most := t.p.width * 2 / 5
	if w := depth*branch + Width(n.name); w <= most {
		t.left = max(t.left, w)
	}
	t.amount = max(t.amount, Width(n.amount))
	for _, c := range n.children {
		t.measure(c, depth+1)
	}
}

// fit places the third column; on a narrow page the second is not kept free where it is empty.
func (t *tree) fit() {
	t.amount = min(t.amount, 12)
	t.text = t.left + 2 + t.amount + 2
	if t.p.width-t.text < leastText {
		t.left = min(t.left, t.p.width/3)
		t.text = t.left + 2
	}
}

// write writes a node behind its branch (lead) and what hangs on it behind theirs, which
// begin with below.
func (t *tree) write(n *node, lead, below string) {
	hang := below
	if len(n.children) > 0 {
		hang += "│"
	}
	t.line(n, lead, hang)
	for i, c := range n.children {
		if i == len(n.children)-1 {
			t.write(c, below+"└─ ", below+"   ")
		} else {
			t.write(c, below+"├─ ", below+"│  ")
		}
	}
}

// line writes one node: its name and amount, its marks, its facts wrapped behind hang.
func (t *tree) line(n *node, lead, hang string) {
	first := t.head(n, lead)
	at := max(t.text, Width(hang)+2)
	start := max(at, Width(first)+2)                 // of the first line, whose name may be long
	if t.p.width-start < leastText/2 && start > at { // no room behind the name
		t.p.write(strings.TrimRight(first, " ") + "\n")
		for _, l := range t.said(n, t.p.width-at, t.p.width-at) {
			t.p.write(hang + strings.Repeat(" ", at-Width(hang)) + l + "\n")
		}
		return
	}
	lines := t.said(n, t.p.width-start, t.p.width-at)
	if len(lines) == 0 {
		t.p.write(strings.TrimRight(first, " ") + "\n")
	}
	for i, l := range lines {
		if i == 0 {
			t.p.write(first + strings.Repeat(" ", start-Width(first)) + l + "\n")
		} else {
			t.p.write(hang + strings.Repeat(" ", at-Width(hang)) + l + "\n")
		}
	}
}

// said is the third column: each mark on a line, the facts behind a single one where
// there is room, else beneath.
func (t *tree) said(n *node, first, rest int) []string {
	var out []string
	facts := strings.Join(n.facts, ", ")
	room := func() int {
		if len(out) == 0 {
			return first
		}
		return rest
	}
	for _, m := range n.marks {
		if len(n.marks) == 1 && facts != "" && Width(m.text+"   "+facts) <= first {
			return []string{t.p.paint(m.text, m.style) + "   " + t.p.paint(facts, dim)}
		}
		for i, l := range wrap(m.text, room(), rest-2) {
			out = append(out, strings.Repeat("  ", min(i, 1))+t.p.paint(l, m.style))
		}
	}
	if facts == "" {
		return out
	}
	for _, l := range wrap(facts, room(), rest) {
		out = append(out, t.p.paint(l, dim))
	}
	return out
}

// head is the first two columns.
func (t *tree) head(n *node, lead string) string {
	name, st := n.name, bold
	if n.gone {
		st = dim
	}
	out := lead + t.p.paint(name, st)
	if n.amount == "" {
		return out
	}
	pad := t.left + 2 - Width(lead+name)
	if t.text > t.left+2 { // there is a second column, aligned to the right
		pad += t.amount - Width(n.amount)
	}
	return out + strings.Repeat(" ", max(pad, 2)) + n.amount
}

// legend says what the marks mean, those that stand in the tree.
func (t *tree) legend() {
	if t.marks.drift == nil {
		return
	}
	var parts []string
	for _, l := range legendWords {
		if slices.Contains(t.marks.used, l.sign) {
			parts = append(parts, l.sign+" "+l.text)
		}
	}
	t.p.write("\n")
	if len(parts) == 0 {
		t.p.write("nothing differs\n")
		return
	}
	t.p.line("", plain, strings.Join(parts, " · "))
}
