package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/config"
	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// bound gives the sources of the boot's truth the state folder that they lean on, and that of the declared contract what was
// found by those who wait for it.
func (s *session) bound(from []source.Source) []source.Source {
	out := slices.Clone(from)
	with := boot.Truth(boot.Prior{Intent: s.intent, NextBoot: preflight.NextBoot})
	if s.contract != nil {
		with = append(with, s.contract.Source())
	}
	for _, t := range with {
		if i := slices.IndexFunc(out, func(o source.Source) bool { return o.Name == t.Name }); i >= 0 {
			out[i] = t
		}
	}
	return out
}

// intent is what the boot before left; a recorded host without a state folder has none.
func (s *session) intent() (*boot.Intent, error) {
	if s.ownState() != nil {
		return nil, nil
	}
	b, err := baseline.ReadIntent(s.stateDir)
	if err != nil || b == nil {
		return nil, err
	}
	return boot.ParseIntent(b)
}

// intentPatience bounds what is done at shutdown.
const intentPatience = 10 * time.Second

// intentCommand is run when the host goes down.
func intentCommand() command {
	return command{
		anyConfig: true,
		name:      "__intent", hidden: true, summary: "write down what the boot loader is to boot next",
		long: `Run by a unit's ExecStop at shutdown: reads what the boot loader is set to boot and
writes it to intent.json in the state folder, for the next boot to be held against.`,
		example: "lastgood __intent",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.saveIntent(ctx)
			}
		},
	}
}

func (s *session) saveIntent(ctx context.Context) (int, error) {
	if err := s.ownState(); err != nil {
		return exitUsage, err
	}
	ctx, cancel := context.WithTimeout(ctx, intentPatience)
	defer cancel()
	in := boot.ReadIntent(ctx, s.root, s.env.clock())
	if in.BootID == "" {
		return exitIncomplete, errors.New("write intent: this boot's id could not be read")
	}
	moved, err := baseline.SaveIntent(s.stateDir, baseline.Options{Now: s.env.clock}, func(old []byte) ([]byte, error) {
		if before, err := boot.ParseIntent(old); err == nil {
			in.After(before)
		}
		return in.Encode()
	})
	if moved != nil {
		printError(s.env.Err, moved)
	}
	if err != nil {
		return exitIncomplete, err
	}
	if s.verbose {
		fmt.Fprintf(s.env.Out, "%s\n", in.Told())
	}
	return exitOK, nil
}

// truth adds to a report how this boot came about and what changed since the last good one. A
// kernel that is not the one that was meant makes the verdict invalid.
func (c *check) truth(ctx context.Context, snap *snapshot.Snapshot, rep *report.Report) {
	base, _, err := c.baseline(ctx)
	if err != nil {
		base = nil // told where it is compared with
	}
	o := snap.Subject(snapshot.Key{Kind: boot.OutcomeKind, ID: boot.ThisBoot})
	if o != nil {
		rep.Boot = &report.Boot{Class: o.Text("class"), Intended: o.Text("intended"), Entry: o.Text("intended_entry"), Running: o.Text("running"), Basis: o.Text("basis"), Between: o.Text("between"), Why: o.Text("why")}
	}
	// Whoever accepted this very boot knows which kernel it is of.
	accepted := base != nil && snap.Identity.BootID != "" && base.Identity.BootID == snap.Identity.BootID
	if rep.Boot != nil && rep.Boot.Class == string(boot.FellBack) && !accepted {
		c.invalid(rep, rep.Boot.Why)
	}
	c.intended(snap, rep, &c.s.config.Intended)
	if base != nil && base.Identity.MachineID == snap.Identity.MachineID {
		rep.Since = since(base, snap, boot.ReadLogs(ctx, c.s.root, nil))
	}
}

// invalid makes the verdict invalid for a reason, which leads the notes.
func (c *check) invalid(rep *report.Report, why string) {
	rep.Verdict = snapshot.Invalid
	c.notes = append([]string{why}, c.notes...)
}

// intended proves that this host is what the configuration says it is meant to be.
func (c *check) intended(snap *snapshot.Snapshot, rep *report.Report, in *config.Intended) {
	flavour, _ := kernels.FlavourOf(snap.Identity.Kernel.Release)
	wrong, unknown := in.Prove(&snap.Identity, flavour)
	for _, m := range unknown {
		rep.Incomplete = append(rep.Incomplete, snapshot.Gap{Kind: "boot.intended", ID: m.Fact, Reason: m.String(), Counts: true})
		if rep.Verdict == snapshot.Good || rep.Verdict == snapshot.Learned {
			rep.Verdict = snapshot.Incomplete
		}
	}
	for _, m := range slices.Backward(wrong) {
		c.invalid(rep, m.String())
	}
}
