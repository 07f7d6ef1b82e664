package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/loader"
)

func preflightCommand() command {
	return command{
		name: "preflight", args: "[KERNEL...]", summary: "judge a kernel before the reboot into it",
		long: `Judges a kernel that does not run yet. Reads what this host would do with it (boot
loader, initramfs, host name, fstab, modules built for it), reads the kernel itself
(drivers for the devices bound now, options and types that programs need), and runs
it: it boots in a VM with no disk and no network, measures the built-in programs and
the given objects there, and compares them with the running kernel's in a VM like it.

KERNEL is a release that is installed or that the distribution offers, a kernel
image, a package (.deb, .rpm) or a folder. Without one it is what the boot loader
boots next. Packages are fetched and verified by the distribution's own client and
are not installed.

The exit status is the verdict, of several kernels the worst:
` + exitStatuses,
		example: "lastgood preflight --object /usr/lib/bpf/agent.o 6.12.94+deb13-amd64",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			p := &preflighter{}
			p.flags(f)
			f.BoolVar(&p.all, "all-candidates", false, "every kernel that is installed or offered, those that cannot be tested among them")
			f.StringVar(&p.failOn, "fail-on", "", "least `SEVERITY` that fails: critical or warning (default: of the configuration, critical)")
			f.BoolVar(&p.quick, "quick", false, "only the programs whose counters are compared: no test runs, attachment or breaking points")
			f.BoolVar(&p.noVM, "no-vm", false, "read only, and run nothing")
			f.StringSliceVar(&p.flavours, "flavour", nil, "with --all-candidates: test kernels of this `FLAVOUR` too (cloud-amd64, rt-amd64; * is all); may be given again")
			f.BoolVar(&p.older, "older", false, "with --all-candidates: test kernels older than the running one too")
			f.BoolVar(&p.last, "last", false, "judge nothing: show what was found out before, the newest first")
			return p.run
		},
	}
}

// preflighter is one run of the command, or the part of it that bisect shares.
type preflighter struct {
	against  string
	objects  []string
	builtin  bool
	families []string
	suites   []string
	accel    string
	memory   int
	failOn   string
	all      bool
	noVM     bool
	last     bool
	quick    bool
	thorough bool
	flavours []string
	older    bool

	s      *session
	kinds  snapshot.Kinds
	policy compare.Policy
	store  *baseline.Store
	lab    *preflight.Lab
	find   *finder
	bar    *steps
}

// flags are those that say where kernels come from and what runs on them.
func (p *preflighter) flags(f *pflag.FlagSet) {
	f.StringVar(&p.against, "against", "", "compare with `KERNEL` (default: the running one)")
	f.StringArrayVar(&p.objects, "object", nil, "ELF `OBJECT`, or folder of them, to measure in place of those of this node's agents; may be given again")
	f.BoolVar(&p.builtin, "builtin-only", false, "leave the objects of this node's agents out")
	f.StringArrayVar(&p.families, "family", nil, "only this `FAMILY` of the built-in catalogue; may be given again")
	f.StringSliceVar(&p.suites, "suite", nil, "also offer the kernels of this `SUITE` (bookworm-backports, sid); may be given again")
	f.StringVar(&p.accel, "accel", string(vm.Auto), "`HOW` the VM runs: auto (KVM where it works), kvm or tcg (emulation)")
	f.IntVar(&p.memory, "vm-memory", vm.New().MemoryMiB, "memory of the VM, in `MIB`")
}

// needMiB is the free memory that a guest must have: a load that walks a million
// insns keeps up to some 130 MiB of states on the kernels tried (5.10 to 6.18).
const needMiB = 192

// guestBudget bounds the measuring in a guest. Under emulation it takes twenty times
// as long as on the host, so --budget is taken for it only where it is given.
const (
	guestBudget = 60 * time.Second
	// thoroughGuestBudget is for the breaking points too, thoroughTimeout for all of such a VM.
	thoroughGuestBudget = 2 * time.Minute
	thoroughTimeout     = 3 * time.Minute
)

func (p *preflighter) run(ctx context.Context, s *session, args []string) (int, error) {
	format, err := s.format("table", "json", "markdown")
	if err != nil {
		return exitUsage, err
	}
	p.thorough = !p.quick && len(p.families) == 0
	if p.last {
		return s.lastPreflights(format)
	}
	if p.all && len(args) > 0 {
		return exitUsage, errors.New("--all-candidates takes no kernels: it means every one")
	}
	if err := p.open(ctx, s); err != nil {
		return exitUsage, err
	}
	defer p.close()
	chosen, err := p.choose(ctx, args)
	if err != nil {
		return exitIncomplete, err
	}
	reports := p.judgeAll(ctx, chosen)
	p.bar.end()
	var tried []*report.Report
	for i, r := range reports {
		// Of every kernel there is, many were never meant to be tested.
		if p.all && !chosen[i].Testable {
			continue
		}
		tried = append(tried, r)
		if err := s.keepPreflight(r); err != nil {
			printError(s.env.Err, err)
		}
	}
	if err := s.printPreflight(format, reports); err != nil {
		return exitUsage, err
	}
	return worstExit(tried), nil
}

