package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/probes"
)

func probeCommand() command {
	return command{
		name: "probe", args: "[FAMILY[/CASE]...]", summary: "measure BPF programs on this kernel",
		long: `Measures the built-in BPF programs on the running kernel, or only the named families
or programs (FAMILY or FAMILY/CASE; census is the feature census), and
prints a table. Nothing is compared and nothing is kept. The CSV output has veristat's
columns.

A family that was running when another boot ended is left out by the crash guard;
naming it here runs it all the same, and lets it run again where it ends well.`,
		example: "lastgood probe -o csv > $(uname -r).csv",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			thorough := f.Bool("thorough", false, "also make programs larger until the kernel refuses them (up to a minute)")
			list := f.Bool("list", false, "list the families and what each one exercises")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if *list {
					return exitOK, listFamilies(s)
				}
				return s.probe(ctx, args, *thorough)
			}
		},
	}
}

// thoroughBudget is for the breaking points too, which take tens of seconds.
const thoroughBudget = 2 * time.Minute

func (s *session) probe(ctx context.Context, families []string, thorough bool) (int, error) {
	format, err := s.format("table", "json", "csv")
	if err != nil {
		return exitUsage, err
	}
	from := probes.Sources()
	if !thorough && len(families) == 0 {
		from = source.UpTo(from, source.Gate, source.Boot, source.Native)
	}
	chosen, err := choose(from, s.host(), families)
	if err != nil {
		return exitUsage, err
	}
	if thorough && !s.budgetGiven {
		s.budget = thoroughBudget
	}
	snap, err := s.collect(ctx, "probe", chosen, s.guardFor(families), "a person runs it")
	if err != nil {
		return exitIncomplete, err
	}
	for i := range snap.Subjects {
		if sub := &snap.Subjects[i]; sub.Kind == snapshot.SourceKind && sub.Outcome == snapshot.Inconclusive {
			printError(s.env.Err, fmt.Errorf("measure %s: %s", sub.ID, sub.Reason))
			return exitIncomplete, nil
		}
	}
	switch format {
	case "json":
		return exitOK, s.printSnapshot("json", snap)
	case "csv":
		return exitOK, report.ProgramsCSV(s.env.Out, snap)
	}
	return exitOK, s.printPrograms(snap)
}

// printPrograms writes the table of programs, or where there are none what else
// was found.
func (s *session) printPrograms(snap *snapshot.Snapshot) error {
	if slices.ContainsFunc(snap.Subjects, func(sub snapshot.Subject) bool { return sub.Kind == "bpf.probe" }) {
		if err := report.Programs(s.env.Out, snap, s.options()); err != nil {
			return err
		}
		return report.BreakingPoints(s.env.Out, snap, s.options())
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
			return nil, hinted(fmt.Errorf("no family %q", g), "the families are: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return out, nil
}

func listFamilies(s *session) error {
	for _, f := range probes.Families() {
		title, _, _ := strings.Cut(f.Doc, "\n")
		if _, err := fmt.Fprintf(s.env.Out, "%-24s %-10s %3d  %s\n", f.Name, f.Shape, len(f.Cases), title); err != nil {
			return err
		}
	}
	return nil
}
