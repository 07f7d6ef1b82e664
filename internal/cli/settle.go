package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/watch"
)

// settling is how check waits for a host that is coming up.
type settling struct {
	deadline time.Duration // 0: it does not wait
	phase    string        // early: what is there is kept first
}

func (w *settling) flags(f *pflag.FlagSet) {
	f.DurationVar(&w.deadline, "settle", 0, "wait until no device comes or goes and udev is done, at most this `TIME`")
	f.StringVar(&w.phase, "phase", snapshot.PhaseSettled, "`PHASE`: early: first keep what hardware is there now; without --settle, do no more")
}

// check refuses what makes no sense.
func (w *settling) check(s *session) error {
	switch {
	case w.phase != snapshot.PhaseEarly && w.phase != snapshot.PhaseSettled:
		return fmt.Errorf("--phase %q: there are %s and %s", w.phase, snapshot.PhaseEarly, snapshot.PhaseSettled)
	case w.deadline < 0:
		return fmt.Errorf("--settle %v: a time is not less than 0", w.deadline)
	case w.deadline > 0 && s.rootPath != "":
		return errors.New("--settle with --root: a recorded host does not settle")
	}
	return nil
}

func (w *settling) early() bool     { return w.phase == snapshot.PhaseEarly }
func (w *settling) earlyOnly() bool { return w.early() && w.deadline == 0 }

// takeEarly keeps what hardware is there before anybody waits: files of the kernel
// alone are read, and nothing is loaded.
func (c *check) takeEarly(ctx context.Context) (*snapshot.Snapshot, error) {
	snap, err := c.s.collect(ctx, snapshot.PhaseEarly, source.UpTo(hw.Sources(), source.Gate), nil, nil, "")
	if err != nil {
		return nil, err
	}
	mark := c.s.settleSubject(ctx, watch.Settled{Why: "nobody waited for devices"})
	mark.Outcome = snapshot.Skipped
	snap.Subjects = append(snap.Subjects, mark)
	if err := snap.Sort(); err != nil {
		return nil, err
	}
	// The lock is given up again: the wait is long, and others may want to check.
	if err := lock(ctx, c.store); err != nil {
		return nil, err
	}
	_, err = c.store.SaveEarly(snap)
	return snap, errors.Join(err, c.store.Close())
}

// printEarly ends a check that was to keep an early snapshot only.
func (c *check) printEarly(snap *snapshot.Snapshot) error {
	if c.s.output == "json" {
		return c.s.printSnapshot("json", snap)
	}
	if c.s.quiet {
		return nil
	}
	seconds, _ := snap.Uptime()
	_, err := fmt.Fprintf(c.s.env.Out, "early snapshot of this boot: %d subjects, %.0f s after boot; nothing was judged\n", len(snap.Subjects), seconds)
	return err
}

// waitSettled waits as asked and says in which phase the snapshot will be, with the
// subject that tells how the wait ended; nil where there was none.
func (c *check) waitSettled(ctx context.Context) (string, *snapshot.Subject, error) {
	if c.settling.deadline == 0 {
		return "check", nil, nil
	}
	ended, err := watch.Settle(ctx, c.s.root, time.Duration(c.s.config.SettleQuiet), c.settling.deadline)
	if ctx.Err() != nil {
		return "", nil, errors.New("wait for the host to settle: interrupted")
	}
	if err != nil {
		ended.Why = "it cannot be told whether devices are coming: " + err.Error()
	}
	mark := c.s.settleSubject(ctx, ended)
	if ended.Why != "" {
		return snapshot.PhaseUnsettled, &mark, nil
	}
	return snapshot.PhaseSettled, &mark, nil
}

// settleSubject says how a wait ended, and when after boot that was.
func (s *session) settleSubject(ctx context.Context, ended watch.Settled) snapshot.Subject {
	sub := snapshot.Subject{Kind: snapshot.SourceKind, ID: snapshot.SettleSource, Outcome: snapshot.Measured, Reason: ended.Why}
	if ended.Why != "" {
		sub.Outcome = snapshot.Inconclusive
	}
	sub.Set(snapshot.SourceTook, snapshot.Float(ended.Waited.Seconds()))
	text, err := s.root.Attr(ctx, "/proc/uptime")
	seconds, perr := strconv.ParseFloat(strings.SplitN(text+" ", " ", 2)[0], 64)
	if err = errors.Join(err, perr); err != nil {
		sub.Fail(snapshot.SourceUptime, err)
		return sub
	}
	sub.Set(snapshot.SourceUptime, snapshot.Float(seconds))
	return sub
}

// marked is a snapshot with the subject that tells how the wait for it ended.
func marked(snap *snapshot.Snapshot, mark *snapshot.Subject) error {
	if mark == nil {
		return nil
	}
	snap.Subjects = append(snap.Subjects, *mark)
	return snap.Sort()
}
