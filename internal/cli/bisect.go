package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"lastgood/internal/kernels"
	"lastgood/internal/preflight"
	"lastgood/internal/snapshot"
	"lastgood/loader"
)

func bisectCommand() command {
	return command{
		name: "bisect", args: "[KERNEL...]", summary: "find the first kernel that breaks a program",
		long: `Finds, between a kernel that is good and one that is bad, the first bad one: boots
them in VMs, the middle one first, and measures a program on each. The program is one
of the built-in ones (--probe, as ` + "`lastgood probe`" + ` names it) or of an ELF object (--object
with --program). It is bad where the verifier refuses it, or with --above where the
metric is larger than that; where good and bad both accept it and --above is not
given, what tells them apart is on which side of their middle the metric lies.

The kernels between are those that are installed, offered by the distribution (more
with --suite) or named as arguments, in the distribution's own order, of the flavour
of the two.`,
		status:  "The exit status is 0, 2 where the question is wrong, 3 where the answer could not be found.",
		example: "lastgood bisect --probe datapath/large_dp_parse --good 6.18.5 --bad 6.18.15 --suite sid",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			b := &bisecter{}
			b.p.flags(f)
			for _, name := range []string{"against", "family"} {
				_ = f.MarkHidden(name) // they are preflight's
			}
			f.StringVar(&b.good, "good", "", "`KERNEL` that is good: a release, a version or a file")
			f.StringVar(&b.bad, "bad", "", "`KERNEL` that is bad")
			f.StringVar(&b.probe, "probe", "", "the built-in program: `FAMILY/CASE`")
			f.StringVar(&b.program, "program", "", "`NAME` of the object's program (default: its only one)")
			f.StringVar(&b.metric, "metric", "insns", "`METRIC` that is compared: insns, states, xlated or any attribute that probe -o json writes")
			f.Int64Var(&b.above, "above", 0, "bad is where the metric is larger than `NUMBER`")
			return b.run
		},
	}
}

// bisecter is one run of the command.
type bisecter struct {
	p          preflighter
	good, bad  string
	probe      string
	program    string
	metric     string
	above      int64
	aboveGiven bool

	s    *session
	key  func(*snapshot.Snapshot) (snapshot.Key, error) // of the program in question
	read map[int]reading
	ks   []kernels.Kernel
}

// reading is what one kernel made of the program.
type reading struct {
	told    bool
	why     string
	verdict string
	cause   string
	metric  int64
	has     bool // the metric is known
}

func (r reading) String() string {
	switch {
	case !r.told:
		return "cannot tell: " + r.why
	case r.verdict != "accepted" && r.cause != "":
		return r.verdict + ": " + r.cause
	case r.verdict != "accepted":
		return r.verdict
	case !r.has:
		return r.verdict
	}
	return fmt.Sprintf("%s, %s", r.verdict, grouped(r.metric))
}

// metricNames are short names of attributes.
var metricNames = map[string]string{"insns": "insns_processed", "states": "total_states", "xlated": "xlated_bytes", "stack": "stack_depth"}

func (b *bisecter) run(ctx context.Context, s *session, args []string) (int, error) {
	b.s, b.read = s, map[int]reading{}
	if _, err := s.format("table"); err != nil {
		return exitUsage, err
	}
	if err := b.question(); err != nil {
		return exitUsage, err
	}
	if err := b.p.open(ctx, s); err != nil {
		return exitUsage, err
	}
	defer b.p.close()
	var err error
	if b.ks, err = b.p.find.between(ctx, b.good, b.bad, args); err != nil {
		return exitUsage, err
	}
	fmt.Fprintf(s.env.Out, "%d kernels from %s to %s\n", len(b.ks), b.ks[0].Release, b.ks[len(b.ks)-1].Release)
	isBad, err := b.judgement(ctx)
	if err != nil {
		return exitIncomplete, err
	}
	found, err := preflight.Bisect(len(b.ks), func(i int) (preflight.Answer, error) {
		r, err := b.measure(ctx, i)
		switch {
		case err != nil || !r.told:
			return preflight.CannotTell, err
		case isBad(r):
			return preflight.IsBad, nil
		}
		return preflight.IsGood, nil
	})
	if err != nil {
		return exitIncomplete, err
	}
	return b.conclude(ctx, found)
}

// question checks the flags and says which program is meant.
func (b *bisecter) question() error {
	if b.good == "" || b.bad == "" {
		return hinted(errors.New("bisect wants --good KERNEL and --bad KERNEL"), "`lastgood preflight --all-candidates --no-vm` lists kernels")
	}
	if long, ok := metricNames[b.metric]; ok {
		b.metric = long
	}
	b.aboveGiven = b.above > 0
	switch {
	case b.probe != "" && len(b.p.objects) == 0:
		if !strings.Contains(b.probe, "/") {
			return hinted(fmt.Errorf("--probe %q: not FAMILY/CASE", b.probe), "`lastgood probe` lists them")
		}
		b.p.families = []string{b.probe}
		b.key = func(*snapshot.Snapshot) (snapshot.Key, error) {
			return snapshot.Key{Kind: "bpf.probe", ID: b.probe}, nil
		}
	case b.probe == "" && len(b.p.objects) == 1:
		b.key = b.programKey
	default:
		return hinted(errors.New("bisect wants one program: --probe FAMILY/CASE, or --object FILE with --program NAME"), "`lastgood probe` lists the built-in ones")
	}
	return nil
}

