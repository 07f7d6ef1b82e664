package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/workload"
	"lastgood/probes"
)

func probeCommand() command {
	return command{
		name: "probe", args: "[FAMILY[/CASE] | OBJECT | DIR]...", summary: "measure BPF programs on this kernel",
		long: `Measures BPF programs on the running kernel and prints a table: the built-in ones, or only
the named families or programs (FAMILY or FAMILY/CASE; census is the feature census), or
the programs of ELF objects: files, or folders of *.o. Nothing is attached, pinned or
compared. The CSV output has veristat's columns.

Each program of an object is loaded by itself, with maps no larger than they need be. Values of
its global variables decide which code is verified: give those that the agent sets with
--values, or keep them as NAME.json beside NAME.o. What was measured once on this kernel
is remembered.

With --explain the programs of objects are not measured but explained: which functions and
source lines the verifier's insns go to. --export writes what is needed to repeat the
measurement of one program elsewhere: object, values, commands, counters, kernels.

A family that was running when another boot ended is left out by the crash guard;
naming it here runs it all the same, and lets it run again where it ends well.

The exit status is 0 where all was measured, 1 where a program of an object is refused,
3 where something could not be measured.`,
		example: "lastgood probe -o csv > $(uname -r).csv\n  lastgood probe --values config.json /var/run/cilium/state/templates/*/bpf_lxc.o\n  lastgood probe --explain --program cil_from_container bpf_lxc.o",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			p := &probe{}
			f.BoolVar(&p.thorough, "thorough", false, "also make programs larger until the kernel refuses them (up to a minute)")
			list := f.Bool("list", false, "list the families and what each one exercises")
			f.StringVar(&p.spec.Values, "values", "", "JSON `FILE` with values of the objects' global variables")
			f.StringToStringVar(&p.spec.Types, "type", nil, "program type of a section or program as `NAME=TYPE`, tc_main=sched_cls for instance; may be given again")
			f.StringArrayVar(&p.spec.Programs, "program", nil, "only programs of the objects whose name is like `PATTERN`; !PATTERN leaves out; may be given again")
			f.BoolVar(&p.explain, "explain", false, "tell which functions and source lines the insns of the objects' programs go to")
			f.StringVar(&p.export, "export", "", "write a reproducer of one program of one object into `DIR`, which must be new or empty")
			f.StringVar(&p.against, "against", "", "with --export: the other side `SNAPSHOT`, a file, boot id, kernel release or last-good")
			f.BoolVar(&p.again, "again", false, "measure objects again, and not what is remembered of them")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if *list {
					return exitOK, listFamilies(s)
				}
				return p.run(ctx, s, args)
			}
		},
	}
}

// thoroughBudget is for the breaking points too, which take tens of seconds.
const thoroughBudget = 2 * time.Minute

// objectsBudget is for objects, of which there may be hundreds.
const objectsBudget = 10 * time.Minute

// probe is one run of the command.
type probe struct {
	thorough, again bool
	spec            workload.Spec // how objects are read
	explain         bool
	export, against string
}

func (p *probe) run(ctx context.Context, s *session, args []string) (int, error) {
	if p.explain || p.export != "" || p.against != "" {
		return p.inDepth(ctx, s, args)
	}
	format, err := s.format("table", "json", "csv")
	if err != nil {
		return exitUsage, err
	}
	families, paths := p.sort(s, args)
	from := []source.Source{}
	if len(families) > 0 || len(paths) == 0 {
		if from, err = p.builtin(s, families); err != nil {
			return exitUsage, err
		}
	}
	objects, err := p.objects(ctx, s, paths)
	if err != nil {
		return exitUsage, err
	}
	if !s.budgetGiven {
		switch {
		case len(paths) > 0:
			s.budget = objectsBudget
		case p.thorough:
			s.budget = thoroughBudget
		}
	}
	snap, err := s.collect(ctx, "probe", from, objects, s.guardFor(append(families, names(objects)...)), "a person runs it")
	if err != nil {
		return exitIncomplete, err
	}
	if err := s.printProbe(format, snap); err != nil {
		return exitUsage, err
	}
	return probeStatus(s, snap), nil
}

// sort tells families from files: what the catalogue knows is a family.
func (p *probe) sort(s *session, args []string) (families, paths []string) {
	known := map[string]bool{}
	for _, src := range probes.Sources() {
		if src.Steps == nil {
			continue
		}
		for _, st := range src.Steps(s.host()) {
			known[st.Group], known[st.Group+"/"+st.Name] = true, true
		}
	}
	for _, a := range args {
		if _, err := os.Stat(a); !known[a] && (err == nil || strings.HasSuffix(a, ".o")) {
			paths = append(paths, a)
			continue
		}
		families = append(families, a)
	}
	return families, paths
}

func (p *probe) builtin(s *session, families []string) ([]source.Source, error) {
	from := probes.Sources()
	if !p.thorough && len(families) == 0 {
		from = source.UpTo(from, source.Gate, source.Boot, source.Native)
	}
	return choose(from, s.host(), families)
}

