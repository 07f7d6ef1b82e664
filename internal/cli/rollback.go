package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"lastgood/internal/gate"
)

func rollbackCommand() command {
	return command{
		name: "rollback", summary: "choose the last good kernel for the next boot",
		long: `Sets the boot loader to the kernel of the last good boot, or to --to: one that is installed,
with its initramfs and modules, and that was good here before. Entries are chosen by their
id, never by their number. The host is rebooted with --reboot only. After the reboot this
host is judged again: rolled back and good, or rolled back and still broken.`,
		status:  "The exit status is 0 where it is done, else 1 or 2, with the reason.",
		example: "lastgood rollback --to 6.1.0-30-amd64 --yes",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			e := gate.Event{Type: gate.GoBack}
			f.StringVar(&e.To.Release, "to", "", "kernel `RELEASE` to go back to (default: the best that was good)")
			f.BoolVar(&e.Reboot, "reboot", false, "reboot at once")
			yes := f.Bool("yes", false, "do not ask")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				if !*yes {
					if ok, err := g.ask(ctx, s, e); !ok {
						return exitUsage, err
					}
				}
				return g.byHand(ctx, s, e)
			}
		},
	}
}

// ask says what would be done and waits for a word. Without a terminal there is nobody to ask.
func (g *gateRun) ask(ctx context.Context, s *session, e gate.Event) (bool, error) {
	if err := g.open(ctx, s); err != nil {
		return false, err
	}
	st, err := g.keeper.Load()
	if err != nil {
		return false, err
	}
	e.World = g.world(ctx)
	e.Boot, e.By = g.boot, who()
	_, acts := gate.Decide(st, e, s.config.Gate.Policy())
	for _, a := range acts {
		switch a.Act {
		case gate.SetDefault:
			fmt.Fprintf(s.env.Out, "the boot loader is set to kernel %s\n", a.Kernel.Release)
		case gate.Reboot:
			fmt.Fprintln(s.env.Out, "the host is rebooted")
		case gate.Tell, gate.Refuse:
			fmt.Fprintln(s.env.Out, a.Text)
		}
		if a.Act == gate.Refuse {
			return false, errors.New("nothing was done")
		}
	}
	if !s.env.OutTTY || !term.IsTerminal(0) {
		return false, hinted(errors.New("nothing was done: there is nobody to ask"), "--yes does it without asking")
	}
	fmt.Fprint(s.env.Out, "Do it? [y/N] ")
	answer, err := bufio.NewReader(s.env.In).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return false, errors.New("nothing was done")
	}
	return true, nil
}
