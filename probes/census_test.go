package probes

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/loader"
)

var updateCensus = flag.Bool("update-census", false, "write the list of the census' subjects anew")

// needCensus skips on a host that loads no programs at all.
func needCensus(tb testing.TB) {
	tb.Helper()
	errno, log := loader.NewTrier().Prog(loader.TryProg{Type: ebpf.SocketFilter, Insns: mustEncode(asm.Mov.Imm(asm.R0, 0), asm.Return())})
	switch {
	case errno == 0:
	case strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf"):
		tb.Fatalf("this host loads no BPF programs: %v %s", errno, log)
	default:
		tb.Skipf("this host loads no BPF programs: %v %s", errno, log)
	}
}

func takeCensus(tb testing.TB) map[string]snapshot.Subject {
	tb.Helper()
	h := source.Host{Root: sysfs.Live(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	out := map[string]snapshot.Subject{}
	for _, step := range census.Steps(h) {
		subjects := step.Run(context.Background(), h)
		if len(subjects) != 1 || subjects[0].Kind != step.Kind || subjects[0].ID != step.ID || step.ID != step.Name {
			tb.Fatalf("step %s gave %+v, want the one subject that it names", step.Name, subjects)
		}
		if _, twice := out[step.ID]; twice {
			tb.Fatalf("%s is asked for twice", step.ID)
		}
		out[step.ID] = subjects[0]
	}
	return out
}

func TestCensusDeclaration(t *testing.T) {
	if _, err := snapshot.NewKinds(census.Kinds...); err != nil {
		t.Error(err)
	}
	if len(helperNames) != 211 || helperNames[180] != "bpf_loop" || helperNames[186] != "bpf_set_retval" {
		t.Errorf("the table of helpers is out of order: %d names, 181 is %s", len(helperNames), helperNames[180])
	}
	for i, name := range helperNames {
		// The library's own table, in its own spelling.
		want := "Fn" + strings.ReplaceAll(strings.TrimPrefix(name, "bpf_"), "_", "")
		if got := asm.BuiltinFunc(i + 1).String(); !strings.EqualFold(got, want) {
			t.Errorf("helper %d is %s, the library says %s", i+1, name, got)
		}
	}
}

// TestCensusSubjects keeps the ids as they are: they are what baselines are
// compared by.
func TestCensusSubjects(t *testing.T) {
	var ids []string
	for _, s := range census.Steps(source.Host{}) {
		if s.Group != censusGroup || s.Cost <= 0 || s.Risky {
			t.Errorf("step %s: group %q, cost %v, risky %v", s.Name, s.Group, s.Cost, s.Risky)
		}
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	got := strings.Join(ids, "\n") + "\n"
	golden := filepath.Join("testdata", "census_ids.golden")
	if *updateCensus {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("ids changed (-golden +now):\n%s", d)
	}
}

// TestCensusOfThisKernel takes it twice: equal answers, well formed, small, and
// nothing left open.
func TestCensusOfThisKernel(t *testing.T) {
	needCensus(t)
	takeCensus(t) // whatever is opened once and for all
	before := openFiles(t)
	first, second := takeCensus(t), takeCensus(t)
	if d := cmp.Diff(first, second, cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("two runs differ:\n%s", d)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
	b, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 300<<10 {
		t.Errorf("the census takes %d bytes of a snapshot, want at most 300 KiB", len(b))
	}
	for id, s := range first {
		checkFeature(t, id, s)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func checkFeature(t *testing.T, id string, s snapshot.Subject) {
	t.Helper()
	available := s.Text(featAvailable)
	switch {
	case s.Outcome == snapshot.Measured && available != "yes" && available != "no":
		t.Errorf("%s is measured and its answer is %q", id, available)
	case s.Outcome == snapshot.Inconclusive && (available != "" || s.Reason == ""):
		t.Errorf("%s could not be told and has answer %q, reason %q", id, available, s.Reason)
	}
	if e := s.Text(featEvidence); e == "" || len(e) > 4<<10 {
		t.Errorf("%s has %d bytes of evidence", id, len(e))
	}
	open, hasOpen := s.Attrs[featNotRefused].Items()
	vague, hasVague := s.Attrs[featUnclear].Items()
	if hasOpen != hasVague {
		t.Errorf("%s has one list of helpers and not the other", id)
	}
	for _, h := range vague {
		if !slices.Contains(open, h) || s.Errs[h] == "" {
			t.Errorf("%s: %s is unclear, and refused or without the kernel's line", id, h)
		}
	}
	if hasOpen && len(open) < 10 {
		t.Errorf("%s may call %v, which is too few to be true", id, open)
	}
}

// TestTally is the outage of 7.2.0: a helper that was there becomes one that
// feature probes cannot read, which is neither lost nor gained.
func TestTally(t *testing.T) {
	ask := func(log string, errno unix.Errno) snapshot.Subject {
		var said tally
		said.add("bpf_redirect", answerHelper(unix.EACCES, "R2 !read_ok\n", 23))
		said.add("bpf_bind", answerHelper(unix.EINVAL, "program of this type cannot use helper bpf_bind#64\n", 64))
		said.add("bpf_set_retval", answerHelper(errno, log, 187))
		s := answered("prog/cgroup_sock", "program type cgroup_sock", told{yes, "accepted"})
		said.fill(&s, "")
		return s
	}
	was, is := ask("R1 !read_ok\n", unix.EACCES), ask("R1 is not a scalar\n", unix.EINVAL)
	if !was.Attrs[featNotRefused].Equal(is.Attrs[featNotRefused]) || !is.Attrs[featNotRefused].Equal(snapshot.List("bpf_redirect", "bpf_set_retval")) {
		t.Errorf("not refused: %v, then %v", was.Attrs[featNotRefused], is.Attrs[featNotRefused])
	}
	if !was.Attrs[featUnclear].Equal(snapshot.List()) || !is.Attrs[featUnclear].Equal(snapshot.List("bpf_set_retval")) {
		t.Errorf("unclear: %v, then %v", was.Attrs[featUnclear], is.Attrs[featUnclear])
	}
	if is.Errs["bpf_set_retval"] != "R1 is not a scalar" || !strings.Contains(is.Text(featEvidence), "bpf_set_retval: R1 is not a scalar") {
		t.Errorf("the kernel's line is lost: errs %v, evidence %q", is.Errs, is.Text(featEvidence))
	}
	refused := ask("program of this type cannot use helper bpf_set_retval#187\n", unix.EINVAL)
	if !refused.Attrs[featNotRefused].Equal(snapshot.List("bpf_redirect")) || !refused.Attrs[featUnclear].Equal(snapshot.List()) {
		t.Errorf("refused: %v, unclear %v", refused.Attrs[featNotRefused], refused.Attrs[featUnclear])
	}
	if want := "2× program of this type cannot use helper NAME#ID"; !strings.HasPrefix(refused.Text(featEvidence), want) {
		t.Errorf("evidence %q, want it to begin with %q", refused.Text(featEvidence), want)
	}
}

// TestLockdownIsEvidence: the verifier does not say that it was lockdown, so the
// evidence must.
func TestLockdownIsEvidence(t *testing.T) {
	for text, want := range map[string]string{
		"[none] integrity confidentiality": "",
		"none integrity [confidentiality]": "kernel lockdown: confidentiality\n",
		"none [integrity] confidentiality": "kernel lockdown: integrity\n",
		"":                                 "",
	} {
		c := newCensor(defaultBTF)
		root := sysfs.New(oneFile(text))
		c.readLockdown(context.Background(), source.Host{Root: root})
		if got := c.lockdown(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// oneFile is a tree in which every file holds the same text.
type oneFile string

func (f oneFile) ReadFile(string, int) ([]byte, error) { return []byte(f), nil }
func (f oneFile) ReadDir(string) ([]string, error)     { return nil, os.ErrNotExist }
func (f oneFile) Readlink(string) (string, error)      { return "", os.ErrNotExist }
func (f oneFile) Exists(string) (bool, error)          { return true, nil }
