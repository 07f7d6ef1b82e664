package page

import (
	"strings"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// nodeView is a line of the tree.
type nodeView struct {
	Name, Amount string
	Facts        string
	Marks        []markView
	Gone         bool
	Children     []*nodeView
	Hidden       int  // of its own children and what is beneath them: how many are not shown
	Plain        bool // nothing at or beneath it differs
}

// markView is one difference.
type markView struct {
	Kind string // gone, new, other, worse or lost: which sign is drawn
	Word string // the same for who does not see it
	Text string
	Bad  string // critical, warning or ""
}

// markKinds are the signs of the console's tree.
var markKinds = map[string]struct{ kind, word string }{
	"-": {"gone", "gone"}, "+": {"new", "new"}, "~": {"other", "changed"}, "!": {"worse", "worse"}, "?": {"lost", "not told"},
}

// treeView is the inventory.
type treeView struct {
	Roots   []*nodeView
	Devices int
	Counts  []markView // how many there are of each sign; Text is the number
	Against string
	Drift   bool // there is something to compare with
	Whole   bool // not only what differs
	Hidden  int
}

// hardware is the tree as the console draws it, with what differs from base, which has the
// IDs of the present snapshot.
func hardware(in *Input, base *snapshot.Snapshot) []*report.Node {
	if in.Snapshot == nil {
		return nil
	}
	var drift *report.Drift
	if base != nil {
		drift = &report.Drift{Base: base, Deltas: compare.Diff(in.Base, in.Snapshot, in.Kinds)}
		if in.Report != nil {
			drift.Findings = in.Report.Findings
		}
	}
	return report.Nodes(in.Snapshot, drift, in.Kinds)
}

// inventory is the hardware as a tree with what differs marked. Of what does not differ only
// most lines are shown; where most is 0, none that nothing beneath differs.
func inventory(in *Input, roots []*report.Node, most int) *treeView {
	if in.Snapshot == nil {
		return nil
	}
	v := &treeView{Whole: most > 0}
	if in.Base != nil {
		v.Drift, v.Against = true, clean(in.Base.Identity.Kernel.Release)
	}
	n := map[string]int{}
	t := trimmer{plain: most, marked: 200}
	for _, root := range roots {
		view := nodeOf(root, n, &v.Devices)
		if root.Key.ID == "" && len(view.Children) == 0 {
			continue // a heading of nothing
		}
		if t.trim(view, 0) {
			v.Roots = append(v.Roots, view)
		}
	}
	v.Hidden = t.hidden
	for _, sign := range []string{"-", "!", "+", "~", "?"} {
		if k := markKinds[sign]; n[k.kind] > 0 {
			v.Counts = append(v.Counts, markView{Kind: k.kind, Word: k.word, Text: count(float64(n[k.kind]))})
		}
	}
	if v.Devices == 0 && len(v.Roots) == 0 {
		return nil
	}
	return v
}

func nodeOf(r *report.Node, n map[string]int, devices *int) *nodeView {
	v := &nodeView{Name: clean(r.Name), Amount: clean(r.Amount), Facts: report.Flat(strings.Join(r.Facts, ", "), 300), Gone: r.Gone}
	if r.Key.ID != "" && !r.Gone {
		*devices++
	}
	for i, m := range r.Marks {
		k := markKinds[m.Sign]
		n[k.kind]++
		if i >= 6 {
			continue
		}
		mv := markView{Kind: k.kind, Word: k.word, Text: report.Flat(m.Text, 300)}
		if m.Level == snapshot.Critical || m.Level == snapshot.Warning {
			mv.Bad = string(m.Level)
		}
		v.Marks = append(v.Marks, mv)
	}
	v.Plain = len(r.Marks) == 0
	for _, c := range r.Children {
		if strings.HasPrefix(c.Key.Kind, "net.") && !device(c.Key.Kind) {
			continue // addresses, routes and listeners hang on nothing
		}
		child := nodeOf(c, n, devices)
		v.Children = append(v.Children, child)
		v.Plain = v.Plain && child.Plain
	}
	return v
}

// mostDepth bounds the tree: a chain of hubs ends at seven (USB 2.0, 4.1.1), PCI bridges
// nest less deep; deeper is a circle or nonsense.
const mostDepth = 24

// trimmer leaves lines out that are one too many.
type trimmer struct {
	plain, marked int // how many lines of either sort are still taken
	hidden        int
}

// trim reports whether a node is shown, and takes out what of it is not.
func (t *trimmer) trim(v *nodeView, depth int) bool {
	switch {
	case depth > mostDepth, v.Plain && t.plain == 0, !v.Plain && t.marked == 0:
		t.hidden += size(v)
		return false
	case v.Plain:
		t.plain--
	default:
		t.marked--
	}
	var kept []*nodeView
	for _, c := range v.Children {
		if t.trim(c, depth+1) {
			kept = append(kept, c)
		} else {
			v.Hidden += size(c)
		}
	}
	v.Children = kept
	return true
}

func size(v *nodeView) int {
	n := 1
	for _, c := range v.Children {
		n += size(c)
	}
	return n
}
