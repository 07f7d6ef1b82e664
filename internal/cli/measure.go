package cli

import (
	"context"

	"github.com/spf13/pflag"

	"lastgood/internal/collect"
	"lastgood/probes"
)

// measureCommand is the child process that loads programs; collect starts it.
func measureCommand() command {
	return command{
		name: collect.MeasureCommand, hidden: true, summary: "load programs for a check",
		long:    "Started by lastgood itself: reads what to measure and writes what it measured.",
		example: "lastgood check",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, objects []string) (int, error) {
				from := sources()
				if len(objects) > 0 {
					from = append(from, probes.Objects(objects))
				}
				if err := collect.Measure(ctx, s.host(), from, s.env.In, s.env.Out); err != nil {
					return exitUsage, err
				}
				return exitOK, nil
			}
		},
	}
}
