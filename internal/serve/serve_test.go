package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"lastgood/internal/baseline"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

const script = `<script>alert(1)</script>`

func testKinds(t testing.TB) snapshot.Kinds {
	t.Helper()
	all, err := snapshot.NewKinds(
		snapshot.Kind{Name: "bpf.probe", Doc: "a program", Attrs: []snapshot.Attr{
			{Name: "insns_processed", Unit: snapshot.Insns, Better: snapshot.LowerBetter, LimitAttr: "insns_limit", Doc: "insns"},
			{Name: "insns_limit", Unit: snapshot.Insns, Better: snapshot.HigherBetter, Doc: "limit"},
			{Name: "total_states", Unit: snapshot.States, Better: snapshot.LowerBetter, Doc: "states"},
			{Name: "verdict", Order: []string{"accepted", "rejected"}, Doc: "verdict"}}},
		snapshot.Kind{Name: "hw.sensor", Doc: "a sensor", Attrs: []snapshot.Attr{
			{Name: "value_celsius", Unit: snapshot.Celsius, Noise: snapshot.Ambient, LimitAttr: "limit_celsius", Doc: "temperature"},
			{Name: "trip_count", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "how often it was too hot"},
			{Name: "limit_celsius", Unit: snapshot.Celsius, Doc: "limit"}}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testSnapshot(boot string, programs, devices int) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Taken: time.Unix(1700000000, 0).UTC(), Phase: "boot"}
	s.Identity.BootID, s.Identity.Kernel.Release = boot, "6.1-"+boot
	s.Subjects = append(s.Subjects, snapshot.Subject{Kind: snapshot.SourceKind, ID: "all", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List("bpf.probe", "hw.sensor")}})
	for i := range programs {
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "bpf.probe", ID: fmt.Sprintf("family/case_%d", i), Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
			"insns_processed": snapshot.Int(1000 + i), "insns_limit": snapshot.Int(1_000_000), "total_states": snapshot.Int(i), "verdict": snapshot.Text("accepted")}})
	}
	for i := range devices {
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "hw.sensor", ID: fmt.Sprintf("chip/temp%d", i), Label: script, Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
			"value_celsius": snapshot.Float(40.5), "limit_celsius": snapshot.Float(90), "trip_count": snapshot.Int(i)}})
	}
	return s
}

