package probes

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// programKind declares what is known of somebody else's program on one kernel.
var programKind = snapshot.Kind{
	Name:     "bpf.program",
	Doc:      "A program of an ELF object that was given, as a kernel's verifier sees it.",
	Required: true,
	Attrs: append([]snapshot.Attr{
		{Name: "object", Doc: "the object's file name"},
		{Name: "section", Doc: "the section of the object that the program stands in"},
		{Name: "program", Doc: "digest of the program and its maps; two measurements of unlike programs are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
	}, programAttrs...),
	Rules: programRules,
}

var programRules = []snapshot.Rule{
	{Code: "program-rejected", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} is refused and was accepted: {attr:cause}",
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

// objectCost is what a program of unknown size is taken to cost.
const objectCost = 100 * time.Millisecond

// Objects is a source that measures the programs of ELF objects, each by itself and
// with maps of its own. Nothing is pinned or attached, and no map is filled.
func Objects(paths []string) source.Source {
	return source.Source{
		Name:  "objects",
		Doc:   "Given objects.\nLoads every program of the ELF objects that were named and reads what the verifier says of each.",
		Kinds: []snapshot.Kind{programKind},
		Steps: func(source.Host) []source.Step {
			var steps []source.Step
			types := btf.NewCache()
			for _, p := range paths {
				steps = append(steps, objectSteps(p, types)...)
			}
			return steps
		},
	}
}

func objectSteps(path string, types *btf.Cache) []source.Step {
	object := filepath.Base(path)
	step := func(name string, run func(context.Context) snapshot.Subject) source.Step {
		id := object + "/" + name
		return source.Step{Group: object, Name: name, Kind: programKind.Name, ID: id, Cost: objectCost,
			Run: func(ctx context.Context, _ source.Host) []snapshot.Subject { return []snapshot.Subject{run(ctx)} }}
	}
	spec, err := readObject(path)
	if err != nil {
		return []source.Step{step("object", func(context.Context) snapshot.Subject {
			return snapshot.Subject{Kind: programKind.Name, ID: object + "/object", Outcome: snapshot.Inconclusive, Reason: err.Error()}
		})}
	}
	fresh := sync.OnceValues(func() (*ebpf.CollectionSpec, error) { return spec, nil })
	var steps []source.Step
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		steps = append(steps, step(name, func(ctx context.Context) snapshot.Subject {
			return measureObject(ctx, object, name, fresh, types)
		}))
	}
	return steps
}

// maxObject bounds an object; those of real agents have a few megabytes.
const maxObject = 64 << 20

func readObject(path string) (*ebpf.CollectionSpec, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if st.Size() > maxObject || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read object %s: no regular file of less than %d MiB", path, maxObject>>20)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", path, err)
	}
	if len(spec.Programs) == 0 {
		return nil, fmt.Errorf("read object %s: it has no programs", path)
	}
	return spec, nil
}

func measureObject(ctx context.Context, object, name string, spec func() (*ebpf.CollectionSpec, error), types *btf.Cache) snapshot.Subject {
	s := snapshot.Subject{Kind: programKind.Name, ID: object + "/" + name, Label: name + " of " + object, Outcome: snapshot.Measured}
	s.Set("object", snapshot.Text(object))
	program, err := stageOf(spec, name)
	if err == nil {
		setText(&s, "section", program.Spec.SectionName)
		err = digest(&s, &program)
	}
	if err != nil {
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		return s
	}
	runProgram(ctx, &s, &program, types)
	return s
}
