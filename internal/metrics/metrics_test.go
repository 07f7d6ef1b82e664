package metrics_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"lastgood/hw"
	"lastgood/internal/metrics"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/probes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func kinds(t testing.TB) snapshot.Kinds {
	t.Helper()
	declared := []snapshot.Kind{probes.ProgramKind()}
	for _, s := range append(hw.Sources(), probes.Sources()...) {
		declared = append(declared, s.Kinds...)
	}
	all, err := snapshot.NewKinds(declared...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// recorded is what is kept of a recorded host, see testdata/hosts.
func recorded(t testing.TB, name string) *snapshot.Snapshot {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/hosts", name+".golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := &snapshot.Snapshot{Taken: time.Unix(1700000000, 0).UTC()}
	if err := json.Unmarshal(b, &s.Subjects); err != nil {
		t.Fatal(err)
	}
	s.Identity.Kernel = snapshot.KernelIdentity{Release: "6.12.1", BuildID: "ab12", Arch: "x86_64"}
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	return s
}

func program(id string, insns int64) snapshot.Subject {
	return snapshot.Subject{Kind: "bpf.probe", ID: id, Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
		"insns_processed": snapshot.Int(insns), "insns_limit": snapshot.Int(1_000_000), "verdict": snapshot.Text("accepted"),
		"verification_seconds": snapshot.Float(0.25), "log_tail": snapshot.Text("evidence\nstays out"),
	}}
}

func input(t testing.TB) metrics.Input {
	t.Helper()
	in := metrics.Input{Kinds: kinds(t), Base: recorded(t, "shiftA"), Snapshot: recorded(t, "shiftB")}
	in.Base.Subjects = append(in.Base.Subjects, program("limit/insns", 600_000))
	in.Snapshot.Subjects = append(in.Snapshot.Subjects, program("limit/insns", 900_000))
	for _, s := range []*snapshot.Snapshot{in.Base, in.Snapshot} {
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: snapshot.SourceKind, ID: "all", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(slices.Collect(maps.Keys(in.Kinds))...)}})
		if err := s.Sort(); err != nil {
			t.Fatal(err)
		}
	}
	in.Report = &report.Report{
		Verdict: snapshot.Regressed, Taken: in.Snapshot.Taken, TookSeconds: 1.5, Current: &in.Snapshot.Identity, Baseline: &in.Base.Identity,
		Accepted: time.Unix(1600000000, 0), AcceptedBy: "root", Attribution: []snapshot.Class{snapshot.ClassKernel},
		Findings:   []snapshot.Finding{{Code: "headroom-low", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Subject: snapshot.SubjectRef{Kind: "bpf.probe", ID: "limit/insns"}, Attr: "insns_processed"}},
		Incomplete: []snapshot.Gap{{Kind: "hw.disk", ID: "x", Counts: true}, {Kind: "hw.disk", ID: "y"}},
		Candidates: []report.Candidate{{Kernel: "6.13", Verdict: snapshot.Good}, {Kernel: "6.13", Verdict: snapshot.Good}},
	}
	in.Boots = []metrics.Boot{{Verdict: snapshot.Regressed}, {Verdict: snapshot.Good}, {}}
	in.Gate, in.Waiting = &metrics.Gate{Held: true, Since: time.Unix(1700000600, 0), Step: "recovered", Strikes: 1, From: "6.13", To: "6.12.1"}, 2
	return in
}

