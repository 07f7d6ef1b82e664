package cli

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
)

func decideCommand() command {
	return command{
		name: "decide", summary: "undo a boot that is worse, where the policy asks for it",
		long: `What lastgood-decide.service runs after a verdict; the only part that reboots by itself. It goes
back to the last good kernel where gate.on_regression is rollback, this boot was judged worse,
the kernel is another one than at the last good boot, one that was good is installed, the boot
loader can be set, nobody confirmed the boot or inhibits it (` + runDir + `/inhibit,
/etc/lastgood/inhibit), and this very build was not rolled back from before. Else it says
what stands against it and does nothing.`,
		status:  "The exit status is 0, 1 where it is refused, with the reason, 2 where it could not be done.",
		example: "lastgood decide --dry-run",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			dry := f.Bool("dry-run", false, "say what would be done, and do nothing")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				if *dry {
					return g.wouldDecide(ctx, s)
				}
				return g.byHand(ctx, s, gate.Event{Type: gate.Decided})
			}
		},
	}
}

func (g *gateRun) wouldDecide(ctx context.Context, s *session) (int, error) {
	if err := g.open(ctx, s); err != nil {
		return exitUsage, err
	}
	st, err := g.keeper.Load()
	if err != nil {
		return exitUsage, err
	}
	e := gate.Event{Type: gate.Decided, World: g.world(ctx)}
	e.Boot = g.boot
	after, acts := gate.Decide(st, e, s.config.Gate.Policy())
	errs := []error{s.tell("now:  ", "%s", st.Describe())}
	if len(acts) == 0 {
		return exitOK, errors.Join(append(errs, s.tell("", "nothing would be done"))...)
	}
	for _, a := range acts {
		errs = append(errs, s.tell("would ", "%s %s%s", a.Act, a.Kernel.Release, a.Text))
	}
	return exitOK, errors.Join(append(errs, s.tell("then: ", "%s", after.Describe()))...)
}
