package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

// Attachment is tried in a place made for it: a network namespace with interfaces that
// lead nowhere, a cgroup with one helper process in it (internal/netlab). Of the
// functions of the kernel only those are touched that nothing but BPF_PROG_TEST_RUN
// calls (net/bpf/test_run.c), so that no program of these ever runs for anybody else.
// A plain LSM program has no such place, its hooks are everybody's: it is not attached,
// only the kind that is confined to a cgroup is.

// attachCase is one attachment point and what is done there.
type attachCase struct {
	Group string // "attach_…": what the crash guard knows it by
	ID    string // the subject's, for ever
	Doc   string
	Cost  time.Duration // on a slow machine
	In    place
	Run   func(*trial) error
}

// place is where a case is tried.
type place int

const (
	onThread place = iota // on one thread, in no place of its own
	inNet                 // on the lab's thread
	inCgroup              // there too, with a helper in a private cgroup
)

var attachCases []attachCase

// attaching adds cases at program start and gives them back. It panics on one that
// could not be told from another, which is a fault of this program.
func attaching(group string, cases ...attachCase) []attachCase {
	for i := range cases {
		c := &cases[i]
		c.Group = "attach_" + group
		if !validName.MatchString(c.Group) || c.ID == "" || c.Doc == "" || c.Run == nil || c.Cost <= 0 {
			panic(fmt.Sprintf("attachment %s %q: name, doc, cost or what to do is missing", c.Group, c.ID))
		}
		if slices.ContainsFunc(attachCases, func(o attachCase) bool { return o.ID == c.ID }) {
			panic(fmt.Sprintf("attachment %q is declared twice", c.ID))
		}
		attachCases = append(attachCases, *c)
	}
	return cases
}

// AttachPoint is one place that programs are attached to, and what is done there.
type AttachPoint struct{ ID, Doc string }

