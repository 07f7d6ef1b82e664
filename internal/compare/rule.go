package compare

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
)

// pair is one subject on both sides, with what differs. On one side it may be
// nil: missing or new.
type pair struct {
	kind     *snapshot.Kind
	old, new *snapshot.Subject
	change   snapshot.Change            // of the subject as a whole, or ""
	attrs    map[string]*snapshot.Delta // of its attributes
	same     bool                       // both kernels are one build, configured alike
}

// subject is the side that is there now, or was.
func (p *pair) subject() *snapshot.Subject {
	if p.new != nil {
		return p.new
	}
	return p.old
}

// fires reports whether the rule applies to the pair.
func fires(r *snapshot.Rule, p *pair) bool {
	if !applies(r, p) {
		return false
	}
	switch r.On {
	case snapshot.OnMissing:
		return p.change == snapshot.Removed
	case snapshot.OnNew:
		return p.change == snapshot.Added
	case snapshot.OnMoved:
		return p.same && len(movedNumbers(p)) > 0
	case snapshot.OnAbove:
		return crossed(r, p)
	case snapshot.OnHeadroom:
		return headroomSpent(r, p)
	case snapshot.OnIs:
		return p.new != nil && told(p.new) && oneOf(r.To, p.new.Attrs[r.Attr])
	}
	if spread := spreadOf(p.kind, r); spread != "" {
		return outgrew(r, p, spread)
	}
	d := p.attrs[r.Attr]
	if d == nil || d.Change != snapshot.Changed {
		return false
	}
	switch r.On {
	case snapshot.OnChanged:
		return true
	case snapshot.OnBecomes:
		return oneOf(r.From, d.Old) && oneOf(r.To, d.New)
	case snapshot.OnWorse:
		return direction(p.kind, d) < 0 && byShare(r.Share, d)
	case snapshot.OnBetter:
		return direction(p.kind, d) > 0
	case snapshot.OnGrowth:
		return grew(r, d)
	}
	return false
}

// applies checks a rule's conditions on the subject: Where and Unless.
func applies(r *snapshot.Rule, p *pair) bool {
	s := p.subject()
	for name, want := range r.Where {
		if s.Attrs[name].String() != want {
			return false
		}
	}
	return !slices.ContainsFunc(r.Unless, func(name string) bool { return p.attrs[name] != nil })
}

func oneOf(set []string, v snapshot.Value) bool {
	return len(set) == 0 || slices.Contains(set, v.String())
}

func grew(r *snapshot.Rule, d *snapshot.Delta) bool {
	old, ok1 := d.Old.Number()
	new, ok2 := d.New.Number()
	return ok1 && ok2 && new >= old*r.Ratio && new-old >= r.Floor && new > old
}

// byShare reports whether a number changed by a share of its old value or more.
func byShare(share float64, d *snapshot.Delta) bool {
	old, ok1 := d.Old.Number()
	new, ok2 := d.New.Number()
	return !ok1 || !ok2 || math.Abs(new-old) >= share*math.Abs(old)
}

// spreadOf names the attribute with the spread of what a growth rule is about, "" where
// that is not sampled.
func spreadOf(k *snapshot.Kind, r *snapshot.Rule) string {
	if r.On != snapshot.OnGrowth {
		return ""
	}
	decl, _ := k.Attr(r.Attr)
	return decl.SpreadAttr
}

// outgrew reports whether a sampled value grew by more than its noise. Where either
// spread is not known, it cannot be told from noise; on one kernel build, configured
// alike, it says nothing of the kernel.
func outgrew(r *snapshot.Rule, p *pair, spread string) bool {
	if p.old == nil || p.new == nil || p.same {
		return false
	}
	d := snapshot.Delta{Old: p.old.Attrs[r.Attr], New: p.new.Attrs[r.Attr]}
	was, ok1 := p.old.Attrs[spread].Number()
	is, ok2 := p.new.Attrs[spread].Number()
	if !ok1 || !ok2 || !grew(r, &d) {
		return false
	}
	old, _ := d.Old.Number()
	new, _ := d.New.Number()
	return new-old > was+is
}

// direction is +1 where the change is for the better, -1 for the worse, and 0
// where the attribute has no better and worse. A set that lost one member and
// gained another is for the worse.
func direction(k *snapshot.Kind, d *snapshot.Delta) int {
	decl, ok := k.Attr(d.Attr)
	if !ok {
		return 0
	}
	if len(decl.Order) > 0 {
		return rank(decl.Order, d.Old) - rank(decl.Order, d.New)
	}
	sign := 1
	if decl.Better == snapshot.LowerBetter {
		sign = -1
	}
	if _, isSet := d.Old.Items(); isSet {
		lost, gained := members(d)
		if sign < 0 {
			lost, gained = gained, lost
		}
		switch {
		case len(lost) > 0:
			return -1
		case len(gained) > 0:
			return +1
		}
		return 0
	}
	old, ok1 := d.Old.Number()
	new, ok2 := d.New.Number()
	if !ok1 || !ok2 || decl.Better == snapshot.NeitherBetter || old == new {
		return 0
	}
	if new > old {
		return sign
	}
	return -sign
}

// rank is a value's place in an order of better to worse; one that is not in it
// is worse than all.
func rank(order []string, v snapshot.Value) int {
	if i := slices.Index(order, v.String()); i >= 0 {
		return i
	}
	return len(order)
}

// members lists what a set lost and gained.
func members(d *snapshot.Delta) (lost, gained []string) {
	old, _ := d.Old.Items()
	new, _ := d.New.Items()
	return missingFrom(new, old), missingFrom(old, new)
}

