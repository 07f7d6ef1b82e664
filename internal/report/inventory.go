package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Inventory writes the hardware as a tree: what hangs on what.
func Inventory(w io.Writer, s *snapshot.Snapshot, kinds snapshot.Kinds, o Options) error {
	p := newPage(w, o)
	t := tree{p: p, kinds: kinds, children: map[string][]*snapshot.Subject{}, seen: map[string]bool{}}
	known := map[string]bool{}
	var all []*snapshot.Subject
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if hardware(sub.Kind) {
			all = append(all, sub)
			known[sub.Key().String()] = true
		}
	}
	var roots []*snapshot.Subject
	for _, sub := range all {
		if sub.Parent == "" || !known[sub.Parent] {
			roots = append(roots, sub)
		} else {
			t.children[sub.Parent] = append(t.children[sub.Parent], sub)
		}
	}
	for _, sub := range roots {
		t.write(sub, "", "")
	}
	for _, sub := range all { // those in a cycle of parents have no root
		if !t.seen[sub.Key().String()] {
			t.write(sub, "", "")
		}
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

func (t *tree) write(s *snapshot.Subject, lead, below string) {
	key := s.Key().String()
	if t.seen[key] {
		return
	}
	t.seen[key] = true
	kind := strings.TrimPrefix(strings.TrimPrefix(s.Kind, "hw."), "net.")
	line := lead + fmt.Sprintf("%-9s ", kind) + t.p.paint(clean(s.Name()), bold)
	if s.Outcome != snapshot.Measured {
		line += " (" + string(s.Outcome) + ": " + clean(s.Reason) + ")"
	}
	if facts := t.facts(s); facts != "" {
		line += "  " + t.p.paint(clean(facts), dim)
	}
	t.p.write(line + "\n")
	children := t.children[key]
	for i, c := range children {
		branch, next := "├─ ", "│  "
		if i == len(children)-1 {
			branch, next = "└─ ", "   "
		}
		t.write(c, below+branch, below+next)
	}
}

// shown are the attributes that a person looks for, in this order; the rest is
// for --verbose and for JSON.
var shown = []string{"name", "model", "value_celsius", "value_rpm", "size_bytes", "speed_bits", "driver", "serial", "location"}

func (t *tree) facts(s *snapshot.Subject) string {
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
		unit := snapshot.NoUnit
		if k := t.kinds[s.Kind]; k != nil {
			a, _ := k.Attr(n)
			unit = a.Unit
		}
		text := unit.Format(v)
		if !t.p.o.Verbose {
			text, _, _ = strings.Cut(text, " (")
		}
		parts = append(parts, factName(n)+" "+text)
	}
	for _, n := range slices.Sorted(maps.Keys(s.Errs)) {
		parts = append(parts, n+" unreadable")
	}
	return strings.Join(parts, ", ")
}

// factName is an attribute's name without its unit, for the value bears it.
func factName(attr string) string {
	for _, unit := range []string{"_bytes", "_bits", "_celsius", "_rpm", "_seconds"} {
		attr = strings.TrimSuffix(attr, unit)
	}
	return strings.ReplaceAll(attr, "_", " ")
}

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

// History writes the boots that are remembered, as given.
func History(w io.Writer, rows []Row, o Options) error {
	p := newPage(w, o)
	if len(rows) == 0 {
		p.write("no boot is remembered yet; `lastgood check` learns the first one\n")
		return p.err
	}
	t := &table{left: 4, head: []string{"boot", "taken", "kernel", "verdict", "critical", "warning", "info", ""}}
	for _, r := range rows {
		var marks []string
		if r.LastGood {
			marks = append(marks, p.paint("last good", green))
		}
		if r.Current {
			marks = append(marks, "this boot")
		}
		if r.Trouble != "" {
			t.add(r.BootID[:min(8, len(r.BootID))], "-", "-", "unusable", "", "", "", strings.Join(marks, ", "))
			t.note(clean(r.Trouble))
			continue
		}
		verdict := string(r.Verdict)
		if verdict == "" {
			verdict = "-"
		}
		t.add(r.BootID[:min(8, len(r.BootID))], r.Taken.UTC().Format("2006-01-02 15:04"), clean(r.Release), p.paint(verdict, verdictStyles[r.Verdict]),
			fmt.Sprint(r.Critical), fmt.Sprint(r.Warning), fmt.Sprint(r.Info), strings.Join(marks, ", "))
	}
	t.write(p, true)
	return p.err
}

// Snapshot writes a snapshot for a person: who it is of, and what was seen.
func Snapshot(w io.Writer, s *snapshot.Snapshot, kinds snapshot.Kinds, o Options) error {
	p := newPage(w, o)
	p.line("taken:   ", dim, s.Taken.UTC().Format("2006-01-02 15:04:05 UTC")+" by "+s.Tool+" ("+s.Phase+")")
	p.line("kernel:  ", dim, kernelLine(&s.Identity))
	p.line("version: ", dim, orNone(s.Identity.Kernel.Version))
	p.line("cmdline: ", dim, orNone(s.Identity.Kernel.Cmdline))
	p.line("machine: ", dim, strings.Join(slices.DeleteFunc([]string{s.Identity.Product, s.Identity.CPU.Model, s.Identity.Virtualization}, func(x string) bool { return x == "" }), ", "))
	t := tree{p: p, kinds: kinds}
	last := ""
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if sub.Kind != last {
			p.head(sub.Kind)
			last = sub.Kind
		}
		text := t.brief(sub)
		if sub.Outcome != snapshot.Measured {
			text = string(sub.Outcome) + ": " + sub.Reason
		}
		p.line("  "+clean(sub.ID)+"  ", plain, text)
	}
	return p.err
}

// brief is a subject's attributes in one line, in the order of their
// declaration, evidence only where asked for.
func (t *tree) brief(s *snapshot.Subject) string {
	k := t.kinds[s.Kind]
	if k == nil {
		return t.facts(s)
	}
	var parts []string
	for _, a := range k.Attrs {
		v, ok := s.Attrs[a.Name]
		if !ok || (a.Noise == snapshot.Evidence && !t.p.o.Verbose) {
			continue
		}
		text, _, _ := strings.Cut(a.Unit.Format(v), " (")
		parts = append(parts, a.Name+"="+text)
	}
	return strings.Join(parts, " ")
}
