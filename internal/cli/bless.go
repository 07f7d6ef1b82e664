package cli

import (
	"context"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
)

func blessCommand() command {
	return command{
		anyConfig: true,
		name:      "bless", summary: "say that this boot is fine, whatever was found",
		long: `Somebody's word for this boot: its workloads are let go, it is neither held nor rolled back
from again, bad boots are counted from zero, and a kernel that is being tried becomes the
default. What later boots are compared with stays; ` + "`lastgood accept`" + ` changes that.

With --if-good, as lastgood-bless.service runs it when the boot is complete, only a kernel
that is being tried and was judged good is made the default, and nothing else is done.`,
		status:  "The exit status is 0, 1 where it is refused, with the reason, 2 where it could not be done.",
		example: "lastgood bless",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			ifGood := f.Bool("if-good", false, "only what was judged good, as a unit runs it")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				e := gate.Event{Type: gate.Confirm}
				if *ifGood {
					e.Type = gate.Blessed
				}
				return g.byHand(ctx, s, e)
			}
		},
	}
}
