package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/report"
	"lastgood/internal/serve"
	"lastgood/internal/snapshot"
)

// What is counted since boot is a counter; the rest of this would be found out by whoever takes
// a rate of it.
func TestWhatOnlyGrowsIsACounter(t *testing.T) {
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	counters := 0
	for _, k := range all {
		for _, a := range k.Attrs {
			since := a.Unit == snapshot.Count && a.Noise != snapshot.Evidence && strings.Contains(a.Doc, "since boot") && !strings.Contains(a.Doc, "not counted beyond")
			if since && !a.Cumulative {
				t.Errorf("%s %s is counted since boot: is it cumulative?", k.Name, a.Name)
			}
			if a.Cumulative {
				counters++
			}
		}
	}
	if counters < 20 {
		t.Errorf("%d counters", counters)
	}
}

// oneOfEach holds what a host with everything has, by the kinds that the readers declare.
func oneOfEach(boot string, insns int64) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Taken: time.Unix(1700000000, 0).UTC(), Phase: "boot"}
	s.Identity.BootID, s.Identity.Kernel = boot, snapshot.KernelIdentity{Release: "6.12.1", BuildID: "ab12", Arch: "x86_64"}
	add := func(kind, id string, attrs snapshot.Attrs) {
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: kind, ID: id, Outcome: snapshot.Measured, Attrs: attrs})
	}
	add(snapshot.SourceKind, "disks", snapshot.Attrs{snapshot.SourceKinds: snapshot.List("bpf.probe", "hw.disk"), snapshot.SourceTook: snapshot.Float(0.25)})
	for _, kind := range []string{"bpf.probe", "bpf.program", "bpf.loaded"} {
		add(kind, "p", snapshot.Attrs{"insns_processed": snapshot.Int(insns), "insns_limit": snapshot.Int(1_000_000), "total_states": snapshot.Int(70), "verdict": snapshot.Text("accepted")})
	}
	add("bpf.breaking_point", "merge_loop", snapshot.Attrs{"largest": snapshot.Int(900)})
	add("hw.disk", "wwid:"+boot, snapshot.Attrs{"io_errors": snapshot.Int(3)})
	add("hw.sensor", "cpu/temp1", snapshot.Attrs{"value_celsius": snapshot.Float(60), "limit_celsius": snapshot.Float(80), "crit_celsius": snapshot.Float(100), "alarms": snapshot.List("max")})
	add("hw.cpu", "cpu", snapshot.Attrs{"throttled_core": snapshot.Int(12), "throttled_package": snapshot.Int(4)})
	add("hw.sel", "sel", snapshot.Attrs{"entries": snapshot.Int(40), "critical": snapshot.List("a", "b"), "warning": snapshot.List(), "overflow": snapshot.Text("no")})
	add("hw.smart", "d", snapshot.Attrs{"media_errors": snapshot.Int(1), "power_on_hours": snapshot.Int(2), "available_spare": snapshot.Int(97), "critical_warning": snapshot.List("spare is low")})
	add("hw.edac", "mc0", snapshot.Attrs{"corrected": snapshot.Int(5), "uncorrected": snapshot.Int(0)})
	add("hw.pci", "00/1.0", snapshot.Attrs{"aer_correctable": snapshot.Int(6)})
	add("contract.check", "web", snapshot.Attrs{"state": snapshot.Text("fail"), "severity": snapshot.Text("required"), "took_seconds": snapshot.Float(0.5)})
	add("service.unit", "ssh.service", snapshot.Attrs{"restarts": snapshot.Int(2), "state": snapshot.Text("active")})
	return s
}

