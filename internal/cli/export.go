package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/baseline"
	"lastgood/internal/export"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/workload"
	"lastgood/loader"
	"lastgood/probes"
)

// exportObject writes a reproducer of the one program that the set selects.
func (p *probe) exportObject(ctx context.Context, s *session, set workload.Set) (int, error) {
	if _, err := s.format("table"); err != nil {
		return exitUsage, err
	}
	job, unread := explainJobOf(set)
	if len(unread) > 0 {
		return exitIncomplete, errors.Join(unread...)
	}
	file, name, err := oneProgram(&job)
	if err != nil {
		return exitUsage, err
	}
	c := export.Case{ObjectName: file.Name, Program: name}
	if c.Before, err = p.before(ctx, s, file.Name, name); err != nil {
		return exitUsage, err
	}
	if c.Object, err = file.Read(); err != nil {
		return exitIncomplete, err
	}
	if len(file.Values) > 0 {
		if c.Values, err = loader.ParseValues(file.Values); err != nil {
			return exitUsage, err
		}
	}
	c.Commands = p.commands(&c)
	if c.Now, err = p.now(ctx, s, set, &job); err != nil {
		return exitIncomplete, err
	}
	if c.Before != nil && c.Before.Subject.Text("program") != c.Now.Subject.Text("program") {
		printError(s.env.Err, fmt.Errorf("%s of %s was another program or had other values in %s: the two sides are not of the kernel alone", name, file.Name, p.against))
	}
	if err := export.Write(p.export, c); err != nil {
		return exitUsage, err
	}
	return exitOK, s.printExported(p.export, &c)
}

// now measures and explains the program on this kernel.
func (p *probe) now(ctx context.Context, s *session, set workload.Set, job *probes.ExplainJob) (export.Side, error) {
	one := set
	one.Files = slices.DeleteFunc(slices.Clone(set.Files), func(f workload.File) bool { return f.Name != job.Files[job.Programs[0].File].Name })
	run := s.newObjectRun(ctx, one, !p.again)
	guard := s.guardFor(append(names(run), groupsOf(job)...))
	snap, err := s.collect(ctx, "export", []source.Source{}, run, guard, "a person runs it")
	if err != nil {
		return export.Side{}, err
	}
	key := snapshot.Key{Kind: probes.ProgramKind().Name, ID: one.Files[0].Name + "/" + job.Programs[0].Name}
	sub := snap.Subject(key)
	if sub == nil || sub.Outcome != snapshot.Measured {
		return export.Side{}, fmt.Errorf("measure %s: %s", key.ID, whyNot(snap, sub))
	}
	side := export.Side{Identity: snap.Identity, Subject: *sub}
	job.Each, job.Total = explainEach, s.budget*9/10
	x, err := s.explain(ctx, *job, s.budget, guard, "a person runs it")
	if err != nil {
		return export.Side{}, err
	}
	if x.programs[0].err != nil {
		printError(s.env.Err, fmt.Errorf("explain %s: %w", key.ID, x.programs[0].err))
		return side, nil
	}
	side.Explanation = &x.programs[0].explanation
	return side, nil
}

// whyNot says why a program has no counters.
func whyNot(snap *snapshot.Snapshot, sub *snapshot.Subject) string {
	if sub != nil {
		return string(sub.Outcome) + ": " + sub.Reason
	}
	for i := range snap.Subjects {
		if s := &snap.Subjects[i]; s.Kind == snapshot.SourceKind && s.ID == probes.ObjectsSource && s.Reason != "" {
			return s.Reason
		}
	}
	return "it was not reached"
}

