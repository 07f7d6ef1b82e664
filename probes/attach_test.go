package probes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"lastgood/internal/netlab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// holdCommand has the test binary attach something and wait to be killed.
const holdCommand = "__hold"

// The test binary is its own helper, and what is killed.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 2 && os.Args[1] == netlab.HelperCommand:
		err = netlab.Serve(os.Args[2], os.Stdin, os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == holdCommand:
		err = hold()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}

// needLab skips where this process may neither load programs nor make namespaces.
func needLab(t *testing.T) {
	t.Helper()
	needCensus(t)
	l, err := netlab.Open()
	switch {
	case err == nil:
		l.Close()
	case strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf"), !errors.Is(err, unix.EPERM):
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

func attachAll(t *testing.T) (map[string]snapshot.Subject, time.Duration) {
	t.Helper()
	out := map[string]snapshot.Subject{}
	start := time.Now()
	for _, step := range attachSteps(source.Host{}) {
		begun := time.Now()
		subjects := step.Run(context.Background(), source.Host{})
		if len(subjects) != 1 || subjects[0].Kind != step.Kind || subjects[0].ID != step.ID {
			t.Fatalf("step %s gave %+v, want the one subject that it names", step.ID, subjects)
		}
		out[step.ID] = subjects[0]
		t.Logf("%-30s %8v %s", step.ID, time.Since(begun).Round(10*time.Microsecond), subjects[0].Outcome)
	}
	return out, time.Since(start)
}

// TestAttachOnThisKernel tries everything twice: equal answers, nothing wrong, and
// nothing left behind.
func TestAttachOnThisKernel(t *testing.T) {
	needLab(t)
	attachAll(t) // whatever is opened once and for all
	before := openFiles(t)
	state := hostState(t)
	first, took := attachAll(t)
	t.Logf("all took %v", took)
	second, _ := attachAll(t)
	for _, all := range []map[string]snapshot.Subject{first, second} {
		for _, s := range all {
			delete(s.Attrs, "seconds")
		}
	}
	if d := cmp.Diff(first, second, cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("two runs differ:\n%s", d)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
	waitFor(t, state)
	for id, s := range first {
		checkAttached(t, id, &s)
	}
	// What every kernel has that is built as this one is.
	for _, id := range []string{"tc/clsact_ingress", "tc/clsact_egress", "xdp/generic", "xdp/native", "socket/filter", "trace/raw_tracepoint"} {
		if s := first[id]; s.Text("works") != "right" {
			t.Errorf("%s: %s, %s, %s", id, s.Outcome, s.Reason, s.Text("cause"))
		}
	}
}

func checkAttached(t *testing.T, id string, s *snapshot.Subject) {
	t.Helper()
	for name := range s.Attrs {
		if _, ok := attachDeclaration.Attr(name); !ok {
			t.Errorf("%s: attribute %s is not declared", id, name)
		}
	}
	switch s.Outcome {
	case snapshot.Measured:
		if s.Text("works") != "right" && s.Text("answer") == "" {
			t.Errorf("%s: attached %s, works %s: %s", id, s.Text("attached"), s.Text("works"), s.Text("cause"))
		}
		if s.Text("program") == "" {
			t.Errorf("%s does not name its program", id)
		}
	case snapshot.Unsupported:
		if s.Reason == "" || s.Text("offered") != "no" {
			t.Errorf("%s is unsupported and does not say by what: %+v", id, s)
		}
	default:
		if s.Reason == "" {
			t.Errorf("%s is %s and does not say why", id, s.Outcome)
		}
		t.Logf("%s: %s", id, s.Reason)
	}
}

// hostState is what a case could leave behind on the host: interfaces, named
// namespaces, pins, cgroups, processes and loaded programs.
func hostState(t *testing.T) map[string][]string {
	t.Helper()
	state := map[string][]string{}
	for what, pattern := range map[string]string{"interfaces": "/sys/class/net/*", "namespaces": "/run/netns/*", "pins": "/sys/fs/bpf/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		state[what] = found
	}
	for _, pattern := range []string{"/sys/fs/cgroup/lastgood-lab-*", "/sys/fs/cgroup/*/lastgood-lab-*", "/sys/fs/cgroup/*/*/lastgood-lab-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		state["cgroups"] = append(state["cgroups"], found...)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if b, err := os.ReadFile(c); err == nil && bytes.Contains(b, []byte(netlab.HelperCommand)) {
			state["helpers"] = append(state["helpers"], string(b))
		}
	}
	state["programs"] = ourPrograms(t)
	return state
}

// ourPrograms are the numbers of the programs that are loaded, as far as the kernel
// tells: their descriptors are asked for, and nothing of the programs.
func ourPrograms(t *testing.T) []string {
	t.Helper()
	var all []string
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return all
		}
		all = append(all, fmt.Sprint(next))
		id = next
	}
}

// waitFor waits until the host is as it was: the kernel ends namespaces and programs
// in its own time. Programs that others load meanwhile are none of ours to judge, so
// that only their number counts.
func waitFor(t *testing.T, want map[string][]string) {
	t.Helper()
	var d string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		got := hostState(t)
		if len(got["programs"]) <= len(want["programs"]) {
			got["programs"] = want["programs"]
		}
		if d = cmp.Diff(want, got, cmpopts.EquateEmpty()); d == "" {
			return
		}
	}
	t.Errorf("the host is not as it was (-before +after):\n%s", d)
}

