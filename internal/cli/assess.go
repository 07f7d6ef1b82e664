package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

func assessCommand() command {
	return command{
		name: "__assess", summary: "assess a boot that is under way, until its deadline", hidden: true,
		long: `What lastgood-assess.service runs beside the boot. A check is repeated while something that
is missing may still come, up to gate.assess_within after this command began; the last one
counts. The exit status is 1 where this boot is worse, else 0: what could not be told must
not keep boot-complete.target back, for a loader that counts boots would fall back for it.`,
		example: "lastgood __assess",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			f.StringVar(&g.against, "baseline", "", "compare with this snapshot (file, boot id or release) instead of the last good boot")
			every := f.Duration("every", 10*time.Second, "time between two checks")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return g.assess(ctx, s, *every)
			}
		},
	}
}

func (g *gateRun) assess(ctx context.Context, s *session, every time.Duration) (int, error) {
	if err := g.open(ctx, s); err != nil {
		return exitOK, err
	}
	defer g.kick(ctx)
	if g.skipped(ctx) {
		return exitOK, nil
	}
	verdict, err := g.polled(ctx, gate.Assessed, time.Duration(s.config.Gate.AssessWithin), every)
	if err != nil {
		printError(s.env.Err, err)
	}
	if verdict == snapshot.Regressed {
		return exitRegressed, nil
	}
	return exitOK, nil
}

// polled checks, and checks again while something that is missing may still come and there
// is time for it. The last verdict is taken in.
func (g *gateRun) polled(ctx context.Context, as gate.EventType, within, every time.Duration) (snapshot.Verdict, error) {
	deadline := time.Now().Add(within)
	err := g.check(ctx, io.Discard)
	for g.mayCome() && time.Until(deadline) > every {
		fmt.Fprintf(g.s.env.Err, "lastgood: %s; looks again in %v\n", g.rep.Summary, every)
		if !sleep(ctx, every) {
			break
		}
		err = g.check(ctx, io.Discard)
	}
	if g.rep != nil {
		if perr := g.s.print(g.s.output, g.rep); perr != nil {
			printError(g.s.env.Err, perr)
		}
	}
	return g.conclude(ctx, as, err)
}

// mayCome reports whether a later check may be better: a device or a service that is
// missing may be slow, what the kernel answers to a program is not.
func (g *gateRun) mayCome() bool {
	if g.rep == nil {
		return false
	}
	switch g.rep.Verdict {
	case snapshot.Incomplete:
		return true
	case snapshot.Regressed:
		for _, f := range g.rep.Findings {
			if f.Severity == snapshot.Critical && (f.Class == snapshot.ClassHardware || f.Class == snapshot.ClassService) {
				return true
			}
		}
	}
	return false
}

// sleep waits, and reports whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
