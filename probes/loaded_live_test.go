package probes

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/compare"
	"lastgood/internal/netlab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func liveHost() source.Host {
	return source.Host{Root: sysfs.Live(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// keepProgram loads a program that returns a number; it ends with the test.
func keepProgram(t *testing.T, spec ebpf.ProgramSpec, returns int32) *ebpf.Program {
	t.Helper()
	spec.License, spec.Instructions = "GPL", asm.Instructions{asm.Mov.Imm(asm.R0, returns), asm.Return()}
	p, err := ebpf.NewProgram(&spec)
	if err != nil {
		t.Fatalf("%s: %+v", spec.Name, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// takeLoaded reads the source and keeps the subjects of programs whose names begin so:
// those of the tests before may take a while to go, with their namespace.
func takeLoaded(t *testing.T, prefix string) map[string]snapshot.Subject {
	t.Helper()
	subjects, err := readLoaded(t.Context(), liveHost())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]snapshot.Subject{}
	for _, s := range subjects {
		if strings.Contains(s.ID, "/"+prefix) {
			out[s.ID] = s
		}
	}
	return out
}

// attachEverywhere attaches programs by every way that can be private. It is called in
// the lab.
func attachEverywhere(t *testing.T, cg *netlab.Cgroup) (traced bool) {
	t.Helper()
	pair, err := netlab.Veth("uplink", "veth0a1b", 1)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(l link.Link, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	tcx := keepProgram(t, ebpf.ProgramSpec{Name: "tp_tcx", Type: ebpf.SchedCLS}, 0)
	keep(link.AttachTCX(link.TCXOptions{Interface: pair.A.Index, Program: tcx, Attach: ebpf.AttachTCXIngress}))
	both := keepProgram(t, ebpf.ProgramSpec{Name: "tp_both", Type: ebpf.SchedCLS}, 0)
	keep(link.AttachTCX(link.TCXOptions{Interface: pair.A.Index, Program: both, Attach: ebpf.AttachTCXEgress}))
	keep(link.AttachTCX(link.TCXOptions{Interface: pair.B.Index, Program: both, Attach: ebpf.AttachTCXEgress}))
	xdp := keepProgram(t, ebpf.ProgramSpec{Name: "tp_xdp", Type: ebpf.XDP}, 2)
	keep(link.AttachXDP(link.XDPOptions{Interface: pair.B.Index, Program: xdp, Flags: link.XDPGenericMode}))
	tc := keepProgram(t, ebpf.ProgramSpec{Name: "tp_tc", Type: ebpf.SchedCLS}, 0)
	if _, err := netlab.Clsact(pair.A.Index, tc.FD(), true); err != nil { // ends with the interface
		t.Fatal(err)
	}
	skb := keepProgram(t, ebpf.ProgramSpec{Name: "tp_skb", Type: ebpf.CGroupSKB}, 1)
	keep(link.AttachCgroup(link.CgroupOptions{Path: cg.Path, Attach: ebpf.AttachCGroupInetEgress, Program: skb}))
	fentry, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "tp_fentry", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: "bpf_fentry_test1",
		License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if traced = err == nil; traced {
		t.Cleanup(func() { fentry.Close() })
		keep(link.AttachTracing(link.TracingOptions{Program: fentry}))
	} else { // some hosts let nobody trace, root or not
		t.Logf("not looked at where a tracing program is attached: %v", err)
	}
	raw := keepProgram(t, ebpf.ProgramSpec{Name: "tp_raw", Type: ebpf.RawTracepoint}, 0)
	keep(link.AttachRawTracepoint(link.RawTracepointOptions{Name: "bpf_test_finish", Program: raw}))
	ns, err := netlab.NS()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	lookup := keepProgram(t, ebpf.ProgramSpec{Name: "tp_lookup", Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup}, 1)
	keep(link.AttachNetNs(ns, lookup))
	return traced
}

func targetsOf(subjects map[string]snapshot.Subject) map[string]string {
	out := map[string]string{}
	for id, s := range subjects {
		out[id] = s.Attrs["targets"].String()
	}
	return out
}

// TestLoadedTargets: each program is told with where it is attached, seen from the
// namespace that it is in and from another one.
func TestLoadedTargets(t *testing.T) {
	needLab(t)
	l, err := netlab.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	cg, err := netlab.OpenCgroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cg.Remove(); err != nil {
			t.Error(err)
		}
	})
	var inside map[string]snapshot.Subject
	ok, traced := false, false
	l.Do(func() {
		// A failed test must end its own goroutine and not the lab's.
		defer func() { recover() }()
		traced = attachEverywhere(t, cg)
		inside, ok = takeLoaded(t, "tp_"), true
	})
	if !ok {
		t.Fatal("not attached")
	}
	keepProgram(t, ebpf.ProgramSpec{Name: "tp_loose", Type: ebpf.SocketFilter}, 0)
	group := stableCgroup(strings.TrimPrefix(strings.TrimPrefix(cg.Path, "/sys/fs/cgroup"), "/unified"))
	want := map[string]string{
		"sched_cls/tp_tcx@uplink":               "uplink tcx_ingress",
		"sched_cls/tp_both@several":             "uplink tcx_egress, veth* tcx_egress",
		"xdp/tp_xdp@veth*":                      "veth* xdp",
		"sched_cls/tp_tc@uplink":                "uplink tc_egress",
		"cgroup_skb/tp_skb@" + group:            group + " cgroup_inet_egress",
		"tracing/tp_fentry@bpf_fentry_test1":    "bpf_fentry_test1 trace_fentry",
		"raw_tracepoint/tp_raw@bpf_test_finish": "bpf_test_finish raw_tracepoint",
		"sk_lookup/tp_lookup@netns":             "netns sk_lookup",
	}
	if !traced {
		delete(want, "tracing/tp_fentry@bpf_fentry_test1")
	}
	if d := cmp.Diff(want, targetsOf(inside)); d != "" {
		t.Errorf("in the namespace (-want +got):\n%s", d)
	}
	for _, old := range []string{"sched_cls/tp_tcx@uplink", "sched_cls/tp_both@several", "xdp/tp_xdp@veth*", "sched_cls/tp_tc@uplink", "sk_lookup/tp_lookup@netns"} {
		delete(want, old)
	}
	want["sched_cls/tp_tcx@other-netns"] = "other-netns tcx_ingress"
	want["sched_cls/tp_both@other-netns"] = "other-netns tcx_egress"
	want["xdp/tp_xdp@other-netns"] = "other-netns xdp"
	want["sched_cls/tp_tc"] = "-" // the kernel lists filters by namespace alone
	want["sk_lookup/tp_lookup@other-netns"] = "other-netns sk_lookup"
	want["socket_filter/tp_loose"] = "-"
	if d := cmp.Diff(want, targetsOf(takeLoaded(t, "tp_"))); d != "" {
		t.Errorf("from another namespace (-want +got):\n%s", d)
	}
}

// TestLoadedFigures: the subject's figures are those that the kernel's own tool shows.
func TestLoadedFigures(t *testing.T) {
	needCensus(t)
	tool, err := exec.LookPath("bpftool")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("bpftool is not there to compare with")
		}
		t.Skip("bpftool is not there to compare with")
	}
	keepProgram(t, ebpf.ProgramSpec{Name: "tf_figures", Type: ebpf.SocketFilter}, 0)
	stats, err := ebpf.EnableStats(0) // BPF_STATS_RUN_TIME
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	ran := keepProgram(t, ebpf.ProgramSpec{Name: "tf_ran", Type: ebpf.SchedCLS}, 0)
	if _, err := ran.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: 1000}); err != nil {
		t.Fatal(err)
	}
	got := takeLoaded(t, "tf_")
	out, err := exec.Command(tool, "-j", "prog", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Xlated  int64  `json:"bytes_xlated"`
		Jited   int64  `json:"bytes_jited"`
		Memlock int64  `json:"bytes_memlock"`
		Runs    int64  `json:"run_cnt"`
		RunNS   int64  `json:"run_time_ns"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, p := range all {
		s, ours := got[p.Type+"/"+p.Name]
		if !ours {
			continue
		}
		compared++
		for attr, want := range map[string]int64{"xlated_bytes": p.Xlated, "jited_bytes": p.Jited, "memlock_bytes": p.Memlock, "insns_processed": 2, "insns_limit": 1_000_000, "programs": 1} {
			if n, ok := s.Attrs[attr].Int(); !ok || n != want {
				t.Errorf("%s %s: %v, want %d", s.ID, attr, s.Attrs[attr], want)
			}
		}
		if p.Runs > 0 {
			want := float64(p.RunNS) / 1e9 / float64(p.Runs)
			if n, _ := s.Attrs["run_count"].Int(); n != p.Runs || s.Attrs["seconds_per_run"].String() != snapshot.Float(want).String() {
				t.Errorf("%s ran %d times for %v each, want %d for %g", s.ID, n, s.Attrs["seconds_per_run"], p.Runs, want)
			}
		}
		if owners, _ := s.Attrs["owners"].Items(); !slices.Contains(owners, "probes.test") && s.Errs["owners"] == "" {
			t.Errorf("%s is held by %v: not by this process", s.ID, owners)
		}
	}
	if compared != 2 {
		t.Errorf("%d programs were compared, want 2", compared)
	}
}

// TestLoadedTwice: two readings are equal in all that is compared.
func TestLoadedTwice(t *testing.T) {
	needCensus(t)
	keepProgram(t, ebpf.ProgramSpec{Name: "tt_twice", Type: ebpf.SocketFilter}, 0)
	kinds, err := source.Kinds(Sources())
	if err != nil {
		t.Fatal(err)
	}
	var taken [2]*snapshot.Snapshot
	for i := range taken {
		taken[i] = &snapshot.Snapshot{}
		for _, s := range takeLoaded(t, "tt_") {
			taken[i].Subjects = append(taken[i].Subjects, s)
		}
	}
	if d := compare.Diff(taken[0], taken[1], kinds); len(d) > 0 || len(taken[0].Subjects) != 1 {
		t.Errorf("%d subjects, which differ: %+v", len(taken[0].Subjects), d)
	}
}
