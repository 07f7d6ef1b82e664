package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// Inventory writes the hardware as a tree: what hangs on what. A subject whose
// parent is not in the snapshot stands by itself, and so does the first one of a
// circle of parents.
func Inventory(w io.Writer, s *snapshot.Snapshot, kinds snapshot.Kinds, o Options) error {
	p := newPage(w, o)
	t := tree{p: p, kinds: kinds, children: map[string][]*snapshot.Subject{}, seen: map[string]bool{}}
	known := map[string]bool{}
	var all, roots []*snapshot.Subject
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if hardware(sub.Kind) {
			all = append(all, sub)
			known[sub.Key().String()] = true
		}
	}
	for _, sub := range all {
		if sub.Parent == "" || !known[sub.Parent] {
			roots = append(roots, sub)
		} else {
			t.children[sub.Parent] = append(t.children[sub.Parent], sub)
		}
	}
	for _, sub := range append(roots, all...) { // those in a circle have no root
		t.write(sub, "", "")
	}
	if len(all) == 0 {
		p.write("no hardware was found\n")
	}
	return p.err
}

func hardware(kind string) bool {
	return strings.HasPrefix(kind, "hw.") || strings.HasPrefix(kind, "net.")
}

type tree struct {
	p        *page
	kinds    snapshot.Kinds
	children map[string][]*snapshot.Subject
	seen     map[string]bool
}

// write writes a subject behind its branch (lead) and what hangs on it behind
// theirs, which begin with below. A subject that was written is passed over.
func (t *tree) write(s *snapshot.Subject, lead, below string) {
	key := s.Key().String()
	if t.seen[key] {
		return
	}
	t.seen[key] = true
	children := slices.DeleteFunc(slices.Clone(t.children[key]), func(c *snapshot.Subject) bool { return t.seen[c.Key().String()] })
	hang := below + "      "
	if len(children) > 0 {
		hang = below + "│     "
	}
	t.line(s, lead, hang)
	for i, c := range children {
		branch, next := "├─ ", "│  "
		if i == len(children)-1 {
			branch, next = "└─ ", "   "
		}
		t.write(c, below+branch, below+next)
	}
}

// line writes one subject: its name, and its facts wrapped behind hang.
func (t *tree) line(s *snapshot.Subject, lead, hang string) {
	kind := flat(strings.TrimPrefix(strings.TrimPrefix(s.Kind, "hw."), "net."))
	first := lead + fmt.Sprintf("%-9s ", kind)
	name := flat(s.Name())
	used := utf8.RuneCountInString(first) + utf8.RuneCountInString(name) + 2
	first += t.p.paint(name, bold)
	facts := strings.Join(t.facts(s), ", ")
	if s.Outcome != snapshot.Measured {
		facts = joined("  ", "("+flat(joined(": ", string(s.Outcome), s.Reason))+")", facts)
	}
	lines := wrap(facts, t.p.width-used, t.p.width-utf8.RuneCountInString(hang))
	if lines[0] != "" {
		first += "  " + t.p.paint(lines[0], dim)
	}
	t.p.write(first + "\n")
	for _, l := range lines[1:] {
		t.p.write(hang + t.p.paint(l, dim) + "\n")
	}
}

// shown are the attributes that a person looks for, in this order; the rest is
// for --verbose and for JSON.
var shown = []string{"name", "model", "value_celsius", "value_rpm", "size_bytes", "speed_bits", "driver", "serial", "location"}

func (t *tree) facts(s *snapshot.Subject) []string {
	names := shown
	if t.p.o.Verbose {
		names = slices.Sorted(maps.Keys(s.Attrs))
	}
	var parts []string
	for _, n := range names {
		v, ok := s.Attrs[n]
		if !ok || v.String() == s.Name() || v.String() == "" {
			continue
		}
		parts = append(parts, flat(factName(n)+" "+t.value(s.Kind, n, v)))
	}
	return append(parts, unread(s)...)
}

// value is an attribute's value in its unit; the exact number of bytes beside the
// rounded one is for --verbose.
func (t *tree) value(kind, attr string, v snapshot.Value) string {
	unit := unitOf(attr)
	if k := t.kinds[kind]; k != nil {
		if a, ok := k.Attr(attr); ok {
			unit = a.Unit
		}
	}
	text := flat(unit.Format(v))
	if _, isNumber := v.Number(); isNumber && !t.p.o.Verbose {
		text, _, _ = strings.Cut(text, " (")
	}
	return text
}

// unread says which attributes could not be read, and why.
func unread(s *snapshot.Subject) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(s.Errs)) {
		out = append(out, cut(flat(factName(n)+" unreadable: "+s.Errs[n]), longText))
	}
	return out
}

// factName is an attribute's name without its unit, for the value bears it.
func factName(attr string) string {
	for _, unit := range []string{"_bytes", "_bits", "_celsius", "_rpm", "_seconds"} {
		attr = strings.TrimSuffix(attr, unit)
	}
	return strings.ReplaceAll(attr, "_", " ")
}
