package compare

import (
	"fmt"
	"slices"
	"sync"

	"lastgood/internal/snapshot"
)

// Learned is what the good boots since the last good one are known to vary in. It is
// asked subject by subject and holds nothing that a boot which was not good
// has shown.
//
// What the accepted boot was is still what a boot is held to. Three things are softer by it:
//   - a name that a device had in a good boot is no change of name;
//   - a device that was missing in a good boot is for information only, where it can be
//     unplugged, or was there again in a later good boot of the same kernel build;
//   - a counter is weighed against the most that good boots counted, where that was no
//     finding itself or a later good boot of the same build came back from it.
//
// Nothing that follows from the kernel (verdicts and counters of the verifier, drivers) is
// ever softer, nor is a limit.
type Learned struct {
	boots []goodBoot // the accepted one, then the others, oldest first
}

type goodBoot struct {
	snap  *snapshot.Snapshot
	cover snapshot.Coverage
	build string
	// aligned is snap with the IDs that the judged pair has; nil where it has them.
	aligned func() *snapshot.Snapshot
}

// Learn gathers the accepted boot and the good boots after it, oldest first. Boots of
// another machine are left out. Nothing of the snapshots is copied or changed.
func Learn(base *snapshot.Snapshot, good []*snapshot.Snapshot) *Learned {
	l := &Learned{}
	for i, s := range append([]*snapshot.Snapshot{base}, good...) {
		if i == 0 || base.Identity.OtherMachine(&s.Identity) == "" {
			l.boots = append(l.boots, goodBoot{snap: s, cover: s.Coverage(), build: build(&s.Identity)})
		}
	}
	return l
}

// Boots counts the good boots, the accepted one among them.
func (l *Learned) Boots() int {
	if l == nil {
		return 0
	}
	return len(l.boots)
}

// under gives the same boots as the judged pair knows their subjects. The accepted one
// is aligned already, and the others are when a subject is first looked for in vain.
func (l *Learned) under(old, new *snapshot.Snapshot, kinds snapshot.Kinds) *Learned {
	if l.Boots() < 2 {
		return nil // the accepted boot alone teaches nothing
	}
	out := &Learned{boots: slices.Clone(l.boots)}
	known := sync.OnceValue(func() *snapshot.Snapshot { return union(old, new) })
	for i := range out.boots {
		b := &out.boots[i]
		if i == 0 {
			b.snap = old
			continue
		}
		b.aligned = sync.OnceValue(func() *snapshot.Snapshot { return align(b.snap, known(), kinds) })
	}
	return out
}

// union is all subjects of two sorted snapshots, new's where both have one.
func union(old, new *snapshot.Snapshot) *snapshot.Snapshot {
	out := &snapshot.Snapshot{Subjects: make([]snapshot.Subject, 0, len(new.Subjects))}
	a, b := old.Subjects, new.Subjects
	for len(a) > 0 || len(b) > 0 {
		switch order(a, b) {
		case -1:
			out.Subjects, a = append(out.Subjects, a[0]), a[1:]
		case +1:
			out.Subjects, b = append(out.Subjects, b[0]), b[1:]
		default:
			out.Subjects, a, b = append(out.Subjects, b[0]), a[1:], b[1:]
		}
	}
	return out
}

// subject is the subject of that key, by another ID of its own where it has that one not.
func (b *goodBoot) subject(k snapshot.Key) *snapshot.Subject {
	if s := b.snap.Subject(k); s != nil || b.aligned == nil {
		return s
	}
	return b.aligned().Subject(k)
}

// Presence is how often a subject was there in the good boots that can tell.
type Presence struct {
	Seen, Of int
	// Returned: in good boots of one kernel build it was missing, and later there again.
	Returned bool
}

