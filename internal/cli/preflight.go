package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/candidate"
	"lastgood/internal/compare"
	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/loader"
	"lastgood/probes"
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

// guestMachineID makes every guest the same machine, as machine-id(5) writes it.
const guestMachineID = "1a57600d1a57600d1a57600d1a57600d"

// judge is the whole preflight of one kernel.
func (p *preflighter) judge(ctx context.Context, k kernels.Kernel, against func([]loader.ObjectFile) (*snapshot.Snapshot, error)) *report.Report {
	start := time.Now()
	rep := &report.Report{Taken: start, Preflight: &report.Preflight{
		Kernel: k.Release, Flavour: k.Flavour, Package: strings.TrimSpace(k.Package + " " + k.Version), Source: k.Source, Reason: k.Reason}}
	if k.Testable {
		p.layers(ctx, rep, k, against)
	} else {
		rep.Verdict = snapshot.Incomplete
	}
	rep.TookSeconds = time.Since(start).Seconds()
	rep.Summary = preflightSummary(rep)
	rep.Next = preflightNext(rep)
	return rep
}

// layers are this host, the candidate's files, and the candidate at work.
func (p *preflighter) layers(ctx context.Context, rep *report.Report, k kernels.Kernel, against func([]loader.ObjectFile) (*snapshot.Snapshot, error)) {
	p.bar.show(k.Release, "fetching")
	k, err := p.find.files(ctx, k)
	if err != nil {
		rep.Verdict = snapshot.Incomplete
		rep.Preflight.Reason = hintText(err)
		rep.Incomplete = append(rep.Incomplete, snapshot.Gap{Kind: "kernel", ID: k.Release, Reason: hintText(err), Counts: true})
		return
	}
	rep.Verdict = snapshot.Good
	if p.noVM {
		rep.Preflight.Reason = "--no-vm: it was read and not run"
	} else {
		p.runLayer(ctx, rep, k, against)
	}
	if rep.Verdict == snapshot.Invalid {
		return
	}
	p.bar.show(k.Release, "reading")
	host := p.s.host()
	target := p.find.target(ctx, k, p.store)
	findings, gaps := preflight.Host(ctx, host, target)
	read, unread := candidate.Read(ctx, host, candidate.Files{Release: k.Release, Arch: k.Arch, Image: k.Image, Modules: k.Modules, Config: k.Config, Initramfs: k.Initramfs}, p.paths(ctx, k.Release))
	p.add(rep, append(findings, read...), append(gaps, unread...))
}

// runLayer boots the candidate and judges it against the reference.
func (p *preflighter) runLayer(ctx context.Context, rep *report.Report, k kernels.Kernel, against func([]loader.ObjectFile) (*snapshot.Snapshot, error)) {
	files, err := p.objectsFor(ctx, k.Release)
	if err != nil {
		p.untested(rep, k, hintText(err))
		return
	}
	m, err := p.measure(ctx, k, files)
	var other *preflight.NotAskedError
	switch {
	case errors.As(err, &other):
		rep.Verdict = snapshot.Invalid
		rep.Notes = append(rep.Notes, err.Error())
	case err != nil:
		p.untested(rep, k, hintText(err))
		return
	}
	rep.Preflight.Ran = ran(m)
	if rep.Verdict == snapshot.Invalid {
		return
	}
	if m.Snapshot == nil {
		p.untested(rep, k, fmt.Sprintf("%s: %s", m.Outcome, m.Why))
		rep.Notes = append(rep.Notes, "the end of its console:\n"+m.Console)
		return
	}
	rep.Preflight.Tested = true
	rep.Current, rep.Counts = &m.Snapshot.Identity, report.Counted(m.Snapshot)
	base, err := against(files)
	if err != nil {
		gap := snapshot.Gap{Kind: "kernel", ID: "against", Reason: "there is nothing to compare with: " + hintText(err), Counts: true}
		rep.Verdict, rep.Incomplete = snapshot.Incomplete, []snapshot.Gap{gap}
		return
	}
	if k.Modules == "" && !p.quick && len(p.families) == 0 {
		rep.Notes = append(rep.Notes, "no programs were attached: the modules of "+k.Release+" are not at hand")
		base = unattached(base)
	}
	judge(rep, base, m.Snapshot, p.kinds, p.policy)
}

