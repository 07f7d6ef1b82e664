package probes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// A speed case is one hot operation of real programs, repeated by the kernel itself
// (BPF_PROG_TEST_RUN, attached to nothing), so that no system call is in the time.

// speedPrefix keeps the crash guard's names of groups apart from the families'.
const speedPrefix = "speed_"

// speedSamples is how often each case is timed.
const speedSamples = 5

// Speed is one group of cases.
type Speed struct {
	Name string // snake_case, for ever
	// Doc says what is timed and what a slower answer means; its first line is a title.
	Doc   string
	Cases []SpeedCase
}

// SpeedCase is one program that is timed.
type SpeedCase struct {
	Name, Doc string // the name is snake_case, for ever
	// Cost is about how long the load and all samples take on a slow machine.
	Cost time.Duration
	// Each is how many operations one run of the program makes.
	Each int
	// Repeat is how often it runs in one sample.
	Repeat uint32
	Build  func() (Trial, error)
}

var speeds []Speed

// clocked adds a group at program start and gives it back. It panics on one that could
// not be told from another, which is a fault of this program.
func clocked(g Speed) Speed {
	if !validName.MatchString(g.Name) || g.Doc == "" || len(g.Cases) == 0 || slices.ContainsFunc(speeds, func(o Speed) bool { return o.Name == g.Name }) {
		panic(fmt.Sprintf("speed %q: name is no snake_case or stands twice, or doc or cases are empty", g.Name))
	}
	seen := map[string]bool{}
	for _, c := range g.Cases {
		if !validName.MatchString(c.Name) || seen[c.Name] || c.Doc == "" || c.Build == nil || c.Cost <= 0 || c.Each <= 0 || c.Repeat == 0 {
			panic(fmt.Sprintf("speed %s/%s: name is no snake_case or stands twice, or doc, cost, counts or program are missing", g.Name, c.Name))
		}
		seen[c.Name] = true
	}
	speeds = append(speeds, g)
	return g
}

// Speeds is a copy of the catalogue, sorted by name.
func Speeds() []Speed {
	all := slices.Clone(speeds)
	slices.SortFunc(all, func(a, b Speed) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

var _ = catalogue.Add(source.Source{
	Name: "bpf_speed", Tier: source.Native,
	Doc: "Speed of built-in programs.\nTimes hot operations of real programs on packets of their own: lookups, calls, packet rewrites. " +
		"Nothing is attached.",
	Kinds: []snapshot.Kind{speedKind},
	Steps: speedSteps,
})

func speedSteps(source.Host) []source.Step {
	var steps []source.Step
	for _, g := range Speeds() {
		for _, c := range g.Cases {
			steps = append(steps, source.Step{
				Group: speedPrefix + g.Name, Name: c.Name, Kind: speedKind.Name, ID: g.Name + "/" + c.Name,
				Cost: c.Cost, Run: speedStep(g, c),
			})
		}
	}
	return steps
}

// speedKind declares what is known of a timed operation.
var speedKind = snapshot.Kind{
	Name: "bpf.speed",
	Doc:  "A hot operation of BPF programs, timed by the kernel over some hundred to some ten thousand times, five samples of it.",
	Attrs: []snapshot.Attr{
		{Name: "group", Doc: "what the operation is about"},
		{Name: "program", Doc: "digest of the program and its maps; two measurements of unlike programs are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
		{Name: "run_seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, SpreadAttr: "spread_seconds", Doc: "mean time of one operation in the fastest sample"},
		{Name: "median_seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "the same in the sample in the middle"},
		{Name: "spread_seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "between the fastest sample and the slowest"},
		{Name: "operations", Unit: snapshot.Count, Doc: "operations in one sample"},
		{Name: "cause", Noise: snapshot.Evidence, Doc: "the line of the verifier's log that names what the kernel does not know"},
	},
	Rules: []snapshot.Rule{
		{Code: "speed-halved", On: snapshot.OnGrowth, Attr: "run_seconds", Ratio: 2, Floor: speedFloor, Unless: sameProgram,
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} takes {new} where it took {old} ({ratio})",
			Hint:    "look at the mitigations, at bpf_jit_harden and whether programs are still translated to machine code; packet rates that lean on it will fall"},
	},
}

// speedFloor is what a growth must come to besides: below it, where code lies in the
// cache's lines tells.
const speedFloor = 5e-9

// speedStep times one case and gives its subject.
func speedStep(g Speed, c SpeedCase) func(context.Context, source.Host) []snapshot.Subject {
	return func(ctx context.Context, _ source.Host) []snapshot.Subject {
		s := snapshot.Subject{Kind: speedKind.Name, ID: g.Name + "/" + c.Name, Outcome: snapshot.Measured}
		s.Set("group", snapshot.Text(g.Name))
		trial, err := c.Build()
		if err == nil {
			err = trialDigest(&s, &trial)
		}
		if err == nil {
			err = clock(ctx, &s, &c, &trial)
		}
		trialError(&s, err)
		return []snapshot.Subject{s}
	}
}

// clock loads the program and times it. An error means that it could not be told.
func clock(ctx context.Context, s *snapshot.Subject, c *SpeedCase, t *Trial) error {
	made, err := loader.CreateMaps(t.Maps)
	if err != nil {
		return err
	}
	defer loader.CloseMaps(made)
	prog, err := loadProgram(ctx, t.Spec, made)
	if err != nil {
		return err
	}
	defer prog.Close()
	if err := insertAll(ctx, t, prog, made); err != nil {
		return err
	}
	v := &t.Vectors[0]
	var samples []float64
	for i := range speedSamples + 1 {
		repeat := c.Repeat
		if i == 0 {
			repeat = max(1, c.Repeat/10) // fills the caches, and is not counted
		}
		ran, err := loader.TestRun(ctx, prog, loader.Run{Data: v.In, Repeat: repeat})
		if err != nil {
			return err
		}
		if ran.Return != v.Return {
			return fmt.Errorf("time program: it returned %d, want %d", ran.Return, v.Return)
		}
		if i > 0 {
			samples = append(samples, ran.Each.Seconds()/float64(c.Each))
		}
	}
	slices.Sort(samples)
	s.Set("run_seconds", snapshot.Float(samples[0]))
	s.Set("median_seconds", snapshot.Float(samples[len(samples)/2]))
	s.Set("spread_seconds", snapshot.Float(samples[len(samples)-1]-samples[0]))
	s.Set("operations", snapshot.Int(int(c.Repeat)*c.Each))
	return nil
}
