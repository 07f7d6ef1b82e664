package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
)

func showCommand() command {
	return command{
		name: "show", args: "BOOT", summary: "show one snapshot",
		long: `Shows one snapshot for a person, or as it is with -o json. BOOT is a file, a boot id or the
beginning of one, a kernel release, last-good or current. With -v evidence is shown as well.`,
		example: "lastgood show last-good",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, args []string) (int, error) {
				format, err := s.format("table", "json")
				if err != nil {
					return exitUsage, err
				}
				if len(args) != 1 {
					return exitUsage, hinted(fmt.Errorf("show wants one boot, got %d", len(args)), "for instance `lastgood show current`")
				}
				snap, err := s.load(ctx, args[0])
				if err != nil {
					return exitUsage, err
				}
				return exitOK, s.printSnapshot(format, snap)
			}
		},
	}
}
