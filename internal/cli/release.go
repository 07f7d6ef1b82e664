package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
)

func releaseCommand() command {
	return command{
		name: "release", summary: "start the workloads that are held",
		long: `Removes the hold file and starts those of the held units whose start was skipped for it.
Nothing is held again in this boot. The finding stands: ` + "`lastgood bless`" + ` says that the boot is
fine, ` + "`lastgood accept`" + ` makes it the last good one.`,
		example: "lastgood release",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return g.byHand(ctx, s, gate.Event{Type: gate.Release})
			}
		},
	}
}

// byHand takes in what somebody wants.
func (g *gateRun) byHand(ctx context.Context, s *session, e gate.Event) (int, error) {
	if err := g.open(ctx, s); err != nil {
		return exitUsage, err
	}
	defer g.kick(ctx)
	e.By, e.World = who(), g.world(ctx)
	st, refused, err := g.happen(ctx, e)
	switch {
	case refused != "":
		return exitRegressed, hinted(fmt.Errorf("%s: %s", e.Type, refused), "`lastgood doctor` tells what is in place here")
	case err != nil:
		return exitUsage, err
	}
	if !s.quiet {
		fmt.Fprintln(s.env.Out, st.Describe())
	}
	return exitOK, nil
}
