package cli

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
)

func generatorCommand() command {
	return command{
		anyConfig: true,
		name:      "__generator", args: "NORMAL [EARLY LATE]", summary: "write the drop-ins of units that are held", hidden: true,
		long: `What lastgood-generator(8) runs at boot and at daemon-reload: for every unit of gate.hold a
drop-in in the folder NORMAL that has it wait for the gate and not start while the hold file is there.`,
		example: "lastgood __generator /run/systemd/generator",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if len(args) != 1 && len(args) != 3 {
					return exitUsage, errors.New("a generator is given one folder or three")
				}
				line, err := s.root.Attr(ctx, "/proc/cmdline")
				if err == nil && gate.Skipped(line) {
					return exitOK, nil
				}
				if err := gate.Generate(args[0], s.config.Gate.Units()); err != nil {
					return exitUsage, err
				}
				return exitOK, nil
			}
		},
	}
}
