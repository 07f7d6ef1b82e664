package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/notify"
)

func notifyCommand() command {
	return command{
		anyConfig: true,
		name:      "notify", summary: "list what is still to be told, and send it",
		long: `Lists the messages that wait in the spool. --flush sends those that are due, an earlier boot's
first; --now also those that are not. --test sends a message to everybody in the configuration
and says who got it. --failed UNIT tells that a unit of lastgood's failed.`,
		status:  "The exit status is 0, 1 where a test message did not reach everybody, 2 where it could not be done.",
		example: "lastgood notify --test",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			n := notifyRun{gateRun: g}
			f.BoolVar(&n.flush, "flush", false, "send what is due")
			f.BoolVar(&n.now, "now", false, "send also what is not due yet")
			f.BoolVar(&n.test, "test", false, "send a test message")
			f.StringVar(&n.failed, "failed", "", "tell that this `UNIT` failed")
			f.DurationVar(&n.within, "within", 5*time.Minute, "most `TIME` that sending may take")
			return n.run
		},
	}
}

type notifyRun struct {
	*gateRun
	flush, now, test bool
	failed, how      string // a unit, and how it ended where that is known
	within           time.Duration
}

func (n *notifyRun) run(ctx context.Context, s *session, args []string) (int, error) {
	if err := noArguments(args); err != nil {
		return exitUsage, err
	}
	if err := n.open(ctx, s); err != nil {
		return exitUsage, err
	}
	n.boot.Kernel.Release, _ = s.root.Attr(ctx, releaseFile) // without it the message has none
	if s.configErr != nil {
		return n.unconfigured(ctx)
	}
	if n.test && len(s.config.Notify.Names()) == 0 {
		return exitUsage, hinted(errors.New("the configuration names nobody to tell"), "add a notify: section to %s", s.configPath)
	}
	if n.test {
		if err := n.say(ctx, notify.EventTest, "a test by "+who()); err != nil {
			return exitUsage, err
		}
	}
	if n.failed != "" && !n.judged(ctx) {
		if err := n.say(ctx, notify.EventFailed, n.fault()); err != nil {
			return exitUsage, err
		}
	}
	if n.flush || n.test || n.failed != "" || n.now {
		return n.send(ctx, s)
	}
	waiting, err := n.spool.Waiting()
	errs := []error{err}
	for _, w := range waiting {
		errs = append(errs, s.tell("- ", "%s", w))
	}
	if err == nil && len(waiting) == 0 && !s.quiet {
		errs = append(errs, s.tell("", "nothing waits to be sent"))
	}
	return exitOK, errors.Join(errs...)
}

// unconfigured tells of a unit that failed where that needs no configuration. Nothing is sent: what waits would be given up, for
// nobody is known to ask for it.
func (n *notifyRun) unconfigured(ctx context.Context) (int, error) {
	if n.failed != "" && !n.judged(ctx) {
		if err := n.say(ctx, notify.EventFailed, n.fault()+"; "+briefly(n.s.configErr).Error()); err != nil {
			return exitUsage, err
		}
	}
	return exitUsage, n.s.configErr
}

// judged reports whether the unit failed by a verdict of this boot, which was told: that is no fault of lastgood's. Systemd knows
// how it ended; an assessment that crashed after the gate came to a verdict is a fault. Where systemd cannot be asked a verdict will do.
func (n *notifyRun) judged(ctx context.Context) bool {
	var faults []string
	asked := errNotAsked
	if n.live {
		if faults, asked = n.system.Failed(ctx, []string{n.failed}); len(faults) > 0 {
			_, n.how, _ = strings.Cut(faults[0], ": ")
		}
	}
	st, err := n.keeper.Load()
	if err != nil || st.Boot.ID != n.boot.ID || st.Verdict == "" {
		return false
	}
	return asked != nil || len(faults) == 0
}

// errNotAsked: of a recorded host systemd is not asked.
var errNotAsked = errors.New("systemd was not asked")

// fault is what is told of the unit that failed.
func (n *notifyRun) fault() string {
	if n.how == "" {
		return n.failed + " failed; workloads start as without it"
	}
	return n.failed + " failed (" + n.how + "); workloads start as without it"
}

func (n *notifyRun) say(ctx context.Context, event, text string) error {
	m, err := notify.New(event, text)
	if err != nil {
		return err
	}
	n.fill(&m)
	n.gateRun.send(ctx, &m)
	return nil
}

func (n *notifyRun) send(ctx context.Context, s *session) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, n.within)
	defer cancel()
	r, err := n.spool.Flush(ctx, n.now || n.test)
	for _, line := range r.Notes {
		fmt.Fprintln(s.env.Err, "lastgood:", line)
	}
	if err != nil {
		return exitUsage, err
	}
	switch {
	case r.Busy:
		fmt.Fprintln(s.env.Out, "another lastgood is sending")
	case !s.quiet:
		fmt.Fprintf(s.env.Out, "%d sent, %d wait, %d given up\n", r.Sent, r.Left, r.Dropped)
	}
	if n.test && r.Left > 0 {
		return exitRegressed, nil
	}
	return exitOK, nil
}
