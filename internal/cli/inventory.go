package cli

import (
	"context"

	"github.com/spf13/pflag"

	"lastgood/hw"
	"lastgood/internal/report"
)

func inventoryCommand() command {
	return command{
		name: "inventory", summary: "show the hardware as a tree",
		long: `Reads the hardware, of this host or with --root of a recorded one, and shows what hangs on
what. A device is known by what it is, not by what it is called today.`,
		example: "lastgood inventory -v",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.inventory(ctx)
			}
		},
	}
}

func (s *session) inventory(ctx context.Context) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	all, err := kinds()
	if err != nil {
		return exitUsage, err
	}
	snap, err := s.collect(ctx, "inventory", hw.Sources(), nil, nil, "")
	if err != nil {
		return exitIncomplete, err
	}
	if format == "json" {
		return exitOK, s.printSnapshot("json", snap)
	}
	hw.Name(ctx, snap)
	if err := report.Inventory(s.env.Out, snap, all, s.options()); err != nil {
		return exitUsage, err
	}
	return s.warnSources(snap), nil
}