// programKey finds the program of the object.
func (b *bisecter) programKey(snap *snapshot.Snapshot) (snapshot.Key, error) {
	object := path.Base(b.p.objects[0])
	if b.program != "" {
		return snapshot.Key{Kind: "bpf.program", ID: object + "/" + b.program}, nil
	}
	var found []string
	for i := range snap.Subjects {
		if snap.Subjects[i].Kind == "bpf.program" {
			found = append(found, snap.Subjects[i].ID)
		}
	}
	if len(found) != 1 {
		return snapshot.Key{}, hinted(fmt.Errorf("%s has %d programs", object, len(found)), "name one with --program: %s", strings.Join(found, ", "))
	}
	return snapshot.Key{Kind: "bpf.program", ID: found[0]}, nil
}

// judgement says what is bad. Where a bound is given the two ends are taken on trust
// and not booted; without one they say what tells them apart.
func (b *bisecter) judgement(ctx context.Context) (func(reading) bool, error) {
	refused := func(r reading) bool { return r.verdict == "rejected" }
	if b.aboveGiven {
		return func(r reading) bool { return refused(r) || r.has && r.metric > b.above }, nil
	}
	var ends [2]reading
	for n, i := range []int{0, len(b.ks) - 1} {
		r, err := b.measure(ctx, i)
		if err != nil {
			return nil, err
		}
		if !r.told {
			return nil, fmt.Errorf("measure %s: %s", b.ks[i].Release, r.why)
		}
		ends[n] = r
	}
	good, bad := ends[0], ends[1]
	switch {
	case refused(good) && refused(bad):
		return nil, fmt.Errorf("the verifier refuses the program on both %s and %s", b.ks[0].Release, b.ks[len(b.ks)-1].Release)
	case refused(good) || refused(bad):
		return func(r reading) bool { return refused(r) == refused(bad) }, nil
	case !good.has || !bad.has || good.metric == bad.metric:
		return nil, fmt.Errorf("the program is the same to both: %s on %s, %s on %s", good, b.ks[0].Release, bad, b.ks[len(b.ks)-1].Release)
	}
	middle := good.metric + (bad.metric-good.metric)/2
	if bad.metric > good.metric {
		return func(r reading) bool { return refused(r) || r.metric > middle }, nil
	}
	return func(r reading) bool { return refused(r) || r.metric < middle }, nil
}

// measure boots one of the kernels and says what it made of the program.
func (b *bisecter) measure(ctx context.Context, i int) (reading, error) {
	if r, ok := b.read[i]; ok {
		return r, nil
	}
	if err := ctx.Err(); err != nil {
		return reading{}, err
	}
	r, err := b.ask(ctx, b.ks[i])
	if err != nil {
		return r, err
	}
	b.read[i] = r
	b.p.bar.end()
	_ = b.s.tell(fmt.Sprintf("  %-34s ", b.ks[i].Release), "%s", r) // the answer is what matters, at the end
	return r, nil
}

func (b *bisecter) ask(ctx context.Context, k kernels.Kernel) (reading, error) {
	k, err := b.p.find.files(ctx, k)
	if err != nil {
		return reading{why: hintText(err)}, ctx.Err()
	}
	var files []loader.ObjectFile
	if len(b.p.objects) > 0 {
		var err error
		if files, err = b.p.objectsFor(ctx, ""); err != nil {
			return reading{}, err
		}
	}
	m, err := b.p.measureOnly(ctx, k, files, len(files) > 0)
	var other *preflight.NotAskedError
	switch {
	case errors.As(err, &other):
		return reading{why: err.Error()}, nil
	case err != nil:
		return reading{}, err // QEMU, this program or the objects: the same for every kernel
	case m.Snapshot == nil:
		return reading{why: fmt.Sprintf("%s: %s", m.Outcome, m.Why)}, nil
	}
	key, err := b.key(m.Snapshot)
	if err != nil {
		return reading{}, err
	}
	sub := m.Snapshot.Subject(key)
	if sub == nil {
		return reading{}, fmt.Errorf("measure %s: there is no program %s", k.Release, key)
	}
	if sub.Outcome != snapshot.Measured {
		return reading{why: string(sub.Outcome) + ": " + sub.Reason}, nil
	}
	r := reading{told: true, verdict: sub.Text("verdict"), cause: sub.Text("cause")}
	r.metric, r.has = sub.Attrs[b.metric].Int()
	return r, nil
}

// conclude measures what stands at the turn and was taken on trust, and says what was found.
func (b *bisecter) conclude(ctx context.Context, found preflight.Bisected) (int, error) {
	good, err := b.measure(ctx, found.LastGood)
	if err != nil {
		return exitIncomplete, err
	}
	bad, err := b.measure(ctx, found.FirstBad)
	if err != nil {
		return exitIncomplete, err
	}
	tell := b.s.tell
	errs := []error{tell("", ""), tell("last good:  ", "%s: %s", b.title(found.LastGood), good), tell("first bad:  ", "%s: %s", b.title(found.FirstBad), bad)}
	for _, i := range found.Untold {
		errs = append(errs, tell("not told:   ", "%s: %s; it may be the first bad one", b.title(i), b.read[i].why))
	}
	if lines, err := b.p.find.changes(ctx, b.ks[found.LastGood], b.ks[found.FirstBad]); err != nil {
		errs = append(errs, tell("changelog:  ", "%s", hintText(err)))
	} else {
		errs = append(errs, tell("", "changelog between the two, where it speaks of bpf:"))
		for _, l := range lines {
			errs = append(errs, tell("  ", "%s", l))
		}
	}
	if len(found.Untold) > 0 {
		return exitIncomplete, errors.Join(errs...)
	}
	return exitOK, errors.Join(errs...)
}

func (b *bisecter) title(i int) string {
	k := b.ks[i]
	if k.Version == "" {
		return k.Release
	}
	return k.Release + " (" + k.Version + ")"
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	return snapshot.Count.Format(snapshot.Int(n))
}