// before is the program in the snapshot that --against names, with its explanation where
// one was kept; nil without --against.
func (p *probe) before(ctx context.Context, s *session, object, name string) (*export.Side, error) {
	if p.against == "" {
		return nil, nil
	}
	snap, err := s.load(ctx, p.against)
	if err != nil {
		return nil, err
	}
	sub := programIn(snap, object, name)
	if sub == nil {
		return nil, fmt.Errorf("--against %s: it has no program %s of %s", p.against, name, object)
	}
	side := &export.Side{Identity: snap.Identity, Subject: *sub}
	store, err := s.openStore(ctx)
	if err != nil {
		return side, nil // a file is enough for the counters
	}
	defer store.Close()
	e, err := keptExplanation(store, snap, sub)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		printError(s.env.Err, err)
	}
	side.Explanation = e
	return side, nil
}

// programIn is a program in a snapshot: the one of that object, else the only one of that
// name, for an agent's object may have been known by another name.
func programIn(snap *snapshot.Snapshot, object, name string) *snapshot.Subject {
	kind := probes.ProgramKind().Name
	if sub := snap.Subject(snapshot.Key{Kind: kind, ID: object + "/" + name}); sub != nil {
		return sub
	}
	var only *snapshot.Subject
	for i := range snap.Subjects {
		if sub := &snap.Subjects[i]; sub.Kind == kind && sub.Text("name") == name {
			if only != nil {
				return nil
			}
			only = sub
		}
	}
	return only
}

// keptExplanation is what was kept of a program of a snapshot. Counters are exact: one
// that is of another count is not of that snapshot.
func keptExplanation(store *baseline.Store, snap *snapshot.Snapshot, sub *snapshot.Subject) (*loader.Explanation, error) {
	b, err := store.Explanation(explanationKey(snap, sub))
	if err != nil {
		return nil, err
	}
	var e loader.Explanation
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("read explanation of %s: %w", sub.ID, err)
	}
	n, ok := sub.Attrs["insns_processed"].Number()
	if !ok || e.Processed == nil || float64(*e.Processed) != n {
		return nil, fmt.Errorf("read explanation of %s: it is of other settings of that kernel: %w", sub.ID, fs.ErrNotExist)
	}
	return &e, nil
}

func explanationKey(snap *snapshot.Snapshot, sub *snapshot.Subject) baseline.ExplanationKey {
	return baseline.ExplanationKey{Program: sub.Text("program"), BuildID: snap.Identity.Kernel.BuildID}
}

// commands repeat the measurement in the exported folder.
func (p *probe) commands(c *export.Case) []string {
	args := " --program " + shellWord(exactPattern(c.Program))
	if len(c.Values) > 0 {
		args += " --values " + export.ValuesFile
	}
	for _, k := range slices.Sorted(maps.Keys(p.spec.Types)) {
		args += " --type " + shellWord(k+"="+p.spec.Types[k])
	}
	// What is refused has the status 1, which must not end the script.
	object, told := " ./"+export.FileName(c.ObjectName), " || echo \"exit status $?\""
	out := []string{
		"lastgood probe --again -o csv" + args + object + " > here.lastgood.csv" + told,
		"lastgood diff now.csv here.lastgood.csv" + told,
		"lastgood probe --explain" + args + object + told,
	}
	if c.Before != nil {
		out = append(out, "lastgood diff before.csv now.csv"+told)
	}
	return out
}

// exactPattern is a pattern for --program that fits this name alone.
func exactPattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (s *session) printExported(dir string, c *export.Case) error {
	if e := c.Now.Explanation; e != nil && !s.quiet {
		err := error(nil)
		if g := growthOf(c); g.Old != g.New {
			err = report.Growth(s.env.Out, g, s.options())
		} else {
			err = report.Explanation(s.env.Out, *e, s.options())
		}
		if err != nil {
			return err
		}
	}
	err := s.tell("", "written to %s; README.txt there says what is what", dir)
	return err
}

// growthOf is the difference of the two sides, none where one has no explanation.
func growthOf(c *export.Case) loader.Growth {
	if c.Before == nil || c.Before.Explanation == nil || c.Now.Explanation == nil {
		return loader.Growth{}
	}
	return loader.Compare(*c.Before.Explanation, *c.Now.Explanation)
}
