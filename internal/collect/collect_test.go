package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// The test binary is its own measuring process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == MeasureCommand {
		if err := Measure(context.Background(), testHost(), func(json.RawMessage) ([]source.Source, error) { return testSources(), nil }, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testChild() (string, []string, error) {
	return "/proc/self/exe", []string{"test", MeasureCommand}, nil
}

func testHost() source.Host {
	return source.Host{Root: sysfs.Live(), Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

var thingKind = snapshot.Kind{Name: "thing", Doc: "a thing", Required: true, Attrs: []snapshot.Attr{{Name: "pid", Doc: "d"}, {Name: "nice", Doc: "d"}}}

func thing(group, name string, cost time.Duration, run func()) source.Step {
	id := group + "/" + name
	return source.Step{Group: group, Name: name, Kind: "thing", ID: id, Cost: cost, Risky: name == "risky",
		Run: func(context.Context, source.Host) []snapshot.Subject {
			run()
			s := snapshot.Subject{Kind: "thing", ID: id, Outcome: snapshot.Measured}
			s.Set("pid", snapshot.Int(os.Getpid()))
			nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
			if err == nil {
				s.Set("nice", snapshot.Int(20-nice)) // the raw call answers 20 - nice
			}
			return []snapshot.Subject{s}
		}}
}

// testSources has a group that is well, one that kills its process and one that never ends.
func testSources() []source.Source {
	return []source.Source{{Name: "things", Doc: "things", Kinds: []snapshot.Kind{thingKind},
		Steps: func(source.Host) []source.Step {
			return []source.Step{
				thing("calm", "a", time.Millisecond, func() {}),
				thing("calm", "b", time.Millisecond, func() {}),
				thing("crash", "before", time.Millisecond, func() {}),
				thing("crash", "boom", time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGSEGV); select {} }),
				thing("crash", "after", time.Millisecond, func() {}),
				thing("last", "risky", time.Millisecond, func() {}),
				thing("stuck", "forever", 5*time.Second, func() { time.Sleep(time.Hour) }),
			}
		}}}
}

// only keeps the steps of some groups; the child knows all of them.
func only(groups ...string) []source.Source {
	srcs := testSources()
	all := srcs[0].Steps
	srcs[0].Steps = func(h source.Host) []source.Step {
		return slices.DeleteFunc(all(h), func(s source.Step) bool { return !slices.Contains(groups, s.Group) })
	}
	return srcs
}

// noteGuard keeps what it was told, in order.
type noteGuard struct {
	mu      sync.Mutex
	notes   []string
	blocked map[string]string
	fail    error
}

func (g *noteGuard) Begin(group string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, "begin "+group)
	return g.fail
}

func (g *noteGuard) End(group string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, "end "+group)
	return nil
}

func (g *noteGuard) Blocked() map[string]string { return g.blocked }
func (g *noteGuard) Close() error               { return nil }

func (g *noteGuard) open(string, string) (Guard, error) { return g, nil }

func run(t *testing.T, o Options) *snapshot.Snapshot {
	t.Helper()
	o.Host, o.Tool, o.Child = testHost(), "test", testChild
	if o.Budget == 0 {
		o.Budget = 20 * time.Second
	}
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func outcomes(s *snapshot.Snapshot, kind string) map[string]snapshot.Outcome {
	out := map[string]snapshot.Outcome{}
	for _, sub := range s.Subjects {
		if sub.Kind == kind {
			out[sub.ID] = sub.Outcome
		}
	}
	return out
}

// needBPF skips where the measuring process is refused by the kernel, as for a user.
func needBPF(t *testing.T) {
	t.Helper()
	why := refused(t.Context(), sysfs.Live())
	if why == "" {
		return
	}
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestStepsRunInAChildOfLowPriority(t *testing.T) {
	needBPF(t)
	g := &noteGuard{}
	s := run(t, Options{Sources: only("calm", "last"), Guard: g.open})
	for _, id := range []string{"calm/a", "calm/b", "last/risky"} {
		sub := s.Subject(snapshot.Key{Kind: "thing", ID: id})
		if sub == nil || sub.Outcome != snapshot.Measured {
			t.Fatalf("%s: %+v", id, sub)
		}
		if pid, _ := sub.Attrs["pid"].Int(); pid == int64(os.Getpid()) {
			t.Errorf("%s ran in the parent", id)
		}
		if nice, _ := sub.Attrs["nice"].Int(); nice != niceness {
			t.Errorf("%s ran at nice %d", id, nice)
		}
	}
	hasty := run(t, Options{Sources: only("calm"), Guard: (&noteGuard{}).open, Hurry: true})
	if nice, ok := hasty.Subject(snapshot.Key{Kind: "thing", ID: "calm/a"}).Attrs["nice"].Int(); !ok || nice != 0 {
		t.Errorf("in a hurry it ran at nice %d (%v)", nice, ok)
	}
	if d := cmp.Diff([]string{"begin calm", "end calm", "begin last", "end last"}, g.notes); d != "" {
		t.Errorf("guard (-want +got):\n%s", d)
	}
	if src := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: "things"}); src.Outcome != snapshot.Measured {
		t.Errorf("source: %+v", src)
	}
}

