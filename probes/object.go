package probes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// programKind declares what is known of somebody else's program on one kernel.
var programKind = snapshot.Kind{
	Name:     "bpf.program",
	Doc:      "A program of an ELF object that was given or that this host uses, as a kernel's verifier sees it.",
	Required: true,
	Attrs: append([]snapshot.Attr{
		{Name: "object", Doc: "the object that it is of"},
		{Name: "name", Doc: "its name in the object"},
		{Name: "section", Doc: "the section of the object that the program stands in"},
		{Name: "program", Doc: "digest of the program and its maps; two measurements of unlike programs are not compared"},
		{Name: "prog_type", Doc: "the type that it was loaded as, as bpftool writes it"},
		{Name: "approximate", Noise: snapshot.Evidence, Doc: "how what was measured differs from what its agent loads"},
		{Name: "notes", Noise: snapshot.Evidence, Doc: "what is to be known of the object as a whole"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
	}, programAttrs...),
	Rules: programRules,
}

var programRules = []snapshot.Rule{
	{Code: "program-rejected", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} is refused after {attr:insns_processed} and was accepted with {was:insns_processed}: {attr:cause}",
		Hint:    "its agent will not start on this kernel: stay on the last good one until the program or the kernel is mended"},
	{Code: "program-accepted", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"rejected"}, To: []string{"accepted"}, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} is accepted and was refused"},
	{Code: "program-unsupported", On: snapshot.OnMissing, Where: map[string]string{"offered": "no"}, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel does not know something that the program is made of: {attr:cause}",
		Hint:    "check the kernel's configuration; its agent will not start on this kernel"},
	{Code: "program-headroom-low", On: snapshot.OnHeadroom, Attr: "insns_processed", Share: 0.20, Unless: sameVerdict, Topic: topicHeadroom,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} takes {new} of {limit}: only {left} is left, where it took {old}",
		Hint:    "the next change of the kernel or of the program may be too much"},
	{Code: "program-insns-doubled", On: snapshot.OnGrowth, Attr: "insns_processed", Ratio: 2, Floor: 20_000, Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old} ({ratio})"},
	{Code: "program-insns-grew", On: snapshot.OnGrowth, Attr: "insns_processed", Ratio: 1.25, Floor: 5_000, Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old} ({ratio})"},
	{Code: "program-insns-fell", On: snapshot.OnBetter, Attr: "insns_processed", Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old}"},
	{Code: "program-changed", On: snapshot.OnChanged, Attr: "program", Topic: topicVerdict,
		Severity: snapshot.Info, Class: snapshot.ClassObject,
		Message: "{name} is another program than before, so its counters were not compared"},
}

// ProgramKind is the kind that Objects gives.
func ProgramKind() snapshot.Kind { return programKind }

// ObjectsSource is the name of the source that measures objects.
const ObjectsSource = "objects"

// Objects is a source that measures the programs of ELF objects, each by itself.
// Nothing is pinned or attached, and no map is filled.
func Objects(files []loader.ObjectFile) source.Source {
	return source.Source{
		Name:  ObjectsSource,
		Doc:   "Given objects.\nLoads every program of the ELF objects that were named and reads what the verifier says of each.",
		Kinds: []snapshot.Kind{programKind},
		Steps: func(source.Host) []source.Step {
			var steps []source.Step
			shelf := &shelf{types: btf.NewCache()}
			for i := range files {
				steps = append(steps, shelf.steps(&files[i])...)
			}
			return steps
		},
	}
}

// shelf holds the object at work: its programs are measured one after the other, so
// that its type information is read once and its maps are made once.
type shelf struct {
	types *btf.Cache
	file  *loader.ObjectFile
	open  *loader.Object
	err   error
}

// groupOf is how many programs of an object the crash guard takes for one, and --jobs
// gives to one worker.
const groupOf = 16

// steps are the programs of one object, known by its table of symbols: reading all of
// an object is left to the process that loads it.
func (s *shelf) steps(f *loader.ObjectFile) []source.Step {
	b, err := f.Read()
	var listed []loader.Listed
	if err == nil {
		listed, err = loader.ListPrograms(b)
	}
	if err != nil {
		return []source.Step{{Group: f.Name, Name: "object", Kind: programKind.Name, ID: f.Name + "/object", Run: func(context.Context, source.Host) []snapshot.Subject {
			return []snapshot.Subject{{Kind: programKind.Name, ID: f.Name + "/object", Label: f.Name, Outcome: snapshot.Inconclusive, Reason: err.Error()}}
		}}}
	}
	listed = slices.DeleteFunc(listed, func(l loader.Listed) bool { return !f.Loads(l.Name) })
	groups := (len(listed) + groupOf - 1) / groupOf
	var steps []source.Step
	for i, l := range listed {
		group := f.Name
		if groups > 1 {
			group = fmt.Sprintf("%s (%d of %d)", f.Name, i*groups/len(listed)+1, groups)
		}
		steps = append(steps, source.Step{Group: group, Name: l.Name, Kind: programKind.Name, ID: f.Name + "/" + l.Name, Cost: costOf(l.Insns),
			Run: func(ctx context.Context, _ source.Host) []snapshot.Subject {
				return []snapshot.Subject{s.measure(ctx, f, l.Name)}
			}})
	}
	return steps
}

// costOf is a guess at the time that a program of so many insns takes: verifiers walk
// each about ten times, at about a microsecond.
func costOf(insns int) time.Duration {
	return 200*time.Microsecond + time.Duration(insns)*10*time.Microsecond
}

// object opens an object, or gives the one that is open already.
func (s *shelf) object(f *loader.ObjectFile) (*loader.Object, error) {
	if s.file == f {
		return s.open, s.err
	}
	if s.open != nil {
		s.open.Close()
	}
	s.file, s.open, s.err = f, nil, nil
	b, err := f.Read()
	if err != nil {
		s.err = err
		return nil, err
	}
	s.open, s.err = loader.ReadObject(b, f.Options())
	return s.open, s.err
}

func (s *shelf) measure(ctx context.Context, f *loader.ObjectFile, name string) snapshot.Subject {
	sub := snapshot.Subject{Kind: programKind.Name, ID: f.Name + "/" + name, Label: name + " of " + f.Name, Outcome: snapshot.Measured}
	sub.Set("object", snapshot.Text(f.Name))
	sub.Set("name", snapshot.Text(name))
	object, err := s.object(f)
	var spec *ebpf.ProgramSpec
	var sum string
	if err == nil {
		if spec = object.Spec(name); spec == nil {
			err = fmt.Errorf("read object %s: its symbol %s is no program", f.Name, name)
		} else {
			sum, err = object.Digest(name)
		}
	}
	if err != nil {
		sub.Outcome, sub.Reason = snapshot.Inconclusive, err.Error()
		return sub
	}
	setText(&sub, "program", sum)
	setText(&sub, "section", spec.SectionName)
	setText(&sub, "prog_type", loader.ProgTypeName(spec.Type))
	setText(&sub, "notes", strings.Join(object.Notes(), "\n"))
	if why := object.Skip(name); why != "" {
		sub.Outcome, sub.Reason = snapshot.Skipped, why
		return sub
	}
	setText(&sub, "approximate", object.Approximate(name))
	record(&sub, object.Measure(ctx, name, s.types))
	return sub
}
