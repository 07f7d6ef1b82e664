package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/contract"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func checkCommand() command {
	return command{
		name: "check", summary: "compare this boot with the last good one",
		long: `Takes a snapshot of this boot: the kernel's identity, the built-in BPF programs
measured on it, the features it has, the hardware. Compares it with the last good
boot, prints what came back worse, and keeps the snapshot.

The first run on a host learns: its boot becomes the last good one. Later boots
become it by ` + "`lastgood accept`" + ` only. What a good boot since then had, a disk under another
name or a stick that was not there, is no news.

The exit status is the verdict:
` + exitStatuses,
		example: "lastgood check -o json | jq .findings",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			c := &check{}
			f.StringVar(&c.against, "baseline", "", "compare with `SNAPSHOT` (a file, boot id or release) instead of the last good boot")
			f.StringVar(&c.failOn, "fail-on", "", "least `SEVERITY` that fails: critical or warning (default: of the configuration, critical)")
			f.StringVar(&c.textfile, "textfile", "", "also write the metrics to lastgood.prom in `DIR`, for node_exporter's textfile collector")
			c.settling.flags(f)
			return c.run
		},
	}
}

// check is one run of the command.
type check struct {
	against  string
	failOn   string
	textfile string // folder of node_exporter's textfile collector, "" for none
	settling settling

	s      *session
	kinds  snapshot.Kinds
	policy compare.Policy
	store  *baseline.Store
	start  time.Time
	notes  []string // what went wrong with lastgood's own files
	rep    *report.Report
	snap   *snapshot.Snapshot

	good     []*snapshot.Snapshot // the good boots since, once they were read
	late     []string             // what ran at the last good boot and may still come
	heldTo   string               // checksum of the accepted snapshot that was judged by
	measured *objectRun           // nil for a recorded host
}

func (c *check) run(ctx context.Context, s *session, args []string) (int, error) {
	c.s, c.start = s, time.Now()
	if err := errors.Join(noArguments(args), c.settling.check(s)); err != nil {
		return exitUsage, err
	}
	format, err := s.format(reportFormats()...)
	if err != nil {
		return exitUsage, err
	}
	if c.kinds, c.policy, err = s.rules(c.failOn); err != nil {
		return exitUsage, err
	}
	if c.store, err = s.openStore(ctx); err != nil {
		return exitUsage, err
	}
	defer c.store.Close()
	if c.settling.early() {
		snap, err := c.takeEarly(ctx)
		if c.settling.earlyOnly() {
			if err != nil {
				return exitIncomplete, err
			}
			return exitOK, c.printEarly(snap)
		}
		if err != nil {
			c.note("what was there early is not known", err)
		}
	}
	return c.settled(ctx, format)
}

// settled is the check proper, of a host that has settled as far as it was waited for.
func (c *check) settled(ctx context.Context, format string) (int, error) {
	s := c.s
	phase, mark, err := c.waitSettled(ctx)
	if err != nil {
		return exitIncomplete, err
	}
	writable, err := c.lock(ctx)
	if err != nil {
		return exitIncomplete, err
	}
	c.measured = c.objects(ctx)
	snap, err := s.collect(ctx, phase, usual(), c.measured, s.guard, "")
	if err == nil {
		err = marked(snap, mark)
	}
	if err != nil {
		return exitIncomplete, err
	}
	rep := c.judged(ctx, snap)
	c.truth(ctx, snap, rep)
	if writable {
		c.keep(ctx, snap, rep)
	}
	c.finish(ctx, rep)
	if writable {
		c.keepReport(rep)
	}
	c.rep, c.snap = rep, snap
	if c.textfile != "" {
		if err := c.writeTextfile(snap, rep); err != nil {
			return exitUsage, errors.Join(err, s.print(format, rep))
		}
	}
	return report.ExitStatus(format, rep), s.print(format, rep)
}

// objects are those of this node's agents, now and at the last good boot.
func (c *check) objects(ctx context.Context) *objectRun {
	base, _, err := c.store.LastGood()
	if err != nil {
		base = nil // said where it is compared with
	}
	release, _ := c.s.root.Attr(ctx, releaseFile)
	return c.s.newObjectRun(ctx, c.s.nodeObjects(ctx, base, c.store, release), true)
}

// releaseFile is uname -r.
const releaseFile = "/proc/sys/kernel/osrelease"

// lock takes the store for writing. Another lastgood at work ends the check; a
// state folder that cannot be written does not, for what can be judged without
// it is still worth saying.
func (c *check) lock(ctx context.Context) (writable bool, err error) {
	err = lock(ctx, c.store)
	var busy *baseline.LockedError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &busy):
		return false, err
	}
	c.note("the state folder cannot be written, so this boot is not remembered", err)
	return false, nil
}

