package serve

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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
			"value_celsius": snapshot.Float(40.5), "limit_celsius": snapshot.Float(90)}})
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
	wantCode(t, page, 200, "<h1>regressed</h1>", "6.1-boot-2", "&lt;script&gt;", "critical")
	if strings.Contains(page.Body.String(), "<script") || !strings.Contains(page.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("a script may run:\n%s", page.Body)
	}
	for _, path := range []string{"/api/v1/report", "/api/v1/snapshots", "/api/v1/snapshots/boot-1", "/api/v1/diff?from=boot-1&to=boot-2"} {
		if b := get(s, path).Body.Bytes(); !json.Valid(b) {
			t.Errorf("%s is no JSON", path)
		}
	}
}

// Each format is whole, as it is and packed, and parses.
func TestFormats(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 20, 5), snapshot.Good, true)
	server := httptest.NewServer(testServer(t, dir).Handler())
	defer server.Close()
	for _, accept := range []string{"", "text/plain", "*/*", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		for _, packed := range []bool{true, false} {
			r, err := http.NewRequest(http.MethodGet, server.URL+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", accept)
			if !packed {
				r.Header.Set("Accept-Encoding", "identity")
			}
			w, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(w.Body)
			w.Body.Close()
			if err != nil || w.Uncompressed != packed {
				t.Fatalf("%s packed %v: %v, was packed: %v", accept, packed, err, w.Uncompressed)
			}
			if open := strings.Contains(accept, "openmetrics"); open != strings.HasSuffix(string(b), "\n# EOF\n") || open != strings.HasPrefix(w.Header.Get("Content-Type"), "application/openmetrics-text") {
				t.Errorf("%s: type %s, ends in %q", accept, w.Header.Get("Content-Type"), b[len(b)-20:])
				continue
			}
			if strings.Contains(accept, "openmetrics") {
				continue
			}
			parser := expfmt.NewTextParser(model.LegacyValidation)
			if families, err := parser.TextToMetricFamilies(bytes.NewReader(b)); err != nil || len(families) < 20 {
				t.Errorf("%s: %d families, %v", accept, len(families), err)
			}
		}
	}
}

func TestStoredIsGzip(t *testing.T) {
	for _, n := range []int{0, 1, 65535, 65536, 200_000} {
		want := bytes.Repeat([]byte("a"), n)
		z, err := gzip.NewReader(bytes.NewReader(stored(want)))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := io.ReadAll(z); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%d bytes came back as %d: %v", n, len(have), err)
		}
	}
}

func TestDamage(t *testing.T) {
	damage := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "new"), []byte("{\"schema\": \"lastgood.report/v1\", \"verd"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		do    func(t *testing.T, dir string)
		stale bool
	}{
		"report":          {damage("report.json"), true},
		"newest snapshot": {damage("boots/boot-2.json"), true},
		"older snapshot":  {damage("boots/boot-0.json"), false},
		"last good":       {damage("last-good"), false},
		"gate":            {damage("gate.json"), false},
		"report too large": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "report.json"), 1<<30); err != nil {
				t.Fatal(err)
			}
		}, true},
		"folder vanished": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, true},
		"folder is a file": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			for _, b := range []string{"boot-0", "boot-1", "boot-2"} {
				save(t, dir, testSnapshot(b, 2, 1), snapshot.Good, b == "boot-1")
			}
			s := testServer(t, dir)
			wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_stale 0\n", "lastgood_serve_faults 0\n")
			c.do(t, dir)
			s.Refresh()
			m := get(s, "/metrics")
			wantCode(t, m, 200, `lastgood_verdict{verdict="good"} 1`, `lastgood_bpf_probe_insns_processed{id="family/case_1"} 1001`, fmt.Sprintf("lastgood_serve_stale %v\n", map[bool]int{true: 1}[c.stale]))
			if strings.Contains(m.Body.String(), "lastgood_serve_faults 0\n") {
				t.Error("no fault is told")
			}
			w := get(s, "/api/v1/report")
			wantCode(t, w, 200, `"good"`)
			if w.Header().Get("Lastgood-Faults") == "" || (w.Header().Get("Warning") != "") != c.stale {
				t.Errorf("headers %v", w.Header())
			}
			wantCode(t, get(s, "/"), 200, "Not all could be read")
			wantCode(t, get(s, "/-/ready"), 200)
			// What is whole again is served again.
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			save(t, dir, testSnapshot("boot-2", 9, 1), snapshot.Regressed, true)
			s.Refresh()
			wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_stale 0\n", "lastgood_serve_faults 0\n", `lastgood_verdict{verdict="regressed"} 1`)
		})
	}
}

// A server that starts beside damage tells it and makes nothing up.
func TestDamagedFromTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "report.json"), []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, dir)
	wantCode(t, get(s, "/-/ready"), 503)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_faults 1\n", "lastgood_result_present 0\n")
	wantCode(t, get(s, "/api/v1/report"), 404, "checksum")
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

func TestHeavyRequestsAreBounded(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	s.heavy <- struct{}{} // somebody else's
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/snapshots/boot-2", nil).WithContext(ctx))
	wantCode(t, w, 503, "too many")
	wantCode(t, get(s, "/metrics"), 200) // which is not held up
	<-s.heavy
	wantCode(t, get(s, "/api/v1/snapshots/boot-2"), 200)
}

func BenchmarkScrape(b *testing.B) {
	for _, packed := range []string{"identity", "gzip"} {
		b.Run(packed, func(b *testing.B) {
			dir := b.TempDir()
			save(b, dir, testSnapshot("boot-2", 1000, 300), snapshot.Good, true)
			h := testServer(b, dir).Handler()
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept-Encoding", packed)
			b.ReportAllocs()
			for b.Loop() {
				w := discard{http.Header{}}
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkRead is what a new result costs.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	save(b, dir, testSnapshot("boot-2", 1000, 300), snapshot.Good, true)
	s := testServer(b, dir)
	for b.Loop() {
		s.seen = ""
		s.Refresh()
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
