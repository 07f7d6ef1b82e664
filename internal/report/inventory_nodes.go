package report

import (
	"strings"

	"lastgood/internal/snapshot"
)

// Node is one line of the inventory's tree with what hangs on it.
type Node struct {
	Key      snapshot.Key // zero of a heading and of what is told elsewhere already
	Name     string
	Amount   string // a size, a speed, a reading
	Facts    []string
	Marks    []Mark
	Gone     bool
	Children []*Node
}

// Mark is one difference from an earlier snapshot.
type Mark struct {
	Sign  string            // - gone, + new, ~ other and not worse, ! worse, ? could not be told
	Text  string            // in words
	Level snapshot.Severity // how bad it is
}

// Nodes is the tree that Inventory draws. drift is nil where there is nothing to compare with.
func Nodes(s *snapshot.Snapshot, drift *Drift, kinds snapshot.Kinds) []*Node {
	t := &tree{p: newPage(nil, Options{}), kinds: kinds, marks: newMarks(drift, s, kinds)}
	var out []*Node
	for _, r := range t.build(s, drift) {
		out = append(out, exported(r))
	}
	return out
}

func exported(n *node) *Node {
	out := &Node{Name: n.name, Amount: n.amount, Facts: n.facts, Gone: n.gone}
	if n.sub != nil && n.sub.ID != "" {
		out.Key = n.sub.Key()
	}
	for _, m := range n.marks {
		sign, text, _ := strings.Cut(m.text, " ")
		out.Marks = append(out.Marks, Mark{Sign: sign, Text: text, Level: levels[m.style]})
	}
	for _, c := range n.children {
		out.Children = append(out.Children, exported(c))
	}
	return out
}

// levels are what the colours of marks mean.
var levels = map[style]snapshot.Severity{red: snapshot.Critical, yellow: snapshot.Warning, green: snapshot.Info, plain: snapshot.Info, dim: snapshot.Info}