// unattached is a snapshot without attachment, for a candidate that it could not be tried on.
func unattached(s *snapshot.Snapshot) *snapshot.Snapshot {
	out := *s
	out.Subjects = slices.DeleteFunc(slices.Clone(s.Subjects), func(sub snapshot.Subject) bool {
		return sub.Kind == probes.AttachKind || sub.Kind == snapshot.SourceKind && sub.ID == probes.AttachSource
	})
	return &out
}

func (p *preflighter) untested(rep *report.Report, k kernels.Kernel, why string) {
	rep.Verdict, rep.Preflight.Reason = snapshot.Incomplete, why
	rep.Incomplete = append(rep.Incomplete, snapshot.Gap{Kind: "kernel", ID: k.Release, Reason: why, Counts: true})
}

func ran(m *preflight.Measured) *report.Ran {
	if m == nil || m.Facts == nil {
		return nil
	}
	r := &report.Ran{Release: m.Facts.Release, Version: m.Facts.Version, Arch: m.Facts.Arch, Machine: m.Machine, Cached: m.Cached,
		BootSeconds: m.Boot.Seconds(), TookSeconds: m.Took.Seconds(), Notes: slices.Concat(m.Notes, m.Facts.ModuleErrors)}
	if m.Snapshot != nil {
		r.BuildID = m.Snapshot.Identity.Kernel.BuildID
	}
	return r
}

// add puts findings of the reading layers into the report, as the policy weighs them.
func (p *preflighter) add(rep *report.Report, findings []snapshot.Finding, gaps []snapshot.Gap) {
	findings = p.policy.Weigh(findings)
	rep.Findings = append(rep.Findings, findings...)
	rep.Incomplete = append(rep.Incomplete, gaps...)
	slices.SortStableFunc(rep.Findings, func(a, b snapshot.Finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	switch {
	case slices.ContainsFunc(rep.Findings, p.policy.Fails):
		rep.Verdict = snapshot.Regressed
	case rep.Verdict == snapshot.Good && slices.ContainsFunc(gaps, func(g snapshot.Gap) bool { return g.Counts }):
		rep.Verdict = snapshot.Incomplete
	}
}

func preflightSummary(rep *report.Report) string {
	switch rep.Verdict {
	case snapshot.Good:
		text := "nothing speaks against booting " + rep.Preflight.Kernel
		if !rep.Preflight.Tested {
			text = "nothing that was read speaks against booting " + rep.Preflight.Kernel + ", which was not run"
		}
		return text + counted(rep, ", but for ")
	case snapshot.Regressed:
		if !rep.Preflight.Tested {
			return "what was read speaks against booting " + rep.Preflight.Kernel + counted(rep, ": ")
		}
		return rep.Preflight.Kernel + " is worse for this host than what it is compared with" + counted(rep, ": ")
	case snapshot.Invalid:
		return "this is not what was to be tested: " + strings.Join(rep.Notes, "; ")
	}
	why := counting(rep.Incomplete)
	if len(why) == 0 && rep.Preflight.Reason != "" {
		why = []string{rep.Preflight.Reason}
	}
	return rep.Preflight.Kernel + " could not be judged: " + strings.Join(why, "; ") + counted(rep, "; so far ")
}

func preflightNext(rep *report.Report) []string {
	switch rep.Verdict {
	case snapshot.Regressed:
		return []string{"Stay on the running kernel until what got worse is settled; -v shows the evidence."}
	case snapshot.Incomplete:
		return []string{"See to what could not be measured, then run `lastgood preflight` again. Nothing is known to be worse for it."}
	case snapshot.Invalid:
		return []string{"Name the kernel by its package or by its image and run `lastgood preflight` again."}
	}
	return nil
}

// worstExit is the exit status of several reports: a regression first, then what is
// not what was asked for, then what could not be told.
func worstExit(reports []*report.Report) int {
	worst := snapshot.Good
	for _, v := range []snapshot.Verdict{snapshot.Incomplete, snapshot.Invalid, snapshot.Regressed} {
		if slices.ContainsFunc(reports, func(r *report.Report) bool { return r.Verdict == v }) {
			worst = v
		}
	}
	return worst.ExitStatus()
}