func TestACrashCostsOneStep(t *testing.T) {
	needBPF(t)
	s := run(t, Options{Sources: only("calm", "crash", "last"), Guard: (&noteGuard{}).open})
	want := map[string]snapshot.Outcome{"calm/a": snapshot.Measured, "calm/b": snapshot.Measured, "crash/before": snapshot.Measured,
		"crash/boom": snapshot.Inconclusive, "crash/after": snapshot.Measured, "last/risky": snapshot.Measured}
	if d := cmp.Diff(want, outcomes(s, "thing")); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	if r := s.Subject(snapshot.Key{Kind: "thing", ID: "crash/boom"}).Reason; !strings.Contains(r, "SIGSEGV") {
		t.Errorf("reason %q does not name the signal", r)
	}
}

func TestTheBudgetEndsWhatHangs(t *testing.T) {
	needBPF(t)
	g := &noteGuard{}
	src := only("calm", "stuck")
	steps := src[0].Steps
	src[0].Steps = func(h source.Host) []source.Step {
		l := steps(h)
		for i := range l {
			l[i].Cost = 0 // a step that is dearer than it says
		}
		return l
	}
	start := time.Now()
	s := run(t, Options{Sources: src, Guard: g.open, Budget: 1500 * time.Millisecond})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	stuck := s.Subject(snapshot.Key{Kind: "thing", ID: "stuck/forever"})
	if stuck.Outcome != snapshot.Inconclusive || !strings.Contains(stuck.Reason, "budget") {
		t.Errorf("stuck: %+v", stuck)
	}
	if last := g.notes[len(g.notes)-1]; last != "end stuck" {
		t.Errorf("the guard was left open: %v", g.notes)
	}
}

func TestTheCostliestAreDroppedFirst(t *testing.T) {
	tasks := []task{{Step: source.Step{Name: "a", Cost: time.Second}}, {Step: source.Step{Name: "b", Cost: 3 * time.Second}}, {Step: source.Step{Name: "c", Cost: 2 * time.Second}}}
	dropCostliest(tasks, 2*time.Second)
	if tasks[0].skip != "" || tasks[1].skip == "" || tasks[2].skip == "" {
		t.Errorf("dropped %+v", tasks)
	}
}

func TestBlockedAndUnguarded(t *testing.T) {
	needBPF(t)
	s := run(t, Options{Sources: only("calm", "last"), Guard: (&noteGuard{blocked: map[string]string{"calm": "was running when boot x ended"}}).open})
	want := map[string]snapshot.Outcome{"calm/a": snapshot.Skipped, "calm/b": snapshot.Skipped, "last/risky": snapshot.Measured}
	if d := cmp.Diff(want, outcomes(s, "thing")); d != "" {
		t.Errorf("blocked (-want +got):\n%s", d)
	}
	s = run(t, Options{Sources: only("calm")})
	if src := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: "things"}); src.Outcome != snapshot.Inconclusive || len(outcomes(s, "thing")) != 0 {
		t.Errorf("without a guard: %+v", src)
	}
	s = run(t, Options{Sources: only("calm"), Guard: (&noteGuard{fail: errors.New("no space left on device")}).open})
	for id, o := range outcomes(s, "thing") {
		if o == snapshot.Measured {
			t.Errorf("%s ran although the guard could not be written", id)
		}
	}
}

func TestARecordedHostLoadsNothing(t *testing.T) {
	o := Options{Sources: only("calm"), Guard: (&noteGuard{}).open, Budget: time.Second, Host: testHost(), Child: func() (string, []string, error) {
		t.Error("a process was started")
		return "", nil, errors.New("no")
	}}
	o.Host.Root = sysfs.New(emptyFS{})
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if src := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: "things"}); src.Outcome != snapshot.Skipped {
		t.Errorf("source: %+v", src)
	}
}