// missingFrom lists the members of b that a lacks; both are sorted.
func missingFrom(a, b []string) []string {
	var out []string
	for _, s := range b {
		if _, found := slices.BinarySearch(a, s); !found {
			out = append(out, s)
		}
	}
	return out
}

// limitOf is the limit of attribute name on subject s, 0 where it has none.
func limitOf(k *snapshot.Kind, s *snapshot.Subject, name string) float64 {
	decl, ok := k.Attr(name)
	if !ok || s == nil {
		return 0
	}
	if decl.LimitAttr != "" {
		n, _ := s.Attrs[decl.LimitAttr].Number()
		return n
	}
	return decl.Limit
}

// left is the share of the limit that is not used, and whether it can be told.
func left(k *snapshot.Kind, s *snapshot.Subject, attr string) (float64, bool) {
	if s == nil {
		return 0, false
	}
	n, ok := s.Attrs[attr].Number()
	limit := limitOf(k, s, attr)
	if !ok || limit <= 0 {
		return 0, false
	}
	return 1 - n/limit, true
}

func headroomSpent(r *snapshot.Rule, p *pair) bool {
	was, ok1 := left(p.kind, p.old, r.Attr)
	is, ok2 := left(p.kind, p.new, r.Attr)
	return ok1 && ok2 && is < r.Share && was >= r.Share
}

// crossed reports whether the value is above its limit now and was not, or
// stands above it for the first time that it is seen.
func crossed(r *snapshot.Rule, p *pair) bool {
	is, ok := over(r, p.kind, p.new)
	if !ok || !is {
		return false
	}
	was, ok := over(r, p.kind, p.old)
	return ok && !was
}

// over reports whether a subject's value is above the limit that a rule of OnAbove
// holds it to, and whether that can be told.
func over(r *snapshot.Rule, k *snapshot.Kind, s *snapshot.Subject) (above, ok bool) {
	if s == nil {
		return false, false
	}
	n, ok := s.Attrs[r.Attr].Number()
	limit := ruleLimit(r, k, s)
	return n > limit, ok && limit > 0
}

// ruleLimit is the limit that a rule holds a subject to, 0 where there is none.
func ruleLimit(r *snapshot.Rule, k *snapshot.Kind, s *snapshot.Subject) float64 {
	limit := 0.0
	if r.LimitAttr != "" && s != nil {
		limit, _ = s.Attrs[r.LimitAttr].Number()
	} else {
		limit = limitOf(k, s, r.Attr)
	}
	if limit <= 0 && r.On == snapshot.OnAbove {
		limit = r.Floor
	}
	return limit
}

// movedNumbers lists the exact numbers of the pair that differ.
func movedNumbers(p *pair) []*snapshot.Delta {
	var out []*snapshot.Delta
	for _, d := range p.attrs {
		if d.Change != snapshot.Changed {
			continue
		}
		_, ok1 := d.Old.Number()
		_, ok2 := d.New.Number()
		if ok1 && ok2 {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *snapshot.Delta) int { return strings.Compare(a.Attr, b.Attr) })
	return out
}

// message fills in a rule's sentence.
func message(r *snapshot.Rule, text string, p *pair, d *snapshot.Delta) string {
	if !strings.Contains(text, "{") {
		return text
	}
	facts := []string{"{name}", p.subject().Name()}
	if d != nil {
		facts = append(facts, deltaFacts(r, p, d)...)
	}
	if strings.Contains(text, "{attr:") {
		for name, v := range p.subject().Attrs {
			decl, _ := p.kind.Attr(name)
			facts = append(facts, "{attr:"+name+"}", decl.Unit.Format(v))
		}
	}
	if strings.Contains(text, "{was:") && p.old != nil {
		for name, v := range p.old.Attrs {
			decl, _ := p.kind.Attr(name)
			facts = append(facts, "{was:"+name+"}", decl.Unit.Format(v))
		}
	}
	return unfilled.ReplaceAllString(strings.NewReplacer(facts...).Replace(text), "unknown")
}

// unfilled are the places of attributes that the subject does not have.
var unfilled = regexp.MustCompile(`\{(attr|was):[a-z0-9_]+\}`)

// deltaFacts are what a sentence may say of one attribute's change.
func deltaFacts(r *snapshot.Rule, p *pair, d *snapshot.Delta) []string {
	decl, _ := p.kind.Attr(d.Attr)
	lost, gained := members(d)
	limit := snapshot.Value{}
	if n := ruleLimit(r, p.kind, p.new); n == float64(int64(n)) && n > 0 {
		limit = snapshot.Int(int64(n))
	} else if n > 0 {
		limit = snapshot.Float(n)
	}
	facts := []string{
		"{attr}", strings.ReplaceAll(d.Attr, "_", " "),
		"{old}", decl.Unit.Format(d.Old), "{new}", decl.Unit.Format(d.New), "{ratio}", ratio(d),
		"{lost_count}", strconv.Itoa(len(lost)), "{gained_count}", strconv.Itoa(len(gained)),
		"{lost}", strings.Join(lost, ", "), "{gained}", strings.Join(gained, ", "), "{limit}", decl.Unit.Format(limit),
	}
	if share, ok := left(p.kind, p.new, d.Attr); ok {
		return append(facts, "{left}", fmt.Sprintf("%.0f %%", max(share, 0)*100))
	}
	return append(facts, "{left}", "-")
}

func ratio(d *snapshot.Delta) string {
	old, ok1 := d.Old.Number()
	new, ok2 := d.New.Number()
	if !ok1 || !ok2 || old == 0 {
		return "-"
	}
	return snapshot.Times(new / old)
}