// keep writes two boots and a report of the second into a state folder, as checks do.
func keep(t *testing.T, dir string) {
	t.Helper()
	store, err := baseline.Open(dir, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for boot, insns := range map[string]int64{"boot-1": 600_000, "boot-2": 900_000} {
		snap := oneOfEach(boot, insns)
		if _, err := store.Save(snap, &baseline.Result{Verdict: snapshot.Good}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Accept("boot-1", "root"); err != nil {
		t.Fatal(err)
	}
	now, was := oneOfEach("boot-2", 1), oneOfEach("boot-1", 1)
	rep := &report.Report{Verdict: snapshot.Regressed, Taken: now.Taken, Current: &now.Identity, Baseline: &was.Identity, TookSeconds: 1.5,
		Findings:   []snapshot.Finding{{Code: "headroom-low", Severity: snapshot.Warning, Class: snapshot.ClassKernel}},
		Candidates: []report.Candidate{{Kernel: "6.13.0", Verdict: snapshot.Regressed}}}
	var b bytes.Buffer
	if err := report.JSON(&b, rep, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveReport(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	held := gate.State{Schema: gate.Schema, Step: gate.Broken, Held: "boot-2"}
	if err := baseline.OpenFolder(dir, nil).Put(baseline.GateFile, held); err != nil {
		t.Fatal(err)
	}
}

// Everything that somebody would draw or be woken by has a metric, out of a state folder.
func TestWhatIsExported(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir)
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	s := serve.New(serve.Options{Dir: dir, Kinds: all, Version: "1", BootID: "boot-2", Now: func() time.Time { return time.Unix(1700000060, 0) }})
	s.Refresh()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	have := w.Body.String()
	lintMetrics(t, w.Body.Bytes())
	for what, lines := range map[string][]string{
		"verdict":          {`lastgood_verdict{verdict="regressed"} 1`},
		"findings":         {`lastgood_findings{severity="warning",class="kernel"} 1`, `lastgood_findings{severity="critical",class="hardware"} 0`},
		"kernel":           {`lastgood_kernel_info{release="6.12.1",build_id="ab12",arch="x86_64"} 1`},
		"baseline":         {`lastgood_baseline_info{release="6.12.1",build_id="ab12",arch="x86_64"} 1`},
		"built-in program": {`lastgood_bpf_probe_insns_processed{id="p"} 900000`, `lastgood_bpf_probe_total_states{id="p"} 70`, `lastgood_bpf_probe_insns_limit{id="p"} 1e+06`},
		"its baseline":     {`lastgood_bpf_probe_baseline_insns_processed{id="p"} 600000`, `lastgood_bpf_probe_baseline_total_states{id="p"} 70`},
		"its headroom":     {`lastgood_bpf_probe_insns_processed_headroom_ratio{id="p"} 0.1`},
		"object's program": {`lastgood_bpf_program_insns_processed{id="p"} 900000`, `lastgood_bpf_program_insns_processed_headroom_ratio{id="p"} 0.1`},
		"loaded program":   {`lastgood_bpf_loaded_insns_processed{id="p"} 900000`, `lastgood_bpf_loaded_insns_processed_headroom_ratio{id="p"} 0.1`},
		"breaking point":   {`lastgood_bpf_breaking_point_largest{id="merge_loop"} 900`, `lastgood_bpf_breaking_point_baseline_largest{id="merge_loop"} 900`},
		"inventory":        {`lastgood_subjects{kind="hw.disk",outcome="measured"} 1`},
		"drift":            {`lastgood_drift_subjects{kind="hw.disk",change="missing"} 1`, `lastgood_drift_subjects{kind="hw.disk",change="new"} 1`, `lastgood_drift_subjects{kind="hw.disk",change="renamed"} 0`},
		"temperature":      {`lastgood_hw_sensor_value_celsius{id="cpu/temp1"} 60`, `lastgood_hw_sensor_limit_celsius{id="cpu/temp1"} 80`, `lastgood_hw_sensor_crit_celsius{id="cpu/temp1"} 100`, `lastgood_hw_sensor_value_celsius_headroom_ratio{id="cpu/temp1"} 0.25`, `lastgood_hw_sensor_alarms_members{id="cpu/temp1"} 1`},
		"throttling":       {`lastgood_hw_cpu_throttled_core_total{id="cpu"} 12`, `lastgood_hw_cpu_throttled_package_total{id="cpu"} 4`},
		"SEL":              {`lastgood_hw_sel_entries{id="sel"} 40`, `lastgood_hw_sel_critical_members{id="sel"} 2`, `lastgood_hw_sel_warning_members{id="sel"} 0`, `lastgood_hw_sel_overflow_subjects{overflow="yes"} 0`},
		"SMART":            {`lastgood_hw_smart_media_errors_total{id="d"} 1`, `lastgood_hw_smart_power_on_seconds_total{id="d"} 7200`, `lastgood_hw_smart_available_spare_ratio{id="d"} 0.97`, `lastgood_hw_smart_critical_warning_members{id="d"} 1`},
		"memory":           {`lastgood_hw_edac_corrected_total{id="mc0"} 5`, `lastgood_hw_edac_uncorrected_total{id="mc0"} 0`},
		"PCIe":             {`lastgood_hw_pci_aer_correctable_total{id="00/1.0"} 6`},
		"contract":         {`lastgood_contract_check_state_subjects{state="fail"} 1`, `lastgood_contract_check_took_seconds{id="web"} 0.5`},
		"a check":          {`lastgood_contract_check_info{id="web",name="web",outcome="measured",state="fail",severity="required"} 1`},
		"units":            {`lastgood_service_unit_restarts_total{id="ssh.service"} 2`},
		"gate":             {`lastgood_gate_held 1`, `lastgood_gate_step_info{step="broken"} 1`},
		"preflight":        {`lastgood_preflight_verdict{kernel="6.13.0",verdict="regressed"} 1`, `lastgood_preflight_verdict{kernel="6.13.0",verdict="good"} 0`},
		"age":              {`lastgood_result_age_seconds 60`, `lastgood_check_duration_seconds 1.5`},
		"sources":          {`lastgood_tool_source_took_seconds{id="disks"} 0.25`},
		"notifications":    {`lastgood_notifications_waiting 0`},
		"bounds":           {`lastgood_metrics_series_limit 2000`, `lastgood_metrics_series_dropped 0`},
	} {
		for _, line := range lines {
			if !strings.Contains(have, line+"\n") {
				t.Errorf("%s: %s is not there", what, line)
			}
		}
	}
}
