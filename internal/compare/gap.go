package compare

import (
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// Gaps lists what a snapshot could not measure by itself, with nothing to
// compare it with: every subject that is inconclusive or was skipped. A gap
// counts where a source of a required kind failed as a whole.
func Gaps(s *snapshot.Snapshot, kinds snapshot.Kinds) []snapshot.Gap {
	out := unsettledGap(s)
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if told(sub) || sub.Kind == snapshot.SourceKind && sub.ID == snapshot.SettleSource {
			continue
		}
		g := gap(sub, "")
		g.Counts = sub.Kind == snapshot.SourceKind && sub.Outcome == snapshot.Inconclusive && vouches(sub, func(name string) bool {
			return kinds[name] != nil && kinds[name].Required
		})
		out = append(out, g)
	}
	return out
}

// vouches reports whether a source vouches for a kind that is wanted.
func vouches(source *snapshot.Subject, wanted func(string) bool) bool {
	names, _ := source.Attrs[snapshot.SourceKinds].Items()
	return slices.ContainsFunc(names, wanted)
}

func gap(s *snapshot.Subject, reason string) snapshot.Gap {
	if reason == "" {
		reason = s.Reason
	}
	return snapshot.Gap{Kind: s.Kind, ID: s.ID, Label: s.Label, Reason: reason}
}

// gaps lists what was measured at the last good boot and is not now, and what
// could not be measured on either side. Subjects of a source that failed as a
// whole are told by the source's own gap.
func (j *judge) gaps(pairs []*pair) []snapshot.Gap {
	failed := map[string]bool{}
	cover := j.new.Coverage()
	for kind, o := range cover {
		failed[kind] = o != snapshot.Measured && o != snapshot.Unsupported
	}
	out := Gaps(j.new, j.kinds)
	for i := range out { // what had not come yet is told by gaps of its own
		out[i].Counts = out[i].Counts && out[i].ID != snapshot.SettleSource
	}
	unlooked := map[string]int{}
	for _, p := range pairs {
		s := p.subject()
		required := p.kind != nil && p.kind.Required && !j.policy.ignored(s.Key())
		switch {
		case p.change == snapshot.Lost && p.new != nil:
			setCounts(out, p.new, required)
		case p.change == snapshot.Lost && failed[s.Kind]:
			if required {
				j.countSources(out, s.Kind)
			}
		case p.change == snapshot.Lost:
			if unlooked[s.Kind]++; unlooked[s.Kind] == 1 {
				out = append(out, snapshot.Gap{Kind: s.Kind, ID: "*", Reason: "was measured at the last good boot, was not looked at now", Counts: required})
			}
		case p.change == "":
			out = append(out, j.lostAttrs(p, required)...)
		}
	}
	return out
}

// countSources makes the gaps count of the sources that should have vouched for a
// kind of which something was measured at the last good boot.
func (j *judge) countSources(gaps []snapshot.Gap, kind string) {
	for i := range gaps {
		if gaps[i].Kind != snapshot.SourceKind || gaps[i].Counts {
			continue
		}
		source := j.new.Subject(snapshot.Key{Kind: gaps[i].Kind, ID: gaps[i].ID})
		gaps[i].Counts = vouches(source, func(name string) bool { return name == kind })
	}
}

func setCounts(gaps []snapshot.Gap, s *snapshot.Subject, counts bool) {
	for i := range gaps {
		if gaps[i].Kind == s.Kind && gaps[i].ID == s.ID {
			gaps[i].Counts = gaps[i].Counts || counts
		}
	}
}

// lostAttrs lists attributes that were read at the last good boot and could not
// be read now. They count where a critical rule leans on them.
func (j *judge) lostAttrs(p *pair, required bool) []snapshot.Gap {
	var out []snapshot.Gap
	for name, d := range p.attrs {
		if d.Change != snapshot.Lost {
			continue
		}
		g := gap(p.new, name+": "+p.new.Errs[name])
		g.Counts = required && slices.ContainsFunc(p.kind.Rules, func(r snapshot.Rule) bool {
			return r.Attr == name && r.Severity == snapshot.Critical
		})
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b snapshot.Gap) int { return strings.Compare(a.Reason, b.Reason) })
	return out
}
