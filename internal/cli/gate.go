package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func gateCommand() command {
	return command{
		anyConfig: true,
		name:      "gate", summary: "check this boot before the workloads, and hold them if it is worse",
		long: `What lastgood-gate.service runs before the node agents of Kubernetes start: a check without
network, bounded by --budget. Where this boot is worse than the last good one the hold file
is made, and the units of gate.hold in the configuration are not started; ` + "`lastgood release`" + `
lets them go. Where lastgood cannot tell, or fails itself, nothing is held, and it says so.

` + gate.SkipWord + ` on the kernel's command line turns all of this off. The exit status is 0 whatever
comes of it, so that a verdict is no failed unit; --exit-status gives that of the check.`,
		example: "lastgood gate --budget 60s",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			f.StringVar(&g.against, "baseline", "", "compare with `SNAPSHOT` (a file, boot id or release) instead of the last good boot")
			f.DurationVar(&g.settle, "settle", 15*time.Second, "`TIME` that a missing device or service may take to come")
			exit := f.Bool("exit-status", false, "exit with the verdict's status, as check does")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				verdict, err := g.gate(ctx, s)
				if *exit {
					return statusOf(verdict, err), err
				}
				if err != nil {
					g.say(err)
				}
				return exitOK, nil
			}
		},
	}
}

// statusOf is a verdict's exit status; none is an error of lastgood's own.
func statusOf(v snapshot.Verdict, err error) int {
	if v == "" || err != nil {
		return cmp.Or(v.ExitStatus(), exitUsage)
	}
	return v.ExitStatus()
}

func (g *gateRun) gate(ctx context.Context, s *session) (snapshot.Verdict, error) {
	if _, err := s.format(reportFormats()...); err != nil {
		return "", err
	}
	if err := g.open(ctx, s); err != nil {
		return "", err
	}
	if err := g.mayJudge(); err != nil {
		return "", err
	}
	defer g.kick(ctx)
	if g.skipped(ctx) {
		fmt.Fprintln(s.env.Err, "lastgood:", gate.SkipWord, "is on the kernel's command line: nothing is checked, nothing is held")
		_, _, err := g.happen(ctx, gate.Event{Type: gate.Booted, World: gate.World{Skip: true}})
		return snapshot.Learned, err
	}
	// A hold that another boot left (a soft reboot keeps /run) ends before anything can fail.
	g.identify(ctx)
	g.s.hurry = true
	if _, _, err := g.happen(ctx, gate.Event{Type: gate.Booted}); err != nil {
		g.say(err)
	}
	if s.configErr != nil {
		return g.conclude(ctx, gate.Checked, briefly(s.configErr))
	}
	return g.polled(ctx, gate.Checked, g.settle, settleEvery)
}

// briefly is an error in the first of its lines: a message has no room for the lines around a mistake.
func briefly(err error) error {
	line, _, more := strings.Cut(err.Error(), "\n")
	if !more {
		return err
	}
	return errors.New(line)
}

// settleEvery is the time between two checks of the gate: a device that udev has not come
// to yet is missing for a second or two.
const settleEvery = 2 * time.Second

// gateGrace is what a check may take beyond its budget before it is given up.
const gateGrace = 10 * time.Second

// check runs a check and keeps its report. An error, or time that ran out, gives none.
func (g *gateRun) check(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, g.s.budget+gateGrace)
	defer cancel()
	s := *g.s
	s.env.Out = out
	c := &check{against: g.against, settling: settling{phase: snapshot.PhaseSettled}}
	_, err := c.run(ctx, &s, nil)
	g.rep, g.most, g.late = c.rep, "", c.late
	if c.rep != nil {
		g.most = mostOf(c.rep, c.snap, c.policy.FailOn)
	}
	if g.rep == nil && err == nil {
		err = errors.New("check: it came to no verdict")
	}
	if ctx.Err() != nil && g.rep == nil {
		err = fmt.Errorf("check: not done in %v: %w", g.s.budget+gateGrace, err)
	}
	return err
}

// conclude takes the verdict of the newest check in. What failed in lastgood itself is no
// verdict: nothing is held for it.
func (g *gateRun) conclude(ctx context.Context, as gate.EventType, err error) (snapshot.Verdict, error) {
	e := gate.Event{Type: as}
	if g.rep != nil {
		e.Verdict, e.Summary, e.Most = g.rep.Verdict, summaryOf(g.rep), g.most
		e.Soon = as == gate.Checked && onlyLater(g.rep)
		if err != nil { // it was judged, and only not printed
			g.say(err)
			err = nil
		}
	} else {
		e.Summary = hintText(err)
	}
	e.World = g.world(ctx)
	_, _, herr := g.happen(ctx, e)
	g.heard(err) // it stands in what was told
	return e.Verdict, errors.Join(err, herr)
}

// summaryOf is a report's summary with the worst of what was found: whoever is told reads that
// and not the report.
func summaryOf(rep *report.Report) string {
	if rep.Verdict != snapshot.Regressed {
		return rep.Summary
	}
	var worst *snapshot.Finding
	for i := range rep.Findings {
		if f := &rep.Findings[i]; worst == nil || f.Severity.Rank() > worst.Severity.Rank() {
			worst = f
		}
	}
	if worst == nil {
		return rep.Summary
	}
	return rep.Summary + ": " + worst.Message
}
