package serve

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

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

// stuck is a client that takes nothing of its answer.
type stuck struct {
	discard
	at   chan struct{}
	free chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	s.at <- struct{}{}
	<-s.free
	return len(b), nil
}

// Clients who are slow to take a snapshot hold so many of them in memory and no more.
func TestSlowTakersAreBounded(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	slow := stuck{discard{http.Header{}}, make(chan struct{}, maxWhole), make(chan struct{})}
	var wg sync.WaitGroup
	for range maxWhole {
		wg.Go(func() {
			s.Handler().ServeHTTP(stuck{discard{http.Header{}}, slow.at, slow.free}, httptest.NewRequest(http.MethodGet, "/api/v1/snapshots/boot-2", nil))
		})
	}
	for range maxWhole {
		<-slow.at
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/diff?from=boot-2&to=boot-2", nil).WithContext(ctx))
	wantCode(t, w, 503, "too many")
	if w.Header().Get("Retry-After") == "" {
		t.Error("it is not told when to ask again")
	}
	wantCode(t, get(s, "/metrics"), 200)
	s.Refresh() // and results are read meanwhile
	close(slow.free)
	wg.Wait()
	wantCode(t, get(s, "/api/v1/snapshots/boot-2"), 200)
}

// What fails while a snapshot is read gives the right to read back.
func TestPanicGivesTheRightBack(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	judge := s.o.Judge
	s.o.Judge = func(_, _ *snapshot.Snapshot) *report.Report { panic("a fault of a rule") }
	func() {
		defer func() { _ = recover() }() // as net/http does
		get(s, "/api/v1/diff?from=boot-2&to=boot-2")
		t.Error("it did not fail")
	}()
	s.o.Judge = judge
	wantCode(t, get(s, "/api/v1/diff?from=boot-2&to=boot-2"), 200)
}

// 50,000 subjects are served within the bounds of a metric, and no byte of what is held grows
// with them.
func TestManySubjects(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 45_000, 5_000), snapshot.Good, false)
	s := testServer(t, dir)
	w := get(s, "/metrics", "Accept-Encoding", "gzip")
	if n := w.Body.Len(); w.Code != 200 || n > 200_000 {
		t.Errorf("status %d, %d bytes", w.Code, n)
	}
	body := get(s, "/metrics").Body.String()
	for _, line := range []string{"lastgood_serve_faults 0", `lastgood_metrics_series_dropped{metric="lastgood_bpf_probe_insns_processed"} 43000`, `lastgood_subjects{kind="bpf.probe",outcome="measured"} 45000`} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is not there", line)
		}
	}
	if w := get(s, "/api/v1/snapshots/boot-2"); w.Code != 200 || strings.Count(w.Body.String(), `"kind"`) != 50_001 {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}

// A snapshot that there is no memory for is told so; what was made of it elsewhere is served.
func TestTooLargeASnapshot(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 1, 1), snapshot.Good, true)
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Regressed, false)
	if err := os.Truncate(filepath.Join(dir, "boots/boot-2.json"), maxSnapshot+1); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, dir)
	wantCode(t, get(s, "/metrics"), 200, `lastgood_verdict{verdict="regressed"} 1`, "lastgood_serve_faults 1\n", "lastgood_serve_stale 0\n")
	wantCode(t, get(s, "/api/v1/snapshots/boot-2"), 500, "larger than is read here", "lastgood show")
	wantCode(t, get(s, "/api/v1/diff?from=last-good&to=boot-2"), 500, "larger than is read here")
	wantCode(t, get(s, "/api/v1/snapshots/last-good"), 200, `"boot-1"`)
}
