package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
)

func tryCommand() command {
	return command{
		name: "try", args: "KERNEL", summary: "boot a kernel once, and keep it only if it is good",
		long: `Has the boot loader boot KERNEL next and once; the kernel that runs stays the default. A kernel
that crashes or hangs is left by the next boot; one that comes up is checked, and made the
default when it is good. GRUB must be able to write its environment block and look at it
(GRUB_DEFAULT=saved on Debian): where a one-shot choice would stay for ever it is not made.`,
		status:  "The exit status is 0, 1 where it is refused, with the reason, 2 where it could not be done.",
		example: "lastgood try 6.1.0-31-amd64",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if len(args) != 1 {
					return exitUsage, hinted(fmt.Errorf("try wants one kernel, got %d", len(args)), "`lastgood preflight --all-candidates --no-vm` lists kernels")
				}
				return g.byHand(ctx, s, gate.Event{Type: gate.TryOnce, To: gate.Kernel{Release: args[0]}})
			}
		},
	}
}