type emptyFS struct{}

func (emptyFS) ReadFile(string, int) ([]byte, error) { return nil, os.ErrNotExist }
func (emptyFS) ReadDir(string) ([]string, error)     { return nil, os.ErrNotExist }
func (emptyFS) Readlink(string) (string, error)      { return "", os.ErrNotExist }
func (emptyFS) Exists(string) (bool, error)          { return false, nil }

func reader(name string, read func(context.Context, source.Host) ([]snapshot.Subject, error)) source.Source {
	return source.Source{Name: name, Doc: name, Kinds: []snapshot.Kind{{Name: name, Doc: name}}, Read: read}
}

func TestReadersFailAlone(t *testing.T) {
	one := []snapshot.Subject{{Kind: "ok", ID: "x", Outcome: snapshot.Measured}}
	s := run(t, Options{Budget: 700 * time.Millisecond, Sources: []source.Source{
		reader("ok", func(context.Context, source.Host) ([]snapshot.Subject, error) { return one, nil }),
		reader("fails", func(context.Context, source.Host) ([]snapshot.Subject, error) {
			return []snapshot.Subject{{Kind: "fails", ID: "half", Outcome: snapshot.Measured}}, errors.New("list /sys/x: input/output error")
		}),
		reader("panics", func(context.Context, source.Host) ([]snapshot.Subject, error) { panic("nil map") }),
		reader("hangs", func(context.Context, source.Host) ([]snapshot.Subject, error) { select {} }),
	}})
	want := map[string]snapshot.Outcome{"ok": snapshot.Measured, "fails": snapshot.Inconclusive, "panics": snapshot.Inconclusive, "hangs": snapshot.Inconclusive}
	if d := cmp.Diff(want, outcomes(s, snapshot.SourceKind)); d != "" {
		t.Errorf("sources (-want +got):\n%s", d)
	}
	if len(outcomes(s, "ok")) != 1 || len(outcomes(s, "fails")) != 1 {
		t.Error("what was read is lost")
	}
}

func TestTwoDevicesOfOneIdentityStayOne(t *testing.T) {
	twin := func(label string) snapshot.Subject {
		return snapshot.Subject{Kind: "ok", ID: "x", Label: label, Outcome: snapshot.Measured}
	}
	s := run(t, Options{Sources: []source.Source{reader("ok", func(context.Context, source.Host) ([]snapshot.Subject, error) {
		return []snapshot.Subject{twin("sda"), twin("sdb")}, nil
	})}})
	if sub := s.Subject(snapshot.Key{Kind: "ok", ID: "x"}); sub.Label != "sda" || !strings.Contains(sub.Errs["id"], "sdb") {
		t.Errorf("kept %+v", sub)
	}
}

func TestInterruptedGivesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Run(ctx, Options{Host: testHost(), Budget: time.Second}); err == nil {
		t.Errorf("got a snapshot of an interrupted collection: %+v", s)
	}
}

func TestOrderOfGroups(t *testing.T) {
	var tasks []task
	for g := range 5 {
		for c := range 3 {
			tasks = append(tasks, task{Step: source.Step{Group: fmt.Sprint(g), Name: fmt.Sprint(c), Cost: time.Duration(g+1) * time.Millisecond}})
		}
	}
	tasks[0].skip = "not now"
	for children, want := range map[int]string{1: "00 111 222 333 444", 2: "444 333 222 111 00"} {
		got := ""
		for i, tk := range inOrder(tasks, children) {
			if i > 0 && !strings.HasSuffix(got, tk.Group) {
				got += " "
			}
			got += tk.Group
		}
		if got != want {
			t.Errorf("%d children: %s, want %s", children, got, want)
		}
	}
}

func TestGroupsAreTakenOnce(t *testing.T) {
	r := &stepRun{taken: map[string]int{}}
	tasks := []*task{{Step: source.Step{Group: "a"}}, {Step: source.Step{Group: "b"}}}
	if !r.claim("a", 0) || r.claim("a", 1) || !r.claim("a", 0) {
		t.Error("a group is of the worker that asked first, and stays its own")
	}
	if !r.anyLeft(1, tasks) || !r.claim("b", 1) {
		t.Error("b is free")
	}
	if !r.anyLeft(0, tasks[:1]) || r.anyLeft(0, tasks[1:]) {
		t.Error("what is left for a worker is what is free and what it has")
	}
}