// Presence counts the good boots in which a subject was there. One that could not read
// its kind, or had not settled and lacks it, does not count.
func (l *Learned) Presence(k snapshot.Key) Presence {
	var out Presence
	missed := map[string]bool{} // builds
	for i := range l.boots {
		b := &l.boots[i]
		there, told := b.has(k)
		if !told {
			continue
		}
		out.Of++
		switch {
		case there:
			out.Seen++
			out.Returned = out.Returned || missed[b.build]
		default:
			missed[b.build] = true
		}
	}
	return out
}

func (b *goodBoot) has(k snapshot.Key) (there, told bool) {
	s := b.subject(k)
	switch {
	case s != nil && s.Outcome == snapshot.Measured:
		return true, true
	case s != nil && s.Outcome != snapshot.Unsupported:
		return false, false
	}
	return false, b.cover.Vouched(k.Kind) && !b.snap.Unsettled()
}

// had reports whether a good boot had this value of an attribute.
func (l *Learned) had(k snapshot.Key, attr string, v snapshot.Value) bool {
	for i := range l.boots {
		if was, ok := l.boots[i].value(k, attr); ok && was.Equal(v) {
			return true
		}
	}
	return false
}

func (b *goodBoot) value(k snapshot.Key, attr string) (snapshot.Value, bool) {
	s := b.subject(k)
	if s == nil {
		return snapshot.Value{}, false
	}
	v := s.Attrs[attr]
	return v, !v.IsZero()
}

// Range is the least and the most that good boots had of a number, and how many had one.
func (l *Learned) Range(k snapshot.Key, attr string) (lo, hi snapshot.Value, boots int) {
	for i := range l.boots {
		v, _ := l.boots[i].value(k, attr)
		n, ok := v.Number()
		if !ok {
			continue
		}
		if least, _ := lo.Number(); boots == 0 || n < least {
			lo = v
		}
		if most, _ := hi.Number(); boots == 0 || n > most {
			hi = v
		}
		boots++
	}
	return lo, hi, boots
}

// counted is the most that good boots counted where rule r had nothing to say of it, and the
// most that one counted which a later one of the same build came back from.
func (l *Learned) counted(r *snapshot.Rule, p *pair) (usual, atTimes snapshot.Value) {
	k := p.subject().Key()
	base, _ := l.boots[0].value(k, r.Attr)
	usual = base
	pending := map[string]snapshot.Value{} // build → the most that was too much
	for i := range l.boots[1:] {
		b := &l.boots[i+1]
		v, ok := b.value(k, r.Attr)
		if !ok {
			continue
		}
		if grew(r, &snapshot.Delta{Old: base, New: v}) {
			pending[b.build] = most(pending[b.build], v)
			continue
		}
		usual = most(usual, v)
		atTimes = most(atTimes, pending[b.build])
	}
	return usual, atTimes
}

func most(a, b snapshot.Value) snapshot.Value {
	x, ok1 := a.Number()
	y, ok2 := b.Number()
	if !ok1 || ok2 && y > x {
		return b
	}
	return a
}

// Withheld says what was learned and what it kept out of a report.
type Withheld struct {
	Boots  int // good boots, the accepted one among them
	Builds int // of these, of the kernel build that was judged
	// Quiet findings were not reported, Softened ones for information only.
	Quiet, Softened int
}

// learnable reports whether what good boots showed has a say in a rule of a kind.
func learnable(r *snapshot.Rule, k *snapshot.Kind) bool {
	return ofMachine(k.Name) && !k.Foreign && r.Class != snapshot.ClassKernel && r.Class != snapshot.ClassIdentity
}

// nameAttr is the attribute that bears what the kernel calls a device today. It is random
// between boots of one kernel, for devices are probed side by side.
const nameAttr = "name"

