package compare

import (
	"cmp"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// Judgement is what Judge makes of two snapshots.
type Judgement struct {
	Verdict  snapshot.Verdict
	Findings []snapshot.Finding // worst first
	Gaps     []snapshot.Gap     // what could not be measured
	// Changes are the facts of the identity that differ, and Attribution the
	// classes that they belong to, the kernel first.
	Changes     []snapshot.IdentityChange
	Attribution []snapshot.Class
	// Refused says why the two cannot be compared at all, where the verdict is invalid.
	Refused string
	// Elsewhere says why the baseline is of another machine, "" where it is of this one.
	Elsewhere string
	// Withheld says what the good boots since kept out of Findings.
	Withheld Withheld
}

// Judge weighs the differences between two sorted snapshots by the kinds' rules
// as policy changes them. What was already so at the last good boot is never a
// finding.
func Judge(old, new *snapshot.Snapshot, kinds snapshot.Kinds, policy Policy) Judgement {
	return JudgeLearned(old, new, kinds, policy, nil)
}

// JudgeLearned is Judge with what the good boots since old are known to vary in; nil is
// nothing.
func JudgeLearned(old, new *snapshot.Snapshot, kinds snapshot.Kinds, policy Policy, learned *Learned) Judgement {
	old = align(old, new, kinds)
	out := Judgement{Changes: old.Identity.Changes(&new.Identity)}
	out.Attribution = attribution(out.Changes, old, new)
	if out.Refused = incomparable(&old.Identity, &new.Identity); out.Refused != "" {
		out.Verdict = snapshot.Invalid
		return out
	}
	if why := old.Identity.OtherMachine(&new.Identity); why != "" {
		return elsewhere(old, new, kinds, policy, why)
	}
	j := judge{old: old, new: new, kinds: kinds, policy: policy, same: old.Identity.SameBuild(&new.Identity),
		attribution: out.Attribution, known: learned.under(old, new, kinds)}
	pairs := j.pairs(Diff(old, new, kinds))
	for _, p := range pairs {
		j.judgePair(p)
	}
	out.Findings = fold(j.findings, parents(old, new))
	var waiting []snapshot.Gap
	if new.Unsettled() {
		out.Findings, waiting = j.unsettled(out.Findings)
	}
	slices.SortStableFunc(out.Findings, worstFirst)
	out.Gaps = append(waiting, j.gaps(pairs)...)
	out.Verdict = j.verdict(out.Findings, out.Gaps)
	out.Withheld = j.summedUp()
	return out
}

// summedUp is what the good boots kept out of the findings.
func (j *judge) summedUp() Withheld {
	out := j.withheld
	out.Boots = j.known.Boots()
	for i := range out.Boots {
		if j.known.boots[i].build == build(&j.new.Identity) {
			out.Builds++
		}
	}
	return out
}

type found struct {
	snapshot.Finding
	topic string
	gone  bool // the subject is missing
	late  bool // it may go away by waiting, where the host has not settled
	// cause and symptom are the rule's
	cause, symptom bool
	together       together // with what it is told, by the rule
}

type judge struct {
	old, new    *snapshot.Snapshot
	kinds       snapshot.Kinds
	policy      Policy
	same        bool
	attribution []snapshot.Class
	findings    []found
	known       *Learned // nil where nothing was learned
	withheld    Withheld
}

// incomparable says why nothing of two identities can be compared, or "".
func incomparable(a, b *snapshot.Identity) string {
	if a.Kernel.Arch != "" && b.Kernel.Arch != "" && a.Kernel.Arch != b.Kernel.Arch {
		return "the baseline is of architecture " + a.Kernel.Arch + ", this is " + b.Kernel.Arch
	}
	return ""
}

// attribution lists the classes of what changed besides the subjects themselves.
// The mitigations follow from kernel, command line and microcode together: where
// one of the others changed and nothing else of the kernel, it was not the kernel.
func attribution(changes []snapshot.IdentityChange, old, new *snapshot.Snapshot) []snapshot.Class {
	var out []snapshot.Class
	for _, c := range []snapshot.Class{snapshot.ClassKernel, snapshot.ClassConfig, snapshot.ClassHardware} {
		if slices.ContainsFunc(changes, func(i snapshot.IdentityChange) bool { return i.Class == c }) {
			out = append(out, c)
		}
	}
	derived := !slices.ContainsFunc(changes, func(i snapshot.IdentityChange) bool {
		return i.Class == snapshot.ClassKernel && i.Fact != "mitigations"
	})
	if derived && len(out) > 1 && out[0] == snapshot.ClassKernel {
		out = out[1:]
	}
	if old.Tool != new.Tool {
		out = append(out, snapshot.ClassTool)
	}
	return out
}

// pairs joins the deltas to the subjects they are of, and adds the subjects that
// bear values which are weighed without a delta.
func (j *judge) pairs(deltas []snapshot.Delta) []*pair {
	var out []*pair
	byKey := map[snapshot.Key]*pair{}
	get := func(k snapshot.Key) *pair {
		p := byKey[k]
		if p == nil {
			p = &pair{kind: j.kinds[k.Kind], old: j.old.Subject(k), new: j.new.Subject(k), same: j.same, attrs: map[string]*snapshot.Delta{}}
			byKey[k] = p
			out = append(out, p)
		}
		return p
	}
	for i := range deltas {
		d := &deltas[i]
		p := get(d.Key)
		if d.Attr == "" {
			p.change = d.Change
		} else {
			p.attrs[d.Attr] = d
		}
	}
	for i := range j.new.Subjects {
		s := &j.new.Subjects[i]
		if k := j.kinds[s.Kind]; k != nil && watchesLevels(k) && j.old.Subject(s.Key()) != nil {
			get(s.Key())
		}
	}
	return out
}

func watchesLevels(k *snapshot.Kind) bool {
	return slices.ContainsFunc(k.Rules, func(r snapshot.Rule) bool {
		return r.On == snapshot.OnAbove || r.On == snapshot.OnIs || spreadOf(k, &r) != ""
	})
}

// judgePair tries every rule of the pair's kind and keeps the worst finding of each topic.
func (j *judge) judgePair(p *pair) {
	if p.kind == nil || j.policy.ignored(p.subject().Key()) {
		return
	}
	var kept []found
	for _, declared := range p.kind.Rules {
		r := j.policy.apply(declared)
		if r.Severity.Rank() == 0 || !fires(&r, p) {
			continue
		}
		if j.quiet(&r, p) {
			j.withheld.Quiet++
			continue
		}
		kept = keepWorst(kept, j.weigh(&r, p, j.finding(&r, p)))
	}
	j.findings = append(j.findings, kept...)
}

// keepWorst adds f to the findings on one subject, or drops the lesser of two on
// one topic. That the kernel says it is the same one is not lost with it.
func keepWorst(kept []found, f found) []found {
	i := slices.IndexFunc(kept, func(o found) bool { return o.topic == f.topic })
	if i < 0 {
		return append(kept, f)
	}
	identity := kept[i].Class == snapshot.ClassIdentity || f.Class == snapshot.ClassIdentity
	if f.Severity.Rank() > kept[i].Severity.Rank() {
		kept[i] = f
	}
	if identity {
		kept[i].Class = snapshot.ClassIdentity
	}
	return kept
}

func (j *judge) finding(r *snapshot.Rule, p *pair) found {
	s := p.subject()
	d := p.attrs[r.Attr]
	if r.On == snapshot.OnMoved {
		d = movedNumbers(p)[0]
	}
	if d == nil && r.Attr != "" && p.old != nil && p.new != nil {
		d = &snapshot.Delta{Key: s.Key(), Attr: r.Attr, Old: p.old.Attrs[r.Attr], New: p.new.Attrs[r.Attr], Change: snapshot.Changed}
	}
	f := found{topic: cmp.Or(r.Topic, r.Attr), gone: p.change == snapshot.Removed, late: notYet(r, p.kind), cause: r.Cause, symptom: r.Symptom}
	f.Finding = snapshot.Finding{
		Code: r.Code, Severity: r.Severity, Class: j.class(r, p.kind),
		Subject: snapshot.SubjectRef{Kind: s.Kind, ID: s.ID, Label: s.Label},
		Attr:    r.Attr, Message: message(r, r.Message, p, d), Hint: message(r, r.Hint, p, d),
		Evidence: evidence(p),
	}
	if strings.Contains(f.Message, "{users}") && d != nil {
		f.Message = strings.ReplaceAll(f.Message, "{users}", j.users(d.Old.String()))
	}
	if r.Together != "" {
		f.together = together{s.Kind, r.Code, s.Attrs[r.Together].String()}
	}
	if d != nil && (!d.Old.IsZero() || !d.New.IsZero()) {
		f.Attr, f.Old, f.New = d.Attr, &d.Old, &d.New
	}
	return f
}

// users lists what knows something by a name, at the last good boot and now still.
func (j *judge) users(name string) string {
	var out []string
	for i := range j.old.Subjects {
		s := &j.old.Subjects[i]
		k := j.kinds[s.Kind]
		if k != nil && k.NamesAttr != "" && s.Text(k.NamesAttr) == name && j.new.Subject(s.Key()) != nil {
			out = append(out, s.Name())
		}
	}
	if len(out) == 0 {
		return "nothing that was read"
	}
	return strings.Join(out, ", ")
}

// class is what a finding is attributed to. What the kernel answered is
// attributed to the kernel only where the kernel changed.
func (j *judge) class(r *snapshot.Rule, k *snapshot.Kind) snapshot.Class {
	if r.Class != snapshot.ClassKernel || slices.Contains(j.attribution, snapshot.ClassKernel) {
		return r.Class
	}
	if k.Foreign {
		return snapshot.ClassObject
	}
	for _, c := range j.attribution {
		return c
	}
	if j.same {
		return snapshot.ClassIdentity
	}
	return r.Class
}

// evidence gathers what the subject bears to explain itself.
func evidence(p *pair) string {
	s := p.subject()
	var lines []string
	for _, a := range p.kind.Attrs {
		if a.Noise != snapshot.Evidence {
			continue
		}
		if v := s.Attrs[a.Name]; !v.IsZero() {
			lines = append(lines, a.Name+": "+v.String())
		}
	}
	return strings.Join(lines, "\n")
}

func worstFirst(a, b snapshot.Finding) int {
	if c := b.Severity.Rank() - a.Severity.Rank(); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Subject.Kind, b.Subject.Kind), cmp.Compare(a.Subject.ID, b.Subject.ID), cmp.Compare(a.Code, b.Code))
}

// verdict weighs findings first: what is known to be worse is worse, whatever
// else could not be measured.
func (j *judge) verdict(findings []snapshot.Finding, gaps []snapshot.Gap) snapshot.Verdict {
	for _, f := range findings {
		if f.Severity.Rank() >= j.policy.failRank() {
			return snapshot.Regressed
		}
	}
	if slices.ContainsFunc(gaps, func(g snapshot.Gap) bool { return g.Counts }) {
		return snapshot.Incomplete
	}
	return snapshot.Good
}
