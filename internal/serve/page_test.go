package serve

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lastgood/internal/compare"
	"lastgood/internal/page"
	"lastgood/internal/page/pagetest"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// pageServer serves a folder that write fills, with the command's own kinds.
func pageServer(t testing.TB, write func(dir string) error) (*Server, string) {
	t.Helper()
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	kinds, err := pagetest.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: dir, Kinds: kinds, Version: "1", BootID: pagetest.Current, Now: func() time.Time { return pagetest.Now }, Judge: func(a, b *snapshot.Snapshot) *report.Report {
		j := compare.Judge(a, b, kinds, compare.Policy{FailOn: snapshot.Critical})
		return &report.Report{Verdict: j.Verdict, Findings: j.Findings, Baseline: &a.Identity, Current: &b.Identity}
	}})
	s.Refresh()
	return s, dir
}

// TestPages follows every link of every page as a browser would.
func TestPages(t *testing.T) {
	s, _ := pageServer(t, pagetest.Regressed)
	link := regexp.MustCompile(`(?:href|action)="(/[^"#]*)`)
	seen, todo := map[string]bool{}, []string{"/"}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		w := get(s, path, "Accept", "text/html")
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d: %.200s", path, w.Code, w.Body)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		if w.Header().Get("Content-Security-Policy") != page.Policy {
			t.Errorf("%s has the policy %q", path, w.Header().Get("Content-Security-Policy"))
		}
		if w.Body.Len() > 150_000 {
			t.Errorf("%s has %d bytes", path, w.Body.Len())
		}
		for _, m := range link.FindAllStringSubmatch(w.Body.String(), -1) {
			todo = append(todo, strings.ReplaceAll(m[1], "&amp;", "&"))
		}
	}
	for _, want := range []string{"/findings", "/programs", "/inventory", "/boots", "/temperatures", "/diff", page.StylePath} {
		if !seen[want] {
			t.Errorf("no link leads to %s", want)
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d addresses are linked", len(seen))
	}
}

func TestStyle(t *testing.T) {
	s := testServer(t, t.TempDir())
	w := get(s, page.StylePath)
	wantCode(t, w, 200, "prefers-color-scheme: dark")
	if c := w.Header().Get("Cache-Control"); !strings.Contains(c, "immutable") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("cached as %q, of type %q", c, w.Header().Get("Content-Type"))
	}
	wantCode(t, get(s, "/style-000000000000.css"), 404)
}

func TestDiffPage(t *testing.T) {
	s, _ := pageServer(t, pagetest.Regressed)
	wantCode(t, get(s, "/diff"), 200, "Compare two boots", `<option value="last-good" selected>`, `<option value="`+pagetest.Current+`" selected>`)
	w := get(s, "/diff?from=last-good&to=current")
	wantCode(t, w, 200, "6.1.0-52-amd64 (boot", "regressed", "hw.disk 6", "121,444 insns", "612,004 insns", `value="`+pagetest.Current+`" selected`)
	w = get(s, "/diff?from=last-good&to=6.1.0-56-amd64&kind=hw.disk")
	wantCode(t, w, 200, "sdb")
	if strings.Contains(w.Body.String(), "612,004") {
		t.Error("of one kind only, programs are shown too")
	}
	for path, code := range map[string]int{
		"/diff?from=nope&to=current": 404, "/diff?from=last-good": 400, "/diff?from=../../etc/passwd&to=current": 400, "/diff?from=last-good&to=current&x=1": 400,
		"/diff?from=last-good&to=current&page=0": 400, "/diff?from=6.1.0&to=current": 404, "/diff?from=last-good&to=current&page=500": 200,
	} {
		w := get(s, path)
		wantCode(t, w, code)
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s is answered with %s", path, w.Header().Get("Content-Type"))
		}
	}
	s.heavy <- struct{}{} // somebody else reads, and does not end
	r := httptest.NewRequest(http.MethodGet, "/diff?from=last-good&to=current", nil)
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	busy := httptest.NewRecorder()
	s.Handler().ServeHTTP(busy, r.WithContext(ctx))
	wantCode(t, busy, 503, "Too many ask")
	<-s.heavy
	empty := testServer(t, t.TempDir())
	wantCode(t, get(empty, "/diff"), 200, "Compare two boots")
	wantCode(t, get(empty, "/diff?from=last-good&to=current"), 404, "cannot be compared")
}

func TestNoSuchPage(t *testing.T) {
	s := testServer(t, t.TempDir())
	wantCode(t, get(s, "/absent"), 404, ErrorSchema)
	wantCode(t, get(s, "/absent", "Accept", "text/html,*/*"), 404, "<h1", "no such page")
	wantCode(t, get(s, "/programs/99"), 404)
}

// TestPageOfAnEarlierResult damages the report: the pages stay and say what they are.
func TestPageOfAnEarlierResult(t *testing.T) {
	s, dir := pageServer(t, pagetest.Regressed)
	if strings.Contains(get(s, "/").Body.String(), "class=\"notice\"") {
		t.Error("a notice over a whole result")
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Refresh()
	wantCode(t, get(s, "/"), 200, "This is an earlier result", "Worse than the last good boot", "tail_nodeport_nat_egress_ipv4")
	other := New(s.o)
	other.o.BootID = "another"
	if other.state.Store(s.state.Load()); !strings.Contains(get(other, "/").Body.String(), "The boot that runs now was not checked") {
		t.Error("the page of another boot does not say so")
	}
}

// BenchmarkRefresh is what one new result costs: all answers and all pages.
func BenchmarkRefresh(b *testing.B) {
	s, _ := pageServer(b, func(dir string) error { return pagetest.Sized(dir, 1000, 300) })
	for b.Loop() {
		s.seen = ""
		s.Refresh()
	}
	total := 0
	for _, p := range s.state.Load().site.Paths() {
		total += get(s, p).Body.Len()
	}
	b.ReportMetric(float64(total), "bytes-held")
}