// note keeps a fault of lastgood's own for the report, with the way out.
func (c *check) note(what string, err error) {
	text := what + ": " + err.Error()
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		text += " (" + h.Hint() + ")"
	}
	c.notes = append(c.notes, text)
}

// judged compares the snapshot with the last good one, or says why it cannot.
func (c *check) judged(ctx context.Context, snap *snapshot.Snapshot) *report.Report {
	rep := newReport(snap)
	base, record, err := c.baseline(ctx)
	switch {
	case errors.Is(err, baseline.ErrNone):
		c.learn(rep, snap)
	case err != nil:
		rep.Verdict = snapshot.Incomplete
		gap := lostBaseline
		gap.Reason = hintText(err)
		rep.Incomplete = append(rep.Incomplete, gap)
	default:
		rep.Accepted, rep.AcceptedBy, c.heldTo = record.Accepted, record.By, record.SHA256
		if c.judgeByGood(rep, base, snap).Elsewhere == "" {
			c.late = contract.StillToCome(base, snap)
			c.trend(rep, base, snap)
			c.judgeHistory(rep, base, snap)
			c.explainFindings(ctx, rep, base, snap)
		}
	}
	c.tellLate(rep, snap)
	c.notes = append(c.notes, rep.Notes...)
	return rep
}

// lostBaseline is what is not known where the last good boot cannot be read.
var lostBaseline = snapshot.Gap{Kind: "tool.baseline", ID: "last-good", Counts: true}

func (c *check) baseline(ctx context.Context) (*snapshot.Snapshot, baseline.Record, error) {
	if c.against != "" {
		snap, err := c.s.load(ctx, c.against)
		return snap, baseline.Record{}, err
	}
	return c.store.LastGood()
}

// learn judges a first boot: it is learned unless something that a later boot
// would be held to could not be measured.
func (c *check) learn(rep *report.Report, snap *snapshot.Snapshot) {
	rep.Verdict = snapshot.Learned
	rep.Incomplete = compare.Gaps(snap, c.kinds)
	for _, g := range rep.Incomplete {
		if g.Counts {
			rep.Verdict = snapshot.Incomplete
		}
	}
	var fail bool
	if rep.Findings, fail = compare.Musts(snap, c.kinds, c.policy); fail {
		rep.Verdict = snapshot.Regressed // a required check is not met: not a boot to learn from
	}
}

// keep saves the snapshot, makes it the last good one where it was learned, and
// forgets the oldest boots.
func (c *check) keep(ctx context.Context, snap *snapshot.Snapshot, rep *report.Report) {
	base, _, err := c.store.LastGood()
	if err != nil {
		base = nil // nothing of it is to be kept
	}
	switch {
	case c.measured == nil:
	case base == nil && !errors.Is(err, baseline.ErrNone):
		c.notes = append(c.notes, "objects are not kept while it is not known which boot is the last good one")
	default:
		c.notes = append(c.notes, keepObjects(c.store, c.measured.set, base)...)
	}
	c.finish(ctx, rep)
	judged := result(rep, time.Since(c.start))
	judged.Baseline = c.heldTo
	id, err := c.store.Save(snap, judged)
	if err != nil {
		c.note("this boot is not remembered", err)
	}
	if err == nil && rep.Verdict == snapshot.Learned {
		if _, err := c.store.Accept(id, baseline.ByLearned); err != nil {
			c.note("this boot could not be made the last good one", err)
			rep.Verdict = snapshot.Incomplete
		}
	}
	if _, err := c.store.Prune(c.s.config.Keep, baseline.DefaultMaxBytes); err != nil {
		c.note("old boots could not be removed", err)
	}
}

// finish completes the report with what is known only at the end.
func (c *check) finish(ctx context.Context, rep *report.Report) {
	if len(c.notes) > 0 && rep.Verdict == snapshot.Learned {
		rep.Verdict = snapshot.Incomplete // nothing was learned that would be there at the next boot
	}
	rep.Notes = append(append([]string{}, c.store.Damaged()...), c.notes...)
	rep.TookSeconds = time.Since(c.start).Seconds()
	rep.Summary = summary(rep)
	rep.Next = next(rep)
	if rep.Current != nil {
		rep.Candidates = c.s.judgedCandidates(ctx, rep.Current.Kernel.Release)
	}
}

func hintText(err error) string {
	text := err.Error()
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		text += "; " + h.Hint()
	}
	return text
}

func result(rep *report.Report, took time.Duration) *baseline.Result {
	r := &baseline.Result{Verdict: rep.Verdict, Exit: rep.Verdict.ExitStatus(), Took: took.Seconds(), Summary: rep.Summary}
	for _, f := range rep.Findings {
		switch f.Severity {
		case snapshot.Critical:
			r.Critical++
		case snapshot.Warning:
			r.Warning++
		case snapshot.Info:
			r.Info++
		}
	}
	for _, g := range rep.Incomplete {
		if g.Counts {
			r.Incomplete++
		}
	}
	return r
}