// AttachPoints lists them, sorted.
func AttachPoints() []AttachPoint {
	var out []AttachPoint
	for _, c := range attachCases {
		out = append(out, AttachPoint{c.ID, c.Doc})
	}
	slices.SortFunc(out, func(a, b AttachPoint) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// AttachSource is the name of the source of attached programs. In a VM it wants the
// candidate's modules.
const AttachSource = "bpf_attach"

var _ = catalogue.Add(source.Source{
	Name: AttachSource, Tier: source.Boot,
	Doc:   "Attached programs.\nAttaches small programs in a private network namespace and cgroup and looks whether they do what they are for.",
	Kinds: []snapshot.Kind{attachDeclaration},
	Steps: attachSteps,
})

// attachSteps lists every case, group by group. They share one rig, which the last of
// them takes down; where that one is left out the end of the process does.
func attachSteps(source.Host) []source.Step {
	cases := slices.Clone(attachCases)
	slices.SortStableFunc(cases, func(a, b attachCase) int { return cmp.Compare(a.Group, b.Group) })
	r := newRig(cases)
	var steps []source.Step
	for _, c := range cases {
		steps = append(steps, source.Step{
			Group: c.Group, Name: c.ID, Kind: attachDeclaration.Name, ID: c.ID, Cost: c.Cost,
			Run: func(ctx context.Context, _ source.Host) []snapshot.Subject {
				return []snapshot.Subject{r.try(ctx, &c)}
			},
		})
	}
	return steps
}

// trial is one case at work.
type trial struct {
	ctx     context.Context
	rig     *rig
	s       *snapshot.Subject
	closing []func()
	wrongs  []string
	// prepare fills the maps of what is loaded next.
	prepare func(map[string]*ebpf.Map) error
}

// later has f called when the case is over, the last one first.
func (t *trial) later(f func()) { t.closing = append(t.closing, f) }

func (t *trial) close() {
	for _, f := range slices.Backward(t.closing) {
		f()
	}
	t.closing = nil
}

// wrong notes what a program did otherwise than it was made to.
func (t *trial) wrong(format string, args ...any) {
	t.wrongs = append(t.wrongs, fmt.Sprintf(format, args...))
}

// expect notes where two things differ that should be equal.
func expect[T comparable](t *trial, what string, got, want T) {
	if got != want {
		t.wrong("%s: %v, want %v", what, got, want)
	}
}

// unclearError says why nothing could be told; lackError what the kernel does not
// have; refusalError how it refuses what it has.
type (
	unclearError struct{ why string }
	lackError    struct{ what string }
	refusalError struct{ how string }
)

func (e *unclearError) Error() string { return e.why }
func (e *lackError) Error() string    { return e.what }
func (e *refusalError) Error() string { return e.how }

func cannotTell(format string, args ...any) error { return &unclearError{fmt.Sprintf(format, args...)} }

// kernelSays classes a failed call by the kernel's error number. What a kernel does not
// know it refuses with one of the numbers of lackNumbers; what is short or forbidden
// here says nothing of the kernel.
func kernelSays(doing string, err error) error {
	var errno unix.Errno
	if err == nil || !errors.As(err, &errno) {
		return err
	}
	text := doing + ": " + errnoText(errno)
	switch {
	case slices.Contains(unclearNumbers, errno):
		return &unclearError{text}
	case slices.Contains(lackNumbers, errno):
		return &lackError{text}
	}
	return &refusalError{text}
}

var (
	unclearNumbers = []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EBUSY, unix.EAGAIN, unix.EINTR, unix.ENOSPC, unix.EEXIST}
	lackNumbers    = []unix.Errno{unix.EINVAL, unix.EOPNOTSUPP, enotsupp, unix.ENOSYS, unix.ENOENT, unix.ENODEV, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOPROTOOPT}
)

// finish turns the end of a case into its subject's outcome.
func (t *trial) finish(err error) {
	var lack *lackError
	var refusal *refusalError
	switch {
	case errors.As(err, &lack):
		lacking(t.s, lack.what)
		setText(t.s, "cause", lack.what)
	case errors.As(err, &refusal):
		t.s.Set("attached", snapshot.Text("no"))
		setText(t.s, "cause", refusal.how)
	case err != nil:
		t.s.Outcome, t.s.Reason = snapshot.Inconclusive, err.Error()
	case len(t.wrongs) > 0:
		t.s.Set("works", snapshot.Text("wrong"))
		setText(t.s, "cause", strings.Join(t.wrongs, "\n"))
	case t.s.Text("attached") == "yes":
		t.s.Set("works", snapshot.Text("right"))
	}
}

// attached notes that the kernel took the program, or says why not.
func (t *trial) attached(err error) error {
	if err != nil {
		return kernelSays("attach", err)
	}
	t.s.Set("attached", snapshot.Text("yes"))
	return nil
}

// load makes the program's maps and loads it; both are closed with the case.
func (t *trial) load(p Program, types *btf.Cache) (*ebpf.Program, map[string]*ebpf.Map, error) {
	if t.s.Text("program") == "" { // the first one is the one that the case is about
		if err := digest(t.s, &p); err != nil {
			return nil, nil, err
		}
	}
	made, err := loader.CreateMaps(p.Maps)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return nil, nil, &lackError{err.Error()}
	}
	if err != nil {
		return nil, nil, kernelSays("create map", err)
	}
	t.later(func() { loader.CloseMaps(made) })
	if t.prepare != nil {
		if err := t.prepare(made); err != nil {
			return nil, nil, fmt.Errorf("fill maps: %w", err)
		}
		t.prepare = nil
	}
	prog, m := loader.Load(t.ctx, loader.Request{Spec: p.Spec, Maps: made, Types: types})
	switch {
	case prog != nil:
		t.later(func() { prog.Close() })
		return prog, made, nil
	case m.Inconclusive != "":
		return nil, nil, &unclearError{"load: " + m.Inconclusive}
	case m.Errno == unix.EINVAL && m.Cause == "": // the verifier gives its reasons, who does not know a thing has none
		return nil, nil, &lackError{"load: " + errnoText(m.Errno)}
	case lacks(&m) || m.Phase == loader.PhaseRelocate:
		return nil, nil, &lackError{"load: " + cmp.Or(m.Cause, string(m.Reason))}
	}
	return nil, nil, &refusalError{fmt.Sprintf("load: %s (%s)", cmp.Or(m.Cause, string(m.Reason)), errnoText(m.Errno))}
}