func text(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var b bytes.Buffer
	if err := metrics.WriteText(&b, families); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// lint is what promtool check metrics does.
func lint(t *testing.T, families string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(families)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestGolden(t *testing.T) {
	have := text(t, metrics.Families(input(t)))
	lint(t, have)
	const golden = "testdata/shift.prom"
	if *update {
		if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), have); d != "" {
		t.Errorf("rewrite with -update if this is meant (-want +have):\n%s", d)
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	have := text(t, metrics.Families(input(t)))
	for _, line := range []string{
		`lastgood_verdict{verdict="regressed"} 1`, `lastgood_verdict{verdict="good"} 0`,
		`lastgood_findings{severity="critical",class="kernel"} 1`, `lastgood_findings{severity="warning",class="tool"} 0`,
		`lastgood_bpf_probe_insns_processed{id="limit/insns"} 900000`,
		`lastgood_bpf_probe_baseline_insns_processed{id="limit/insns"} 600000`,
		`lastgood_bpf_probe_insns_processed_headroom_ratio{id="limit/insns"} 0.1`,
		`lastgood_bpf_probe_verification_seconds{id="limit/insns"} 0.25`,
		`lastgood_bpf_probe_verdict_level{id="limit/insns"} 0`,
		`lastgood_bpf_probe_verdict_subjects{verdict="rejected"} 0`,
		`lastgood_incomplete 2`, `lastgood_incomplete_counting 1`, `lastgood_gate_held 1`, `lastgood_notifications_waiting 2`,
		`lastgood_finding_info{code="headroom-low",severity="critical",class="kernel",kind="bpf.probe",id="limit/insns",attr="insns_processed"} 1`,
		`lastgood_gate_held_since_timestamp_seconds 1.7000006e+09`, `lastgood_gate_rollback_info{from="6.13",to="6.12.1"} 1`,
		`lastgood_boots{verdict="none"} 1`, `lastgood_metrics_series_dropped 0`,
	} {
		if !strings.Contains(have, line+"\n") {
			t.Errorf("%s is not there", line)
		}
	}
	for _, no := range []string{"stays out", "log_tail"} {
		if strings.Contains(have, no) {
			t.Errorf("%s is there", no)
		}
	}
}

// Nothing that is not known may be a number.
func TestNothingKnown(t *testing.T) {
	have := text(t, metrics.Families(metrics.Input{Waiting: -1}))
	gate := text(t, metrics.Families(metrics.Input{Waiting: -1, Gate: &metrics.Gate{Held: true}}))
	if strings.Contains(gate, "held_since") || strings.Contains(gate, "rollback") {
		t.Errorf("of a hold of unknown age, and no rollback:\n%s", gate)
	}
	if strings.Contains(have, "lastgood_verdict") || strings.Contains(have, "lastgood_gate") || strings.Contains(have, "notifications") {
		t.Errorf("of nothing:\n%s", have)
	}
}

func TestCapAndDoubles(t *testing.T) {
	in := metrics.Input{Kinds: kinds(t), Snapshot: &snapshot.Snapshot{}, Waiting: -1, Cap: 50}
	long := strings.Repeat("n", 200)
	for i := range 120 {
		in.Snapshot.Subjects = append(in.Snapshot.Subjects, program(fmt.Sprintf("a%04d", i), 1))
	}
	in.Snapshot.Subjects = append(in.Snapshot.Subjects, snapshot.Subject{Kind: "hw.disk", ID: long + "1"}, snapshot.Subject{Kind: "hw.disk", ID: long + "2"})
	if err := in.Snapshot.Sort(); err != nil {
		t.Fatal(err)
	}
	have := text(t, metrics.Families(in))
	lint(t, have)
	for _, f := range metrics.Families(in) {
		seen := map[string]bool{}
		for _, m := range f.Metric {
			if seen[m.String()] {
				t.Errorf("%s stands twice: %s", f.GetName(), m)
			}
			seen[m.String()] = true
		}
	}
	if n := strings.Count(have, "\nlastgood_bpf_probe_insns_processed{"); n != 50 {
		t.Errorf("%d series with a limit of 50", n)
	}
	for _, line := range []string{`lastgood_metrics_series_dropped{metric="lastgood_bpf_probe_insns_processed"} 70`, `lastgood_metrics_series_dropped{metric="lastgood_hw_disk_info"} 1`, "lastgood_metrics_series_limit 50"} {
		if !strings.Contains(have, line+"\n") {
			t.Errorf("%s is not there", line)
		}
	}
}

// FuzzHostileNames feeds what devices, files and other versions may call themselves.
func FuzzHostileNames(f *testing.F) {
	for _, s := range []string{"", "a\nb} 1\nevil 1", `"\`, "\xff\xfe", "\x1b[31m", "été" + strings.Repeat("é", 100), "# EOF"} {
		f.Add(s, s, "model")
	}
	all := kinds(f)
	f.Fuzz(func(t *testing.T, id, value, attr string) {
		s := &snapshot.Snapshot{Subjects: []snapshot.Subject{
			{Kind: "hw.disk", ID: id, Label: value, Outcome: snapshot.Outcome(value), Attrs: snapshot.Attrs{"model": snapshot.Text(value), attr: snapshot.Text(value)}},
			{Kind: "x" + attr, ID: id, Attrs: snapshot.Attrs{attr: snapshot.Int(1)}},
		}}
		if s.Sort() != nil {
			t.Skip()
		}
		rep := &report.Report{Findings: []snapshot.Finding{{Code: value, Severity: snapshot.Severity(id), Class: snapshot.Class(attr)}}, Candidates: []report.Candidate{{Kernel: id}}, AcceptedBy: value, Accepted: time.Unix(1, 0)}
		lint(t, text(t, metrics.Families(metrics.Input{Kinds: all, Snapshot: s, Base: s, Report: rep, Waiting: -1})))
	})
}
