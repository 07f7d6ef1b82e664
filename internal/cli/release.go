package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lastgood/internal/gate"
)

func releaseCommand() command {
	return command{
		anyConfig: true,
		name:      "release", summary: "start the workloads that are held",
		long: `Removes the hold file and starts those of the held units whose start was skipped for it.
Nothing is held again in this boot. The finding stands: ` + "`lastgood bless`" + ` says that the boot is
fine, ` + "`lastgood accept`" + ` makes it the last good one.`,
		status:  "The exit status is 0, 1 where it is refused, with the reason, 2 where it could not be done.",
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

// mayDecide refuses a user who cannot do it before anything is said to be done. Root is let
// through whatever the state folder is like: workloads are let go on a broken disk too.
func (g *gateRun) mayDecide() error {
	if userID() == 0 {
		return nil
	}
	if err := unix.Access(g.s.stateDir, unix.W_OK); err != nil {
		return hinted(fmt.Errorf("write state folder %s: %w", g.s.stateDir, err), "run it as root")
	}
	return nil
}

// byHand takes in what somebody wants.
func (g *gateRun) byHand(ctx context.Context, s *session, e gate.Event) (int, error) {
	if err := g.open(ctx, s); err != nil {
		return exitUsage, err
	}
	if err := g.mayDecide(); err != nil {
		return exitUsage, err
	}
	g.say(s.configErr) // it is done all the same, by the defaults
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
		return exitOK, s.tell("", "%s", st.Describe())
	}
	return exitOK, nil
}
