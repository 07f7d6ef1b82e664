package probes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// A breaking point is the largest size of a program that the kernel still accepts. It
// says how much room a mechanism leaves: a shape of which paths are merged grows until
// something else ends it, one of which they are not ends at a dozen branches.

// Growth makes a case one of a row of programs that differ in one number.
type Growth struct {
	// Parameter says in words what the number counts, with its unit.
	Parameter string
	// The row goes from From to To: what lies beyond To is not asked, for the program
	// itself ends there (its stack, its maps).
	From, To int
	Build    func(n int) (Program, error)
}

// BreakingSource is the name of the source of breaking points.
const BreakingSource = "bpf_breaking_points"

// breakingPrefix keeps the crash guard's names apart from the families'.
const breakingPrefix = "breaking_"

var _ = catalogue.Add(source.Source{
	Name: BreakingSource, Tier: source.Thorough,
	Doc:   "Breaking points.\nMakes built-in programs larger until the kernel refuses them.",
	Kinds: []snapshot.Kind{breakingKind},
	Steps: breakingSteps,
})

// breakingCost is about what a search takes on a slow machine: two loads near the
// verifier's limit, and some small ones.
const breakingCost = 4 * time.Second

func breakingSteps(source.Host) []source.Step {
	var steps []source.Step
	types := btf.NewCache()
	for _, f := range Families() {
		for _, c := range f.Cases {
			if c.Grow == nil {
				continue
			}
			steps = append(steps, source.Step{
				Group: breakingPrefix + f.Name, Name: c.Name, Kind: breakingKind.Name, ID: f.Name + "/" + c.Name,
				Cost: breakingCost, Risky: true, Run: breakingStep(f, c, types),
			})
		}
	}
	return steps
}

var breakingKind = snapshot.Kind{
	Name: "bpf.breaking_point",
	Doc:  "The largest size of a built-in program that this kernel accepts, found by making it larger.",
	Attrs: []snapshot.Attr{
		{Name: "family", Doc: "the family that the program belongs to"},
		{Name: "shape", Doc: "how the family tells one verifier from another"},
		{Name: "parameter", Noise: snapshot.Evidence, Doc: "what the size counts"},
		{Name: "program", Doc: "digest of the smallest and the largest program of the row; two searches over unlike rows are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
		{Name: "largest", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "the largest size that is accepted, 0 where none is"},
		{Name: "open_ended", Order: []string{"yes", "no"}, Doc: "yes where the row ends before the kernel refuses: the breaking point is beyond the largest size"},
		{Name: "insns_processed", Unit: snapshot.Insns, Better: snapshot.LowerBetter, Doc: "insns that the verifier walked at the largest size"},
		{Name: "reason", Doc: "class of the rejection one size further"},
		{Name: "cause", Noise: snapshot.Evidence, Doc: "the line of the log that names the cause of it"},
		{Name: "loads", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many programs were loaded to find it"},
	},
	Rules: []snapshot.Rule{
		{Code: "breaking-point-limit-fell", On: snapshot.OnWorse, Attr: "largest", Where: shapeLimit, Unless: sameProgram, Topic: "breaking",
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "{name}: one of the kernel's limits is lower: {new} is the most it accepts, and was {old}: {attr:cause}",
			Hint:    "programs that came near the limit will not load on this kernel"},
		{Code: "breaking-point-fell", On: snapshot.OnWorse, Attr: "largest", Unless: sameProgram, Topic: "breaking",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name}: {new} is the largest size that it accepts, and was {old}: {attr:cause}",
			Hint:    "large programs built like it will not load on this kernel: test yours before you go on"},
		{Code: "breaking-point-rose", On: snapshot.OnBetter, Attr: "largest", Unless: sameProgram, Topic: "breaking",
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "{name}: {new} is the largest size that it accepts, and was {old}"},
		{Code: "breaking-point-unsupported", On: snapshot.OnMissing, Where: map[string]string{"offered": "no"}, Topic: "breaking",
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "{name}: the kernel no longer knows something that the program is made of: {attr:cause}"},
	},
}

// breakingStep finds the breaking point of one case and gives its subject.
func breakingStep(f Family, c Case, types *btf.Cache) func(context.Context, source.Host) []snapshot.Subject {
	return func(ctx context.Context, _ source.Host) []snapshot.Subject {
		s := snapshot.Subject{Kind: breakingKind.Name, ID: f.Name + "/" + c.Name, Outcome: snapshot.Measured}
		s.Set("family", snapshot.Text(f.Name))
		s.Set("shape", snapshot.Text(f.Shape))
		s.Set("parameter", snapshot.Text(c.Grow.Parameter))
		err := rowDigest(&s, c.Grow)
		if err == nil {
			climb := climber{from: c.Grow.From, to: c.Grow.To, load: func(n int) rung { return loadRung(ctx, c.Grow, n, types) }}
			err = climb.climb(ctx)
			climb.report(&s)
		}
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		}
		return []snapshot.Subject{s}
	}
}

// rowDigest names a row by both its ends.
func rowDigest(s *snapshot.Subject, g *Growth) error {
	name := ""
	for _, n := range []int{g.From, g.To} {
		p, err := g.Build(n)
		if err != nil {
			return err
		}
		var of snapshot.Subject
		if err := digest(&of, &p); err != nil {
			return err
		}
		name += of.Text("program")
	}
	s.Set("program", snapshot.Text(name))
	return nil
}

