package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lastgood/internal/candidate"
	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/loader"
	"lastgood/probes"
)

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