// save keeps a boot as a check does.
func save(t testing.TB, dir string, snap *snapshot.Snapshot, verdict snapshot.Verdict, accept bool) {
	t.Helper()
	store, err := baseline.Open(dir, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	id, err := store.Save(snap, &baseline.Result{Verdict: verdict, Summary: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if accept {
		if _, err := store.Accept(id, "root"); err != nil {
			t.Fatal(err)
		}
	}
	rep := &report.Report{Verdict: verdict, Summary: "is " + script, Taken: snap.Taken, Current: &snap.Identity, Findings: []snapshot.Finding{
		{Code: "x", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Message: "old → new " + script, Hint: script}}}
	var b bytes.Buffer
	if err := report.JSON(&b, rep, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveReport(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func testServer(t testing.TB, dir string) *Server {
	t.Helper()
	s := New(Options{
		Dir: dir, Kinds: testKinds(t), Version: "1", BootID: "boot-2", Hosts: []string{"node1"},
		Now: func() time.Time { return time.Unix(1700000060, 0) },
		Judge: func(a, b *snapshot.Snapshot) *report.Report {
			return &report.Report{Verdict: snapshot.Good, Baseline: &a.Identity, Current: &b.Identity}
		},
	})
	s.Refresh()
	return s
}

func get(s *Server, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func wantCode(t *testing.T, w *httptest.ResponseRecorder, code int, holds ...string) {
	t.Helper()
	if w.Code != code {
		t.Errorf("status %d, want %d: %.300s", w.Code, code, w.Body)
	}
	for _, h := range holds {
		if !strings.Contains(w.Body.String(), h) {
			t.Errorf("%q is not in %.2000s", h, w.Body)
		}
	}
}

func TestEmptyFolder(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		s := testServer(t, dir)
		wantCode(t, get(s, "/metrics"), 200, "lastgood_result_present 0\n", "lastgood_serve_faults 0\n")
		wantCode(t, get(s, "/-/healthy"), 200)
		wantCode(t, get(s, "/-/ready"), 503, "no result yet")
		wantCode(t, get(s, "/api/v1/report"), 404, ErrorSchema)
		wantCode(t, get(s, "/api/v1/snapshots"), 200, `"snapshots": []`)
		wantCode(t, get(s, "/api/v1/snapshots/last-good"), 404)
		wantCode(t, get(s, "/api/v1/diff?from=last-good&to=current"), 404)
		wantCode(t, get(s, "/"), 200, "no result yet")
		if strings.Contains(get(s, "/metrics").Body.String(), "lastgood_verdict") {
			t.Error("a verdict of nothing")
		}
		// The first result is picked up.
		save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Learned, true)
		s.Refresh()
		wantCode(t, get(s, "/-/ready"), 200)
		wantCode(t, get(s, "/metrics"), 200, `lastgood_verdict{verdict="learned"} 1`)
	}
}

func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 2, 1), snapshot.Learned, true)
	save(t, dir, testSnapshot("boot-2", 3, 1), snapshot.Regressed, false)
	s := testServer(t, dir)
	m := get(s, "/metrics")
	wantCode(t, m, 200, `lastgood_verdict{verdict="regressed"} 1`, "lastgood_result_age_seconds 60\n", "lastgood_result_of_this_boot 1\n",
		`lastgood_bpf_probe_baseline_insns_processed{id="family/case_1"} 1001`, `lastgood_drift_subjects{kind="bpf.probe",change="new"} 1`,
		`lastgood_hw_sensor_value_celsius_headroom_ratio{id="chip/temp0"} 0.55`)
	problems, err := promlint.New(m.Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	wantCode(t, get(s, "/api/v1/report"), 200, report.Schema, `"regressed"`)
	wantCode(t, get(s, "/api/v1/snapshots"), 200, SnapshotsSchema, `"boot-1"`, `"last_good": true`)
	wantCode(t, get(s, "/api/v1/snapshots/boot-1"), 200, snapshot.Schema)
	wantCode(t, get(s, "/api/v1/snapshots/current"), 200, `"boot-2"`)
	wantCode(t, get(s, "/api/v1/snapshots/6.1-boot-1"), 200, `"boot-1"`)
	wantCode(t, get(s, "/api/v1/diff?from=last-good&to=current"), 200, report.Schema)
	page := get(s, "/")
	wantCode(t, page, 200, "Worse than the last good boot", ">regressed</p>", "6.1-boot-2", "&lt;script&gt;", "critical")
	if strings.Contains(page.Body.String(), "<script") || !strings.Contains(page.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("a script may run:\n%s", page.Body)
	}
	for _, path := range []string{"/api/v1/report", "/api/v1/snapshots", "/api/v1/snapshots/boot-1", "/api/v1/diff?from=boot-1&to=boot-2"} {
		if b := get(s, path).Body.Bytes(); !json.Valid(b) {
			t.Errorf("%s is no JSON", path)
		}
	}
}

func TestThisBoot(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_result_of_this_boot 0\n")
	s.o.BootID, s.o.Booted = "", time.Unix(1699999999, 0)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_result_of_this_boot 1\n")
	s.o.Booted = time.Unix(1700000001, 0)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_result_of_this_boot 0\n")
	s.o.Booted = time.Time{}
	if strings.Contains(get(s, "/metrics").Body.String(), "of_this_boot") {
		t.Error("it is told though it is not known")
	}
}

func TestStaleHealth(t *testing.T) {
	s := testServer(t, t.TempDir())
	s.o.Now = func() time.Time { return time.Unix(1700000060, 0).Add(2 * staleAfter) }
	wantCode(t, get(s, "/-/healthy"), 503)
}