// onNet runs f as a case in a lab of its own and gives its subject.
func onNet(f func(*trial) error) snapshot.Subject {
	c := attachCase{ID: "test", In: inNet, Run: f}
	return newRig([]attachCase{c}).try(context.Background(), &c)
}

// TestWrongProgramsAreFound: each check can fail. The programs do something else than
// the checks expect.
func TestWrongProgramsAreFound(t *testing.T) {
	needLab(t)
	idle := func() error { return nil }
	for name, c := range map[string]struct {
		change func(*trial, *hook)
		cause  string
	}{
		"as it should be":      {func(*trial, *hook) {}, ""},
		"nothing is dropped":   {func(_ *trial, h *hook) { h.flavour.drop = tcOK }, "the dropped one came through"},
		"everything is":        {func(_ *trial, h *hook) { h.flavour.pass = tcShot }, "passed one 1 did not come within"},
		"the wrong direction":  {func(_ *trial, h *hook) { h.out = h.to.Index }, "the redirected one came out elsewhere"},
		"nothing is rewritten": {func(_ *trial, h *hook) { h.flavour.rewrite = stackNew }, "the rewritten one came as"},
		"no checksums":         {func(_ *trial, h *hook) { h.flavour.rewrite = withoutSums }, "the rewritten one came as"},
		"nothing is attached": {func(_ *trial, h *hook) {
			h.attach = func(*ebpf.Program) (func() error, error) { return idle, nil }
		}, "packets seen by the program: 0, want 6"},
		"it is never detached": {func(tr *trial, h *hook) {
			h.attach = func(p *ebpf.Program) (func() error, error) {
				_, err := tr.clsact(p, h.to.Index, false)
				return idle, err
			}
		}, "the program still sees packets after it was detached"},
	} {
		s := onNet(func(tr *trial) error {
			p, err := tr.rig.openVeth()
			if err != nil {
				return err
			}
			h := hook{flavour: skbFlavour(0), from: p.near.A, to: p.near.B, far: p.far}
			h.attach = func(p *ebpf.Program) (func() error, error) { return tr.clsact(p, h.to.Index, false) }
			c.change(tr, &h)
			return tr.flow(h)
		})
		if c.cause == "" {
			if s.Text("works") != "right" {
				t.Errorf("%s: %+v", name, s)
			}
			continue
		}
		if s.Text("works") != "wrong" || !strings.Contains(s.Text("cause"), c.cause) {
			t.Errorf("%s: %s, works %q, cause %q, want %q in it; %s", name, s.Outcome, s.Text("works"), s.Text("cause"), c.cause, s.Reason)
		}
	}
}

// withoutSums rewrites and leaves the checksums as they were.
func withoutSums() asm.Instructions {
	all := rewriteSKB()
	const perStore = 8
	return append(stackNew(), all[len(all)-3*perStore:]...)
}

// TestWrongAnswersInTheCgroupAreFound: a program that allows what it is to deny.
func TestWrongAnswersInTheCgroupAreFound(t *testing.T) {
	needLab(t)
	zero := netlab.Act{Deed: netlab.OpenFile, Path: "/dev/zero"}
	c := attachCase{ID: "test", In: inCgroup, Run: func(tr *trial) error {
		allow := asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}
		return tr.inRoom(inRoom{
			program: counting(ebpf.CGroupDevice, ebpf.AttachCGroupDevice, nil, allow), at: ebpf.AttachCGroupDevice, control: zero, ran: 7,
			during: func(tr *trial, h *netlab.Helper) error { return denied(tr, h, zero, unix.EPERM) },
		})
	}}
	s := newRig([]attachCase{c}).try(context.Background(), &c)
	if s.Outcome == snapshot.Unsupported {
		t.Skip(s.Reason)
	}
	for _, want := range []string{"open: the program denies it", "runs of the program: 1, want 7"} {
		if s.Text("works") != "wrong" || !strings.Contains(s.Text("cause"), want) {
			t.Errorf("%s, works %q, cause %q, want %q in it; %s", s.Outcome, s.Text("works"), s.Text("cause"), want, s.Reason)
		}
	}
}

// TestWhatTheKernelSays: what is refused for want of privilege or memory says nothing
// of the kernel, and what it does not know is not refused.
func TestWhatTheKernelSays(t *testing.T) {
	for errno, want := range map[unix.Errno]snapshot.Outcome{
		unix.EPERM: snapshot.Inconclusive, unix.ENOMEM: snapshot.Inconclusive, unix.EBUSY: snapshot.Inconclusive,
		unix.EINVAL: snapshot.Unsupported, unix.EOPNOTSUPP: snapshot.Unsupported, enotsupp: snapshot.Unsupported,
		unix.EFAULT: snapshot.Measured,
	} {
		s := snapshot.Subject{Kind: attachDeclaration.Name, ID: "test", Outcome: snapshot.Measured}
		tr := &trial{s: &s}
		tr.finish(tr.attached(fmt.Errorf("make link: %w", errno)))
		if s.Outcome != want || want == snapshot.Measured && s.Text("attached") != "no" || want == snapshot.Unsupported && s.Text("offered") != "no" {
			t.Errorf("%v: %+v", errno, s)
		}
	}
}
