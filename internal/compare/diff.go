// Package compare says what changed between two snapshots (Diff) and whether it
// matters (Judge). Both are pure functions: Diff never sees policy, Judge never
// sees the kernel.
package compare

import (
	"slices"

	"lastgood/internal/snapshot"
)

// Diff lists every difference between two sorted snapshots, in order of their
// keys. Attributes that vary by nature (times, temperatures) and evidence are
// not compared here; kinds tells which those are, and a kind that it does not
// declare is compared whole.
//
// A subject that new knows by another ID, and that its aliases tell, is compared
// under that. One that is missing from new is Removed only where new's own sources
// vouch for its kind; otherwise nobody looked, and it is Lost.
func Diff(old, new *snapshot.Snapshot, kinds snapshot.Kinds) []snapshot.Delta {
	d := differ{kinds: kinds, oldCover: old.Coverage(), newCover: new.Coverage()}
	a, b := align(old, new, kinds).Subjects, new.Subjects
	for len(a) > 0 || len(b) > 0 {
		switch order(a, b) {
		case -1:
			d.onlyOld(&a[0])
			a = a[1:]
		case +1:
			d.onlyNew(&b[0])
			b = b[1:]
		default:
			d.both(&a[0], &b[0])
			a, b = a[1:], b[1:]
		}
	}
	return d.deltas
}

func order(a, b []snapshot.Subject) int {
	switch {
	case len(a) == 0:
		return +1
	case len(b) == 0:
		return -1
	}
	return a[0].Key().Compare(b[0].Key())
}

type differ struct {
	kinds              snapshot.Kinds
	oldCover, newCover snapshot.Coverage
	deltas             []snapshot.Delta
	names              []string // scratch
}

func (d *differ) add(k snapshot.Key, attr string, old, new snapshot.Value, c snapshot.Change) {
	d.deltas = append(d.deltas, snapshot.Delta{Key: k, Attr: attr, Old: old, New: new, Change: c})
}

func (d *differ) subject(k snapshot.Key, c snapshot.Change) {
	d.add(k, "", snapshot.Value{}, snapshot.Value{}, c)
}

func (d *differ) onlyOld(s *snapshot.Subject) {
	if s.Kind == snapshot.SourceKind || !present(s) {
		return // a source that was not asked; its subjects speak for themselves
	}
	if d.newCover.Vouched(s.Kind) {
		d.subject(s.Key(), snapshot.Removed)
	} else {
		d.subject(s.Key(), snapshot.Lost)
	}
}

func (d *differ) onlyNew(s *snapshot.Subject) {
	if s.Kind == snapshot.SourceKind || !present(s) {
		return
	}
	if d.oldCover.Vouched(s.Kind) {
		d.subject(s.Key(), snapshot.Added)
	} else {
		d.subject(s.Key(), snapshot.Regained)
	}
}

// present reports whether the subject was there, as far as could be told.
func present(s *snapshot.Subject) bool { return s.Outcome == snapshot.Measured }

// told reports whether the subject's presence was settled one way or the other.
func told(s *snapshot.Subject) bool {
	return s.Outcome == snapshot.Measured || s.Outcome == snapshot.Unsupported
}

func (d *differ) both(a, b *snapshot.Subject) {
	switch {
	case told(a) && !told(b):
		d.subject(a.Key(), snapshot.Lost)
	case !told(a) && told(b):
		d.subject(a.Key(), snapshot.Regained)
	case present(a) && !present(b):
		if told(b) {
			d.subject(a.Key(), snapshot.Removed)
		}
	case !present(a) && present(b):
		d.subject(a.Key(), snapshot.Added)
	case present(a) && a.Kind != snapshot.SourceKind:
		d.attrs(a, b)
	}
}

// attrs compares attribute by attribute; nearly all are equal, so only the names
// of those that differ are put in order.
func (d *differ) attrs(a, b *snapshot.Subject) {
	names := d.names[:0]
	for n, old := range a.Attrs {
		if new, has := b.Attrs[n]; !has || !old.Equal(new) {
			names = append(names, n)
		}
	}
	for n := range b.Attrs {
		if _, both := a.Attrs[n]; !both {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	d.names = names
	kind := d.kinds[a.Kind]
	for _, n := range names {
		if kind != nil {
			if decl, ok := kind.Attr(n); ok && decl.Noise != snapshot.Exact {
				continue
			}
		}
		d.attr(a, b, n)
	}
}

func (d *differ) attr(a, b *snapshot.Subject, name string) {
	old, had := a.Attrs[name]
	new, has := b.Attrs[name]
	_, oldErr := a.Errs[name]
	_, newErr := b.Errs[name]
	switch {
	case had && has:
		d.add(a.Key(), name, old, new, snapshot.Changed)
	case had && newErr:
		d.add(a.Key(), name, old, new, snapshot.Lost)
	case had:
		d.add(a.Key(), name, old, new, snapshot.Removed)
	case has && oldErr:
		d.add(a.Key(), name, old, new, snapshot.Regained)
	case has:
		d.add(a.Key(), name, old, new, snapshot.Added)
	}
}
