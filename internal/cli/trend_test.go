package cli

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func trendSnapshot(boot, release string, insns int) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Schema: snapshot.Schema, Tool: "test", Taken: time.Unix(1_700_000_000, 0), Phase: "check"}
	s.Identity.BootID, s.Identity.Kernel.Release, s.Identity.MachineID = boot, release, "m"
	p := snapshot.Subject{Kind: "bpf.loaded", ID: "sched_cls/cil_from_container", Label: "cil_from_container", Outcome: snapshot.Measured}
	p.Set("insns_processed", snapshot.Int(insns))
	p.Set("insns_limit", snapshot.Int(1_000_000))
	s.Subjects = []snapshot.Subject{p}
	return s
}

// TestTrendOfTheHistory: what is kept of earlier kernels is looked at, and told where the
// kernel is not the one that was accepted.
func TestTrendOfTheHistory(t *testing.T) {
	store, err := baseline.Open(filepath.Join(t.TempDir(), "state"), baseline.Options{BootID: "boot4"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	history := map[string]*snapshot.Snapshot{}
	for i, b := range []struct {
		release string
		insns   int
	}{{"5.15", 390_000}, {"6.1", 400_000}, {"6.6", 720_000}} {
		boot := fmt.Sprintf("boot%d", i+1)
		history[b.release] = trendSnapshot(boot, b.release, b.insns)
		if _, err := store.Save(history[b.release], nil); err != nil {
			t.Fatal(err)
		}
	}
	now := trendSnapshot("boot4", "6.12", 870_000)
	off, critical := snapshot.Off, snapshot.Critical
	for _, test := range []struct {
		name    string
		policy  compare.Policy
		base    *snapshot.Snapshot
		now     *snapshot.Snapshot
		want    int
		verdict snapshot.Verdict
	}{
		{"a new kernel", compare.Policy{}, history["6.6"], now, 1, snapshot.Good},
		{"warnings fail", compare.Policy{FailOn: snapshot.Warning}, history["6.6"], now, 1, snapshot.Regressed},
		{"made critical", compare.Policy{Rules: map[string]compare.Override{compare.TrendCode: {Severity: &critical}}}, history["6.6"], now, 1, snapshot.Regressed},
		{"turned off", compare.Policy{Rules: map[string]compare.Override{compare.TrendCode: {Severity: &off}}}, history["6.6"], now, 0, snapshot.Good},
		{"ignored", compare.Policy{Ignore: []string{"bpf.loaded/sched_cls/*"}}, history["6.6"], now, 0, snapshot.Good},
		{"the kernel is the accepted one", compare.Policy{}, trendSnapshot("boot4", "6.12", 870_000), now, 0, snapshot.Good},
		{"it stays as it is", compare.Policy{}, history["6.6"], trendSnapshot("boot4", "6.12", 720_000), 0, snapshot.Good},
	} {
		c := &check{store: store, policy: test.policy}
		rep := &report.Report{Verdict: snapshot.Good}
		c.trend(rep, test.base, test.now)
		if len(rep.Findings) != test.want || rep.Verdict != test.verdict || len(c.notes) > 0 {
			t.Errorf("%s: %s, %+v, notes %v; want %d findings and %s", test.name, rep.Verdict, rep.Findings, c.notes, test.want, test.verdict)
		}
		for _, f := range rep.Findings {
			if want := "cil_from_container: half of the headroom or more went at each of the last 2 kernels: 6.1 60 %, 6.6 28 %, 6.12 13 %"; f.Message != want {
				t.Errorf("%s: %q, want %q", test.name, f.Message, want)
			}
		}
	}
}
