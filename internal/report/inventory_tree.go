package report

import (
	"cmp"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// node is one line of the tree with what hangs on it.
type node struct {
	sub      *snapshot.Subject
	also     []*snapshot.Subject // told on the same line: the controller that a PCI function is
	name     string
	amount   string
	facts    []string
	marks    []mark
	gone     bool
	children []*node
}

func hardware(kind string) bool {
	return strings.HasPrefix(kind, "hw.") || strings.HasPrefix(kind, "net.")
}

// sameThing are kinds that say more of the PCI function or device that they hang on.
var sameThing = map[string]bool{"hw.xhci": true, "hw.raid": true, "hw.raid_firmware": true, "hw.smart": true}

// underMachine are the kinds that belong to the machine as a whole, in the order in which
// they are told. What else has no parent is elsewhere.
var underMachine = []string{"hw.cpu", "hw.memory", "hw.dimm", "hw.edac", "hw.bmc", "hw.chassis", "hw.sel", "hw.bmc_sensor", "hw.sensor", "hw.cooling", "hw.pci"}

// plumbing are kinds that a person sees only where there is something to see of them:
// the ports and the hosts that disks are reached through.
var plumbing = map[string]bool{"hw.usb_port": true, "hw.scsi_host": true}

// build makes the tree: the machine, and what has no place in it. In a circle of parents the
// first one is a root.
func (t *tree) build(s *snapshot.Snapshot, drift *Drift) []*node {
	g := grower{t: t, byKey: map[string]*node{}, up: map[string]string{}}
	for i := range s.Subjects {
		g.enter(&s.Subjects[i], false)
	}
	if drift != nil {
		for _, d := range drift.Deltas {
			if old := drift.Base.Subject(d.Key); d.Attr == "" && d.Change == snapshot.Removed && old != nil {
				g.enter(old, true)
			}
		}
	}
	g.merge()
	return g.grow()
}

type grower struct {
	t     *tree
	order []*node
	byKey map[string]*node
	up    map[string]string // a key → its parent's, where that is told on another's line
}

func (g *grower) enter(s *snapshot.Subject, gone bool) {
	key := s.Key().String()
	if !hardware(s.Kind) || g.byKey[key] != nil || g.hidden(s, gone) {
		return
	}
	n := &node{sub: s, gone: gone}
	g.byKey[key], g.order = n, append(g.order, n)
}

// hidden leaves plumbing out that is as it should be.
func (g *grower) hidden(s *snapshot.Subject, gone bool) bool {
	if !plumbing[s.Kind] || g.t.p.o.Verbose {
		return false
	}
	state := s.Text("state")
	broken := s.Kind == "hw.scsi_host" && state != "" && state != "running"
	count, _ := s.Attrs["over_current_count"].Int()
	return !broken && count == 0 && !g.t.marks.told(s.Key(), gone)
}

// merge puts what is the same thing on one line.
func (g *grower) merge() {
	var left []*node
	for _, n := range g.order {
		parent := g.byKey[n.sub.Parent]
		if !sameThing[n.sub.Kind] || parent == nil || parent == n || parent.gone != n.gone {
			left = append(left, n)
			continue
		}
		for sameThing[parent.sub.Kind] && g.byKey[parent.sub.Parent] != nil && g.byKey[parent.sub.Parent] != parent {
			parent = g.byKey[parent.sub.Parent]
		}
		parent.also = append(parent.also, n.sub)
		g.byKey[n.sub.Key().String()] = parent
	}
	g.order = left
}

// grow hangs every node on its parent.
func (g *grower) grow() []*node {
	var machine *node
	var loose []*node
	for _, n := range g.order {
		g.t.describe(n, g.byKey)
		switch parent := g.parent(n); {
		case n.sub.Kind == "hw.machine" && machine == nil:
			machine = n
		case parent != nil && !g.circle(n):
			parent.children = append(parent.children, n)
		default:
			loose = append(loose, n)
		}
	}
	g.share()
	if machine == nil && len(loose) > 0 {
		machine = &node{name: "this machine"}
	}
	elsewhere := &node{name: "elsewhere"}
	for _, n := range loose {
		if slices.Contains(underMachine, n.sub.Kind) {
			machine.children = append(machine.children, n)
		} else {
			elsewhere.children = append(elsewhere.children, n)
		}
	}
	var roots []*node
	for _, r := range []*node{machine, elsewhere} {
		if r != nil && (r.sub != nil || len(r.children) > 0) {
			inOrder(r)
			roots = append(roots, r)
		}
	}
	return roots
}

// parent is the node that n hangs on: the one that its subject names, of an array the
// first of its members.
func (g *grower) parent(n *node) *node {
	if p := g.byKey[n.sub.Parent]; p != nil && p != n {
		return p
	}
	for _, on := range members(n.sub) {
		if p := g.byKey[on]; p != nil && p != n {
			return p
		}
	}
	if n.sub.Parent == "" && (n.sub.Kind == "hw.bmc_sensor" || n.sub.Kind == "hw.sel" || n.sub.Kind == "hw.chassis") {
		return g.byKey["hw.bmc/bmc"]
	}
	return nil
}

func members(s *snapshot.Subject) []string {
	on, _ := s.Attrs["on"].Items()
	return on
}

// circle reports whether n is its own ancestor and the first of those that are.
func (g *grower) circle(n *node) bool {
	seen := map[*node]bool{}
	for at := g.parent(n); at != nil && !seen[at]; at = g.parent(at) {
		if at == n {
			return !slices.ContainsFunc(g.order, func(o *node) bool { return seen[o] && o.sub.Key().Compare(n.sub.Key()) < 0 })
		}
		seen[at] = true
	}
	return false
}

// share says beneath each other member of an array that it is one.
func (g *grower) share() {
	for _, n := range g.order {
		first := g.parent(n)
		for _, on := range members(n.sub) {
			if m := g.byKey[on]; m != nil && m != first && m != n {
				m.children = append(m.children, &node{sub: &snapshot.Subject{Kind: n.sub.Kind}, name: n.name, facts: []string{"see above: it lies on this too"}})
			}
		}
	}
}

// inOrder puts what hangs on a node in the order of underMachine, by place, not by name.
func inOrder(n *node) {
	rank := func(c *node) int {
		if c.sub == nil {
			return 0
		}
		if i := slices.Index(underMachine, c.sub.Kind); i >= 0 {
			return i
		}
		return len(underMachine)
	}
	slices.SortStableFunc(n.children, func(a, b *node) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(seat(a), seat(b)), strings.Compare(a.name, b.name))
	})
	for _, c := range n.children {
		inOrder(c)
	}
}

func seat(n *node) string {
	if n.sub == nil {
		return ""
	}
	return n.sub.Text("location")
}
