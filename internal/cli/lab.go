package cli

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"lastgood/internal/netlab"
)

// labCommand is the helper in the private cgroup; netlab starts it.
func labCommand() command {
	return command{
		name: netlab.HelperCommand, hidden: true, summary: "be what attached programs are tried on",
		long:    "Started by lastgood itself: enters the cgroup that it is given and does there what it is told.",
		example: "lastgood check",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(_ context.Context, s *session, args []string) (int, error) {
				if len(args) != 1 {
					return exitUsage, hinted(errors.New("no cgroup is given"), "lastgood starts this command by itself")
				}
				if err := netlab.Serve(args[0], s.env.In, s.env.Out); err != nil {
					return exitUsage, err
				}
				return exitOK, nil
			}
		},
	}
}