// quiet reports whether the good boots leave nothing to report of what rule r found: what
// is for information only was so in one of them, or a number is not more than usual.
func (j *judge) quiet(r *snapshot.Rule, p *pair) bool {
	if j.known == nil || !learnable(r, p.kind) {
		return false
	}
	k, d := p.subject().Key(), p.attrs[r.Attr]
	switch {
	case r.On == snapshot.OnNew:
		return r.Severity == snapshot.Info && j.known.Presence(k).Seen > 0
	case r.On == snapshot.OnChanged && r.Attr == nameAttr && d != nil:
		return r.Severity == snapshot.Info && j.known.had(k, nameAttr, d.New)
	case r.On == snapshot.OnGrowth && d != nil && spreadOf(p.kind, r) == "":
		usual, _ := j.known.counted(r, p)
		return !grew(r, &snapshot.Delta{Old: usual, New: d.New})
	}
	return false
}

// weigh puts a finding into the light of the good boots: it may be softer by them, and
// says what they were.
func (j *judge) weigh(r *snapshot.Rule, p *pair, f found) found {
	switch {
	case j.known == nil || !ofMachine(p.kind.Name):
		return f
	case r.On == snapshot.OnMissing:
		return j.weighMissing(r, p, f)
	case r.On == snapshot.OnGrowth && learnable(r, p.kind) && f.New != nil && spreadOf(p.kind, r) == "":
		f = j.weighGrowth(r, p, f)
	}
	return j.ranged(p, f)
}

// weighMissing softens a finding on what comes and goes, and says how often the others were there.
// What the administrator gave a severity has that.
func (j *judge) weighMissing(r *snapshot.Rule, p *pair, f found) found {
	seen := j.known.Presence(p.subject().Key())
	said := fmt.Sprintf("seen in %d of %d good boots", seen.Seen, seen.Of)
	comes := seen.Returned || seen.Seen < seen.Of && pluggable(p.subject())
	if comes && learnable(r, p.kind) && f.Severity.Rank() > snapshot.Info.Rank() && !j.policy.weighs(r.Code) {
		f.Severity, f.Message = snapshot.Info, f.Message+" ("+said+")"
		j.withheld.Softened++
		return f
	}
	f.Evidence = lines(f.Evidence, said)
	return f
}

// unplugs are the attributes by which readers say that a thing is made to come and go.
var unplugs = []string{"removable", "removable_media", "hotplug"}

func pluggable(s *snapshot.Subject) bool {
	return slices.ContainsFunc(unplugs, func(a string) bool {
		v, has := s.Attrs[a]
		return has && v.String() == snapshot.Bool(true).String()
	})
}

// weighGrowth softens a finding on a counter that was as high before and came down again.
func (j *judge) weighGrowth(r *snapshot.Rule, p *pair, f found) found {
	_, atTimes := j.known.counted(r, p)
	is, _ := f.New.Number()
	high, ok := atTimes.Number()
	if ok && is <= high && f.Severity.Rank() > snapshot.Info.Rank() && !j.policy.weighs(r.Code) {
		f.Severity = snapshot.Info
		f.Message += " (good boots had up to " + atTimes.String() + ")"
		j.withheld.Softened++
	}
	return f
}

// ranged adds to a finding on a number what it was in the good boots.
func (j *judge) ranged(p *pair, f found) found {
	if f.New == nil {
		return f
	}
	if _, isNumber := f.New.Number(); !isNumber {
		return f
	}
	lo, hi, n := j.known.Range(p.subject().Key(), f.Attr)
	if n > 1 {
		decl, _ := p.kind.Attr(f.Attr)
		f.Evidence = lines(f.Evidence, fmt.Sprintf("in %d good boots: %s to %s", n, decl.Unit.Format(lo), decl.Unit.Format(hi)))
	}
	return f
}

func lines(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n" + b
}

// MayLearn reports whether good boots may have a say in a judgement: it spares reading
// the history of a host where all is well.
func MayLearn(j Judgement) bool {
	return j.Elsewhere == "" && slices.ContainsFunc(j.Findings, func(f snapshot.Finding) bool { return ofMachine(f.Subject.Kind) })
}