func (p *probe) objects(ctx context.Context, s *session, paths []string) (*objectRun, error) {
	if len(paths) == 0 {
		if p.spec.Values != "" || len(p.spec.Types)+len(p.spec.Programs) > 0 {
			return nil, errors.New("--values, --type and --program are for objects, and none is given")
		}
		return nil, nil
	}
	set, err := p.set(ctx, s, paths)
	if err != nil {
		return nil, err
	}
	run := s.newObjectRun(ctx, set, !p.again)
	run.surface = false // nothing is compared
	return run, nil
}

func (p *probe) set(ctx context.Context, s *session, paths []string) (workload.Set, error) {
	if !s.root.Live() {
		return workload.Set{}, errors.New("--root: objects are measured on the running kernel only")
	}
	release, _ := s.root.Attr(ctx, releaseFile)
	return givenObjects(ctx, paths, p.spec, release)
}

// inDepth explains or exports programs of objects.
func (p *probe) inDepth(ctx context.Context, s *session, args []string) (int, error) {
	families, paths := p.sort(s, args)
	switch {
	case p.export == "" && p.against != "":
		return exitUsage, errors.New("--against is for --export")
	case len(families) > 0:
		return exitUsage, fmt.Errorf("--explain and --export are for objects, and %s is none", families[0])
	case len(paths) == 0:
		return exitUsage, errors.New("--explain and --export are for objects, and none is given")
	}
	set, err := p.set(ctx, s, paths)
	if err != nil {
		return exitUsage, err
	}
	if !s.budgetGiven {
		s.budget = objectsBudget
	}
	if p.export != "" {
		return p.exportObject(ctx, s, set)
	}
	return p.explainObjects(ctx, s, set)
}

// names are the groups that the crash guard knows objects by.
func names(objects *objectRun) []string {
	if objects == nil {
		return nil
	}
	var out []string
	for _, f := range objects.fresh {
		out = append(out, f.Name)
	}
	return out
}

func (s *session) printProbe(format string, snap *snapshot.Snapshot) error {
	switch format {
	case "json":
		return s.printSnapshot("json", snap)
	case "csv":
		return report.ProgramsCSV(s.env.Out, snap)
	}
	return s.printPrograms(snap)
}

// probeStatus says what could not be measured and gives the exit status.
func probeStatus(s *session, snap *snapshot.Snapshot) int {
	status := exitOK
	for i := range snap.Subjects {
		sub := &snap.Subjects[i]
		switch {
		case sub.Kind == snapshot.SourceKind && sub.Outcome == snapshot.Inconclusive:
			printError(s.env.Err, fmt.Errorf("measure %s: %s", sub.ID, sub.Reason))
			status = exitIncomplete
		case sub.Kind == workload.ObjectKind && sub.Outcome == snapshot.Inconclusive:
			printError(s.env.Err, errors.New(sub.Reason))
			status = exitIncomplete
		case sub.Kind != probes.ProgramKind().Name:
		case sub.Outcome == snapshot.Inconclusive:
			status = exitIncomplete
		case status == exitOK && (sub.Text("verdict") == "rejected" || sub.Outcome == snapshot.Unsupported):
			status = exitRegressed
		}
	}
	return status
}

// printPrograms writes the table of programs, or where there are none what else
// was found.
func (s *session) printPrograms(snap *snapshot.Snapshot) error {
	if slices.ContainsFunc(snap.Subjects, func(sub snapshot.Subject) bool { return sub.Kind == "bpf.probe" || sub.Kind == "bpf.program" }) {
		if err := report.Programs(s.env.Out, snap, s.options()); err != nil {
			return err
		}
		return report.BreakingPoints(s.env.Out, snap, s.options())
	}
	if !slices.ContainsFunc(snap.Subjects, func(sub snapshot.Subject) bool { return sub.Kind != snapshot.SourceKind }) {
		return nil // why is said for each source
	}
	return s.printSnapshot("table", snap)
}

// choose keeps the steps of the named groups and those named one by one, all where none
// is named. A source that loads nothing has none.
func choose(from []source.Source, host source.Host, groups []string) ([]source.Source, error) {
	from = slices.DeleteFunc(slices.Clone(from), func(src source.Source) bool { return src.Steps == nil })
	if len(groups) == 0 {
		return from, nil
	}
	known, cases := map[string]bool{}, map[string]bool{}
	var out []source.Source
	for _, src := range from {
		steps := slices.DeleteFunc(src.Steps(host), func(st source.Step) bool {
			one := st.Group + "/" + st.Name
			known[st.Group], cases[one] = true, true
			return !slices.Contains(groups, st.Group) && !slices.Contains(groups, one)
		})
		if len(steps) > 0 {
			src.Steps = func(source.Host) []source.Step { return slices.Clone(steps) }
			out = append(out, src)
		}
	}
	for _, g := range groups {
		if !known[g] && !cases[g] {
			return nil, hinted(fmt.Errorf("no family %q", g), "%s`lastgood probe --list` lists the families", meant(g, slices.Sorted(maps.Keys(known))))
		}
	}
	return out, nil
}

func listFamilies(s *session) error {
	var rows []report.FamilyRow
	for _, f := range probes.Families() {
		title, _, _ := strings.Cut(f.Doc, "\n")
		rows = append(rows, report.FamilyRow{Name: f.Name, Shape: string(f.Shape), Cases: len(f.Cases), Title: title})
	}
	return report.FamilyTable(s.env.Out, rows, s.options())
}