// rung is one size of a row, as the kernel answered.
type rung struct {
	n        int
	accepted bool
	insns    int64 // walked; 0 where the kernel does not say
	limit    int64
	reason   string
	cause    string
	lacking  string // what the kernel does not know
	unclear  string // why it could not be told
}

func loadRung(ctx context.Context, g *Growth, n int, types *btf.Cache) rung {
	r := rung{n: n}
	p, err := g.Build(n)
	if err != nil {
		r.unclear = err.Error()
		return r
	}
	s := snapshot.Subject{Outcome: snapshot.Measured}
	runProgram(ctx, &s, &p, types)
	switch s.Outcome {
	case snapshot.Unsupported:
		r.lacking = s.Reason
	case snapshot.Inconclusive:
		r.unclear = s.Reason
	}
	r.accepted = s.Text("verdict") == "accepted"
	r.reason, r.cause = s.Text("reason"), s.Text("cause")
	r.insns, _ = s.Attrs["insns_processed"].Int()
	r.limit, _ = s.Attrs["insns_limit"].Int()
	return r
}

// climber looks for the largest size that is accepted, and takes for granted that what
// is refused at one size is refused at any larger one.
type climber struct {
	from, to int
	load     func(n int) rung

	seen  []rung
	best  rung // the largest that was accepted; n is 0 where none was
	worst rung // the smallest that was refused; n is 0 where none was
	lacks string
}

// maxRungs bounds the loads of one search; one over 2^20 sizes takes less than half.
const maxRungs = 48

// climb starts with two small sizes and guesses from them how the cost grows. From the
// guess it goes up or down in doubling steps till the breaking point lies between two
// sizes, and then halves. Loads near the limit are the dear ones: a good guess needs two.
func (c *climber) climb(ctx context.Context) error {
	for _, n := range []int{c.from, min(c.from+1, c.to), min(c.from+2, c.to)} {
		if err := c.try(ctx, n); err != nil || c.lacks != "" {
			return err
		}
		if c.worst.n != 0 {
			return nil // refused at the foot: there is nothing smaller to ask
		}
	}
	step, at := 1, c.guess()
	for c.open() {
		if err := c.try(ctx, at); err != nil {
			return err
		}
		switch {
		case c.worst.n == 0: // nothing was refused yet
			at, step = min(c.best.n+step, c.to), step*2
		case c.worst.n-c.best.n > 2*step && c.seen[len(c.seen)-1].n == c.worst.n:
			at, step = c.worst.n-step, step*2
		default:
			at = c.best.n + (c.worst.n-c.best.n)/2
		}
	}
	return nil
}

// open reports whether there is anything left to ask.
func (c *climber) open() bool {
	if c.worst.n == 0 {
		return c.best.n < c.to
	}
	return c.worst.n-c.best.n > 1
}

// try loads one size, and fails where nothing could be told of it.
func (c *climber) try(ctx context.Context, n int) error {
	if slices.ContainsFunc(c.seen, func(r rung) bool { return r.n == n }) {
		return nil
	}
	if len(c.seen) == maxRungs {
		return fmt.Errorf("find breaking point: not found with %d loads, it lies between %d and %d", maxRungs, c.best.n, c.worst.n)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("find breaking point: %w", err)
	}
	r := c.load(n)
	c.seen = append(c.seen, r)
	switch {
	case r.unclear != "":
		return fmt.Errorf("find breaking point: at %d: %s", n, r.unclear)
	case r.lacking != "":
		c.lacks = r.lacking
	case r.accepted && n > c.best.n:
		c.best = r
	case !r.accepted && (c.worst.n == 0 || n < c.worst.n):
		c.worst = r
	}
	return nil
}

// guess is the size at which the verifier's limit on insns would be met, if the cost
// went on to grow as it did over the first sizes: by a factor, or by a sum.
func (c *climber) guess() int {
	last := c.seen[len(c.seen)-1]
	before := c.seen[len(c.seen)-2]
	if last.insns == 0 || last.limit == 0 || last.n == before.n || last.insns <= before.insns {
		return c.to
	}
	room, grown := float64(last.limit), float64(last.insns-before.insns)/float64(last.n-before.n)
	more := (room - float64(last.insns)) / grown
	if factor := float64(last.insns) / float64(before.insns); factor > 1.5 {
		more = math.Log(room/float64(last.insns)) / math.Log(factor)
	}
	return min(c.to, last.n+max(1, int(min(more, float64(c.to)))))
}

// report puts what was found into the subject.
func (c *climber) report(s *snapshot.Subject) {
	s.Set("loads", snapshot.Int(len(c.seen)))
	if c.lacks != "" {
		lacking(s, c.lacks)
		setText(s, "cause", s.Reason)
		return
	}
	if c.open() {
		return // the search did not end
	}
	s.Set("largest", snapshot.Int(c.best.n))
	if c.best.insns > 0 {
		s.Set("insns_processed", snapshot.Int(c.best.insns))
	}
	ended := "no"
	if c.worst.n == 0 {
		ended = "yes"
	}
	s.Set("open_ended", snapshot.Text(ended))
	setText(s, "reason", c.worst.reason)
	setText(s, "cause", c.worst.cause)
}