// open prepares what every run needs. What cannot be kept is no reason not to look.
func (p *preflighter) open(ctx context.Context, s *session) error {
	p.s, p.bar = s, newSteps(s)
	var err error
	if p.kinds, p.policy, err = s.rules(p.failOn); err != nil {
		return err
	}
	machine := vm.New()
	machine.MemoryMiB = p.memory
	if p.thorough {
		machine.Timeout = thoroughTimeout
	}
	switch machine.Accel = vm.Accel(p.accel); machine.Accel {
	case vm.Auto, vm.KVM, vm.TCG:
	default:
		return fmt.Errorf("--accel %q: it is auto, kvm or tcg", p.accel)
	}
	for _, o := range p.objects {
		if _, err := os.Stat(o); err != nil {
			return fmt.Errorf("read object: %w", err)
		}
	}
	if p.store, err = s.openStore(ctx); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	boot, _ := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id") // "" remembers nothing of KVM
	p.lab = &preflight.Lab{Machine: machine, Self: self, Dir: filepath.Join(s.stateDir, "vm"), BootID: boot}
	p.find = newFinder(s, p.suites)
	p.find.flavours, p.find.older = p.flavours, p.older
	return nil
}

func (p *preflighter) close() {
	p.find.close()
	p.store.Close()
}

// choose says which kernels are meant.
func (p *preflighter) choose(ctx context.Context, args []string) ([]kernels.Kernel, error) {
	if p.all {
		return p.find.all(ctx)
	}
	if len(args) == 0 {
		k, err := p.find.next(ctx)
		return []kernels.Kernel{k}, err
	}
	var out []kernels.Kernel
	for _, a := range args {
		ks, err := p.find.named(ctx, a)
		if err != nil {
			return nil, err
		}
		out = append(out, ks...)
	}
	return out, nil
}

// judgeAll judges the kernels side by side, --jobs at a time, in the order given.
func (p *preflighter) judgeAll(ctx context.Context, all []kernels.Kernel) []*report.Report {
	against := p.references(ctx)
	p.bar.total = len(all)
	reports := make([]*report.Report, len(all))
	slots := make(chan struct{}, p.s.jobs)
	var wg sync.WaitGroup
	for i := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			reports[i] = p.judge(ctx, all[i], against)
			p.bar.done(all[i].Release)
		})
	}
	wg.Wait()
	return reports
}

// reference is what the kernel to compare with did in a VM like the candidates'.
func (p *preflighter) reference(ctx context.Context, files []loader.ObjectFile) (*snapshot.Snapshot, error) {
	k, err := p.find.reference(ctx, p.against)
	if err != nil {
		return nil, err
	}
	if k, err = p.find.files(ctx, k); err != nil {
		return nil, err
	}
	m, err := p.measure(ctx, k, files)
	if err != nil {
		return nil, err
	}
	if m.Snapshot == nil {
		return nil, fmt.Errorf("measure %s: %s: %s", k.Release, m.Outcome, m.Why)
	}
	return m.Snapshot, nil
}

func (p *preflighter) measure(ctx context.Context, k kernels.Kernel, files []loader.ObjectFile) (*preflight.Measured, error) {
	return p.measureOnly(ctx, k, files, false)
}

// measureOnly leaves the built-in catalogue out where only the objects matter.
func (p *preflighter) measureOnly(ctx context.Context, k kernels.Kernel, files []loader.ObjectFile, objects bool) (*preflight.Measured, error) {
	budget := guestBudget
	if p.thorough {
		budget = thoroughGuestBudget
	}
	if p.s.budgetGiven {
		budget = p.s.budget
	}
	job := preflight.Job{Families: p.families, ObjectsOnly: objects, Quick: p.quick, Thorough: p.thorough, Budget: budget, Jobs: p.lab.Machine.CPUs, NeedMiB: needMiB, MachineID: guestMachineID}
	return p.lab.Measure(ctx, preflight.Candidate{Release: k.Release, Arch: k.Arch, Image: k.Image, Modules: k.Modules}, job, files,
		func(line string) { p.bar.show(k.Release, line) })
}
