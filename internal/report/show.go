package report

import (
	"io"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// Snapshot writes a snapshot for a person: who it is of, and what was seen. Evidence
// is shown where Options.Verbose asks for it.
func Snapshot(w io.Writer, s *snapshot.Snapshot, kinds snapshot.Kinds, o Options) error {
	p := newPage(w, o)
	p.line("taken:   ", dim, showTaken(s))
	p.line("kernel:  ", dim, strings.TrimPrefix(kernelLine(&s.Identity), "kernel "))
	p.line("version: ", dim, orNone(s.Identity.Kernel.Version))
	p.line("cmdline: ", dim, orNone(s.Identity.Kernel.Cmdline))
	p.line("machine: ", dim, orNone(joined(", ", s.Identity.Product, s.Identity.CPU.Model, s.Identity.Virtualization)))
	for _, fact := range slices.Sorted(maps.Keys(s.Identity.Errs)) {
		p.line("unreadable: ", yellow, fact+": "+s.Identity.Errs[fact])
	}
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
			text = joined(" ", joined(": ", string(sub.Outcome), sub.Reason), text)
		}
		if id := "  " + flat(sub.ID) + "  "; Width(id) <= p.width/3 {
			p.line(id, plain, text)
		} else {
			p.line(strings.TrimRight(id, " "), plain, "")
			p.line("      ", plain, text)
		}
	}
	return p.err
}

func showTaken(s *snapshot.Snapshot) string {
	text := "at a time not known"
	if !s.Taken.IsZero() {
		text = s.Taken.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if s.Tool != "" {
		text += " by " + s.Tool
	}
	if s.Phase != "" {
		text += " (" + s.Phase + ")"
	}
	return text
}

// brief is a subject's attributes in one line: in the order of their declaration,
// then those that this version does not declare, then what could not be read.
func (t *tree) brief(s *snapshot.Subject) string {
	var parts []string
	declared := map[string]bool{}
	if k := t.kinds[s.Kind]; k != nil {
		for _, a := range k.Attrs {
			declared[a.Name] = true
			if v, ok := s.Attrs[a.Name]; ok && (a.Noise != snapshot.Evidence || t.p.o.Verbose) {
				parts = append(parts, a.Name+"="+orNone(t.value(s.Kind, a.Name, v)))
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.Attrs)) {
		if !declared[n] {
			parts = append(parts, n+"="+orNone(t.value(s.Kind, n, s.Attrs[n])))
		}
	}
	return strings.Join(append(parts, unread(s)...), " ")
}
