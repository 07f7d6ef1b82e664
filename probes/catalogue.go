// Package probes is the catalogue of built-in BPF programs, each made to exercise
// one thing that the kernel's verifier does, and the census of what the kernel offers.
//
// A family is one file with one value; it neither prints, times, retries nor
// compares, for the package does that for all of them alike.
package probes

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// catalogue holds the sources of this package.
var catalogue source.Catalogue

// Sources lists what this package can look at.
func Sources() []source.Source { return catalogue.All() }

// Shape says how a family tells one verifier from another.
type Shape string

const (
	// Deduction: whether the verifier proves that a block of insns is never reached.
	Deduction Shape = "deduction"
	// Merge: whether it sees that two paths are equal in all that matters.
	Merge Shape = "merge"
	// Limit: where one of the kernel's limits lies; cases stand on both sides of it.
	Limit Shape = "limit"
	// Datapath: how dear programs are that look like real ones.
	Datapath Shape = "datapath"
)

// Family is one probe: programs that differ in one parameter.
type Family struct {
	Name  string // snake_case, for ever
	Shape Shape
	// Doc says in words what the mechanism is and what a higher count means for
	// programs; its first line is a title.
	Doc string
	// Rests names the kernel commit, function or constant that the family rests on.
	Rests string
	// Since is the kernel version that brought what the family needs.
	Since string
	// Tier is source.Boot for families that an emulated machine takes seconds for.
	Tier  source.Tier
	Cases []Case
}

// Case is one program of a family.
type Case struct {
	Name string // snake_case, for ever
	Doc  string
	// Cost is about how long it takes on a slow machine.
	Cost time.Duration
	// Risky cases come near a limit of the kernel's.
	Risky bool
	// Penalty is, for a deduction, how many insns the block has that a verifier walks
	// which does not make it.
	Penalty int
	// Behind is, for a merge, how many insns stand behind the branches: they are
	// walked once for every path that is not merged.
	Behind int
	Build  func() (Program, error)
	// Grow makes it the first of a row, of which the breaking point is looked for; nil
	// where it has no size, or where its family has another case for that.
	Grow *Growth
}

// Program is a program with the maps that it refers to by name.
type Program struct {
	Spec *ebpf.ProgramSpec
	Maps map[string]*ebpf.MapSpec
}

var families []Family

var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// register adds a family at program start and gives it back. It panics on one
// that could not be told from another, which is a fault of this program.
func register(f Family) Family {
	if !validName.MatchString(f.Name) || f.Doc == "" || f.Rests == "" || f.Shape == "" || len(f.Cases) == 0 {
		panic(fmt.Sprintf("probe family %q: name is no snake_case, or doc, rests, shape or cases are empty", f.Name))
	}
	if slices.ContainsFunc(families, func(o Family) bool { return o.Name == f.Name }) {
		panic(fmt.Sprintf("probe family %q is declared twice", f.Name))
	}
	seen := map[string]bool{}
	for _, c := range f.Cases {
		if !validName.MatchString(c.Name) || seen[c.Name] || c.Doc == "" || c.Build == nil {
			panic(fmt.Sprintf("probe %s/%s: name is no snake_case or stands twice, or doc or program is missing", f.Name, c.Name))
		}
		seen[c.Name] = true
	}
	families = append(families, f)
	return f
}

// Families is a copy of the catalogue, sorted by name.
func Families() []Family {
	all := slices.Clone(families)
	slices.SortFunc(all, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

var _ = catalogue.Add(source.Source{
	Name:  "bpf_probes",
	Doc:   "Built-in programs.\nLoads the built-in programs one by one and reads what the verifier says of each.",
	Kinds: []snapshot.Kind{probeKind},
	Steps: probeSteps,
})

// probeSteps lists every case of every family.
func probeSteps(source.Host) []source.Step {
	var steps []source.Step
	types := btf.NewCache() // the kernel's types are read once, where a probe needs them
	for _, f := range Families() {
		for _, c := range f.Cases {
			steps = append(steps, source.Step{
				Group: f.Name, Name: c.Name, Kind: probeKind.Name, ID: f.Name + "/" + c.Name,
				Cost: c.Cost, Risky: c.Risky, Run: stepOf(f, c, types),
			})
		}
	}
	return steps
}
