package probes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// A behaviour group runs small programs on packets of its own (BPF_PROG_TEST_RUN,
// attached to nothing) and compares what they leave with what the instruction set's
// definition says (Documentation/bpf/standardization/instruction-set.rst). What a
// program ought to give is computed here, in Go, and never taken from a kernel. The
// operands come in with the packet: the verifier knows nothing of them, so it can
// leave no instruction out and the JIT has to translate each.

// Values of the attribute result.
const (
	resultRight = "right"
	resultWrong = "wrong"
)

// behaviourPrefix keeps the crash guard's names of groups apart from the families'.
const behaviourPrefix = "behaviour_"

// Behaviour is one group of cases: one part of the instruction set, or one kind of map.
type Behaviour struct {
	Name string // snake_case, for ever
	// Doc says what is run and what a wrong result means; its first line is a title.
	Doc string
	// Rests names what the golden results rest on.
	Rests string
	Cases []BehaviourCase
}

// BehaviourCase is one program with its inputs and what ought to come of them.
type BehaviourCase struct {
	Name, Doc string // the name is snake_case, for ever
	// Cost is about how long the load and all runs take on a slow machine.
	Cost  time.Duration
	Build func() (Trial, error)
}

// Trial is a program, the packets that it is run on, in order and with the same maps,
// and what ought to come of them.
type Trial struct {
	Program
	// Inserted are programs to put into program arrays before the first run.
	Inserted []Inserted
	Vectors  []Vector
	// Place names what lies at an offset of a packet, for a person; nil where offsets do.
	Place func(offset int) string
	// After, where it is set, tells what user space finds in the maps after the last
	// run, which ought to be WantAfter.
	After     func(map[string]*ebpf.Map) (string, error)
	WantAfter string
}

// Inserted is a place in a program array and the program that belongs there: the
// trial's own where Spec is nil.
type Inserted struct {
	Array string
	Index uint32
	Spec  *ebpf.ProgramSpec
}

// Vector is one run: a packet, what the program ought to make of it and to return.
type Vector struct {
	What     string // the operands, for a person
	In, Want []byte
	Return   uint32
	// Compared is how many results the packet bears; 0 counts as one.
	Compared int
}

var behaviours []Behaviour

// behave adds a group at program start and gives it back. It panics on one that
// could not be told from another, which is a fault of this program.
func behave(b Behaviour) Behaviour {
	if !validName.MatchString(b.Name) || b.Doc == "" || b.Rests == "" || len(b.Cases) == 0 {
		panic(fmt.Sprintf("behaviour %q: name is no snake_case, or doc, rests or cases are empty", b.Name))
	}
	if slices.ContainsFunc(behaviours, func(o Behaviour) bool { return o.Name == b.Name }) {
		panic(fmt.Sprintf("behaviour %q is declared twice", b.Name))
	}
	seen := map[string]bool{}
	for _, c := range b.Cases {
		if !validName.MatchString(c.Name) || seen[c.Name] || c.Doc == "" || c.Build == nil || c.Cost <= 0 {
			panic(fmt.Sprintf("behaviour %s/%s: name is no snake_case or stands twice, or doc, cost or program is missing", b.Name, c.Name))
		}
		seen[c.Name] = true
	}
	behaviours = append(behaviours, b)
	return b
}

// Behaviours is a copy of the catalogue, sorted by name.
func Behaviours() []Behaviour {
	all := slices.Clone(behaviours)
	slices.SortFunc(all, func(a, b Behaviour) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

var _ = catalogue.Add(source.Source{
	Name: "bpf_behaviour", Tier: source.Boot,
	Doc: "Results of built-in programs.\nRuns small programs on packets of their own and compares what each instruction, helper and map does " +
		"with what it is defined to do. Nothing is attached.",
	Kinds: []snapshot.Kind{behaviourKind},
	Steps: behaviourSteps,
})

func behaviourSteps(source.Host) []source.Step {
	var steps []source.Step
	for _, b := range Behaviours() {
		for _, c := range b.Cases {
			steps = append(steps, source.Step{
				Group: behaviourPrefix + b.Name, Name: c.Name, Kind: behaviourKind.Name, ID: b.Name + "/" + c.Name,
				Cost: c.Cost, Run: behaviourStep(b, c),
			})
		}
	}
	return steps
}

// behaviourKind declares what is known of a program that was run.
var behaviourKind = snapshot.Kind{
	Name: "bpf.behaviour",
	Doc: "A built-in program that was run on packets of its own, and whether it did what its instructions are defined to do. " +
		"On a kernel's very first boot there is nothing to compare with and no rule speaks; the result itself says right or wrong.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "group", Doc: "the part of the instruction set or the kind of map that the program is about"},
		{Name: "program", Doc: "digest of the program, its maps, its inputs and the results it ought to give; two measurements of unlike programs are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
		{Name: "result", Order: []string{resultRight, resultWrong}, Doc: "whether every result was as it is defined"},
		{Name: "vectors", Unit: snapshot.Count, Doc: "results that were compared"},
		{Name: "wrong", Noise: snapshot.Evidence, Doc: "the first results that were wrong: of what, what was wanted, what came"},
		{Name: "cause", Noise: snapshot.Evidence, Doc: "the line of the verifier's log that names what the kernel does not know"},
	},
	Rules: []snapshot.Rule{
		{Code: "behaviour-wrong", On: snapshot.OnBecomes, Attr: "result", From: []string{resultRight}, To: []string{resultWrong}, Unless: sameProgram,
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "{name} gives a wrong result now: {attr:wrong}",
			Hint:    wrongHint},
		{Code: "behaviour-wrong-unlike", On: snapshot.OnBecomes, Attr: "result", From: []string{resultRight}, To: []string{resultWrong},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} gives a wrong result; the program is another than at the last good boot, so the kernel may have been wrong then too: {attr:wrong}",
			Hint:    wrongHint},
		{Code: "behaviour-wrong-new", On: snapshot.OnNew, Attr: "result", Where: map[string]string{"result": resultWrong},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} gives a wrong result, and was not run at the last good boot: {attr:wrong}",
			Hint:    wrongHint},
		{Code: "behaviour-right", On: snapshot.OnBecomes, Attr: "result", From: []string{resultWrong}, To: []string{resultRight},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "{name} gives the right result now and did not before"},
		{Code: "behaviour-unsupported", On: snapshot.OnMissing, Attr: "result", Where: map[string]string{"offered": "no"},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name}: the kernel no longer knows something that the program is made of: {attr:cause}",
			Hint:    "check the kernel's configuration and lockdown; programs that use it will not load on this kernel"},
	},
}

const wrongHint = "the JIT or the interpreter of this kernel miscompiles, or a map or a helper does not do what it promises: do not run BPF workloads on it"
