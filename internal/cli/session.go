package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/hw"
	"lastgood/internal/boot"
	"lastgood/internal/collect"
	"lastgood/internal/config"
	"lastgood/internal/contract"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/watch"
	"lastgood/internal/workload"
	"lastgood/probes"
)

// session is what every command starts from: the common flags, the
// configuration and the host.
type session struct {
	env Env

	stateDir   string
	configPath string
	rootPath   string
	output     string
	budget     time.Duration
	jobs       int
	quiet      bool
	verbose    bool

	stateGiven  bool // the state folder was named, by flag or environment
	budgetGiven bool // so was the budget
	anyConfig   bool // the defaults will do where the configuration cannot be read
	config      config.Config
	configErr   error // why it could not be read, where the defaults stand in for it
	root        *sysfs.Root
	contract    *contract.Watch // the declared contract where it is waited for, else nil
	hurry       bool            // workloads wait for what is measured
}

const defaultStateDir = "/var/lib/lastgood"

func (s *session) commonFlags(f *pflag.FlagSet) {
	f.StringVar(&s.stateDir, "state-dir", defaultStateDir, "`DIR` of the snapshots and of the last good boot")
	f.StringVar(&s.configPath, "config", config.DefaultPath, "configuration `FILE`")
	f.StringVar(&s.rootPath, "root", "", "recorded host, a folder or an archive at `PATH`, instead of this one")
	f.StringVarP(&s.output, "output", "o", "", "output `FORMAT`; a wrong one gets the list of those that there are")
	f.DurationVar(&s.budget, "budget", 0, "most `TIME` it may take (default: of the configuration, 20s)")
	f.IntVar(&s.jobs, "jobs", 0, "`NUMBER` of programs measured side by side (default: of the configuration, 1)")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "print only the verdict, in one line")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "print evidence too, and what goes on")
}

// prepare completes the flags from the environment and reads the configuration.
func (s *session) prepare(f *pflag.FlagSet) error {
	var err error
	f.VisitAll(func(fl *pflag.Flag) {
		name := "LASTGOOD_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v := s.env.Getenv(name)
		if v == "" || fl.Changed || err != nil || !slices.Contains(fromEnvironment, fl.Name) {
			return
		}
		if e := f.Set(fl.Name, v); e != nil {
			err = fmt.Errorf("read environment %s: %w", name, e)
		}
	})
	if err != nil {
		return err
	}
	s.stateGiven, s.budgetGiven = f.Changed("state-dir"), f.Changed("budget")
	if s.config, err = config.Load(s.configPath); err != nil {
		if !s.anyConfig {
			return err
		}
		s.config, s.configErr = config.Default(), err
	}
	if s.budget == 0 {
		s.budget = time.Duration(s.config.Budget)
	}
	if s.budget < collect.MinBudget {
		return fmt.Errorf("--budget %v: too short, %v is the least", s.budget, collect.MinBudget)
	}
	if s.jobs == 0 {
		s.jobs = s.config.Jobs
	}
	if s.jobs < 1 {
		return fmt.Errorf("--jobs %d: 1 is the least", s.jobs)
	}
	s.root = sysfs.Live()
	if s.rootPath != "" {
		open := s.env.openTree
		if open == nil {
			open = sysfs.OpenTree
		}
		if s.root, err = open(s.rootPath); err != nil {
			return err
		}
	}
	return nil
}

var fromEnvironment = []string{"state-dir", "config", "root", "output", "budget", "jobs", "fail-on", "run-dir"}

func (s *session) host() source.Host {
	return source.Host{Root: s.root, Now: s.now, Log: newLogger(s.env.Err, s.verbose), Bridges: s.config.SmartBridges}
}

// sources is everything that lastgood can look at.
func sources() []source.Source {
	return slices.Concat(boot.Sources(), boot.Truth(boot.Prior{}), contract.Sources(), hw.Sources(), probes.Sources())
}

// usual is what is looked at where nobody asks for more.
func usual() []source.Source {
	return source.UpTo(sources(), source.Gate, source.Boot, source.Native)
}

// kinds is everything that is declared about it.
func kinds() (snapshot.Kinds, error) {
	declared := collect.Kinds()
	for _, src := range sources() {
		declared = append(declared, src.Kinds...)
	}
	declared = append(declared, probes.ProgramKind(), workload.Kind(), watch.Kind())
	declared = append(declared, probes.SurfaceKinds()...)
	return snapshot.NewKinds(declared...)
}

// openGuard opens the crash guard once the boot is known; nil means none.
type openGuard func(boot, build string) (collect.Guard, error)

// collect takes one snapshot of the given sources, and of objects where there are any.
func (s *session) collect(ctx context.Context, phase string, from []source.Source, objects *objectRun, guard openGuard, unguarded string) (*snapshot.Snapshot, error) {
	p := newProgress(s)
	defer p.end()
	from = s.bound(from)
	o := collect.Options{
		Host: s.host(), Sources: from, Tool: tool(), Phase: phase, Budget: s.budget, Jobs: s.jobs,
		Guard: guard, Unguarded: unguarded, Progress: p.show, Hurry: s.hurry,
	}
	if objects == nil {
		snap, err := collect.Run(ctx, o)
		if err == nil && !s.root.Live() {
			timeless(snap)
		}
		return snap, err
	}
	var err error
	if o.Input, err = objects.input(); err != nil {
		return nil, err
	}
	o.Sources = append(slices.Clone(from), objects.sources()...)
	snap, err := collect.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := objects.remember(snap); err != nil {
		o.Host.Log.Warn("measurements are not remembered", "err", err)
	}
	return snap, nil
}

// timeless drops how long reading took: of a recorded host it says nothing, and one
// recording is to give one snapshot.
func timeless(snap *snapshot.Snapshot) {
	for i := range snap.Subjects {
		if sub := &snap.Subjects[i]; sub.Kind == snapshot.SourceKind {
			delete(sub.Attrs, snapshot.SourceTook)
		}
	}
}

// format is the output format, checked against what the command has.
func (s *session) format(names ...string) (string, error) {
	if s.output == "" {
		return names[0], nil
	}
	if !slices.Contains(names, s.output) {
		return "", fmt.Errorf("--output %q: this command writes %s", s.output, strings.Join(names, ", "))
	}
	return s.output, nil
}

// argumentError is a word too many.
type argumentError struct{ word string }

func (e *argumentError) Error() string { return fmt.Sprintf("unexpected argument %q", e.word) }

func noArguments(args []string) error {
	if len(args) > 0 {
		return &argumentError{args[0]}
	}
	return nil
}

// ownState refuses to mix a recorded host into this host's own history.
func (s *session) ownState() error {
	if s.rootPath != "" && !s.stateGiven {
		return hinted(errors.New("--root without --state-dir: a recorded host must not enter this host's history"),
			"name a folder for it: --state-dir ./state")
	}
	return nil
}
