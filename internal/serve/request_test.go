package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"lastgood/internal/baseline"
	"lastgood/internal/snapshot"
)

func TestHostileRequests(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	for path, code := range map[string]int{
		"/api/v1/snapshots/..%2f..%2f..%2fetc%2fpasswd":  400,
		"/api/v1/snapshots/%2fetc%2fpasswd":              400,
		"/api/v1/snapshots/..":                           307, // the path is made clean, to a list
		"/api/v1/snapshots/boots%2fboot-1.json":          400,
		"/api/v1/snapshots/boot-1.json":                  404,
		"/api/v1/snapshots/boot-1%00":                    400,
		"/api/v1/snapshots/" + strings.Repeat("a", 300):  400,
		"/api/v1/snapshots/%3Cscript%3E":                 400,
		"/api/v1/snapshots/-":                            404,
		"/api/v1/diff":                                   400,
		"/api/v1/diff?from=boot-1":                       400,
		"/api/v1/diff?from=boot-1&to=../../etc/passwd":   400,
		"/api/v1/diff?from=boot-1&from=boot-1&to=boot-1": 400,
		"/api/v1/diff?from=boot-1&to=boot-1&x=1":         400,
		"/api/v1/diff?from=boot-1&to=nosuch":             404,
		"/metrics?" + strings.Repeat("a", 2000):          414,
		"/nosuch":                                        404,
		"/report.json":                                   404,
		"/events.jsonl":                                  404,
	} {
		if w := get(s, path); w.Code != code || strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%.80s: status %d, want %d: %.200s", path, w.Code, code, w.Body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WHATEVER"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(method, "/metrics", nil))
		wantCode(t, w, 405)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", strings.NewReader("a body")))
	wantCode(t, w, 413)
}

func TestHostHeader(t *testing.T) {
	s := testServer(t, t.TempDir())
	local := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
	outside := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1})
	for _, c := range []struct {
		ctx  context.Context
		host string
		code int
	}{
		{local, "127.0.0.1:9878", 200}, {local, "localhost:9878", 200}, {local, "LOCALHOST.", 200}, {local, "[::1]:9878", 200}, {local, "node1", 200}, {local, "", 200},
		{local, "evil.example", 421}, {local, "127.0.0.1.evil.example", 421}, {outside, "node.example:9878", 200},
		{outside, "a b", 421}, {outside, "<script>", 421}, {outside, strings.Repeat("a", 300), 421},
	} {
		r := httptest.NewRequest(http.MethodGet, "/-/healthy", nil).WithContext(c.ctx)
		r.Host = c.host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("host %.40q: status %d, want %d", c.host, w.Code, c.code)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"boot-1", "last-good", "../x", "", "%", "a&b=c", "\x00", "6.1.0+~"} {
		f.Add(s, s, s, "gzip;q=0")
	}
	dir := f.TempDir()
	save(f, dir, testSnapshot("boot-1", 1, 1), snapshot.Good, true)
	s := testServer(f, dir)
	f.Fuzz(func(t *testing.T, id, query, host, header string) {
		for _, u := range []url.URL{{Path: "/api/v1/snapshots/" + id}, {Path: "/api/v1/diff", RawQuery: query}, {Path: "/metrics", RawQuery: query}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL, r.Host = &u, host
			r.Header.Set("Accept-Encoding", header)
			r.Header.Set("Accept", header)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s: status %d: %s", u.String(), w.Code, w.Body)
			}
		}
	})
}

// onThisMachine is a request as it comes in on the loopback.
func onThisMachine(path string) *http.Request {
	local := context.WithValue(context.Background(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
	return httptest.NewRequest(http.MethodGet, path, nil).WithContext(local)
}

// FuzzHost: on the loopback only an address and the names of this machine are answered.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost", "LOCALHOST.:9", "127.0.0.1", "[::1]:9878", "::1", "fe80::1%eth0", "node1", "node1.evil.example", "evil.example", "localhost.evil.example", "a.localhost", "127.0.0.1.evil.example", "0x7f.1", "[localhost]", "]", "", "\x00", "a b", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	s := testServer(f, f.TempDir())
	f.Fuzz(func(t *testing.T, host string) {
		r := onThisMachine("/-/healthy")
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 421 {
			t.Fatalf("%q: status %d", host, w.Code)
		}
		if w.Code == 421 {
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
		_, err := netip.ParseAddr(name)
		if err != nil && name != "" && name != "localhost" && name != "node1" && !strings.HasSuffix(name, ".localhost") {
			t.Errorf("%q is answered", host)
		}
	})
}

// FuzzID: whatever a snapshot is called by, the answer is one of few, is JSON, and leads nowhere.
func FuzzID(f *testing.F) {
	for _, s := range []string{"boot-1", "boot", "last-good", "current", "6.1-boot-1", "../boot-1", "..%2fx", "boot-1.json", "boot-1\x00", "-", ".", "", "a/b", "//evil.example", "%", "é", strings.Repeat("a", 200)} {
		f.Add(s)
	}
	dir := f.TempDir()
	save(f, dir, testSnapshot("boot-1", 1, 1), snapshot.Good, true)
	save(f, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, false)
	s := testServer(f, dir)
	f.Fuzz(func(t *testing.T, id string) {
		for _, u := range []url.URL{{Path: "/api/v1/snapshots/" + id}, {Path: "/api/v1/diff", RawQuery: url.Values{"from": {id}, "to": {"boot-1"}}.Encode()}} {
			r := onThisMachine("/")
			r.Host, r.URL = "localhost", &u
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			switch to := w.Header().Get("Location"); {
			case w.Code == 307 || w.Code == 301:
				if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") {
					t.Errorf("%q leads to %q", id, to)
				}
			case !slices.Contains([]int{200, 400, 404, 414}, w.Code):
				t.Errorf("%q: status %d: %s", id, w.Code, w.Body)
			case u.Path != "/" && !json.Valid(w.Body.Bytes()) && w.Header().Get("Content-Type") != "text/html; charset=utf-8":
				t.Errorf("%q: no JSON: %s", id, w.Body)
			case w.Code == 200 && !fit(id) && strings.HasPrefix(w.Body.String(), `{"schema": "`+snapshot.Schema):
				t.Errorf("%q names a snapshot", id)
			}
		}
	})
}

// hostile is a snapshot with markup wherever a device, a file or a log may put a text.
func hostile(boot string) *snapshot.Snapshot {
	text := snapshot.Text(script)
	s := testSnapshot(boot, 2, 2)
	s.Tool, s.Phase = script, script
	id := &s.Identity
	id.Product, id.Errs = script, map[string]string{script: script}
	id.Kernel = snapshot.KernelIdentity{Release: script, Version: script, BuildID: script, Arch: script, Cmdline: script}
	for i := range s.Subjects {
		if sub := &s.Subjects[i]; sub.Kind != snapshot.SourceKind {
			sub.ID, sub.Label, sub.Parent, sub.Reason, sub.Errs = fmt.Sprint(script, i), script, script, script, map[string]string{script: script}
			sub.Attrs[script], sub.Attrs["model"], sub.Attrs["verdict"] = text, text, text
			sub.Attrs["log_tail"], sub.Attrs["set"] = text, snapshot.List(script)
		}
	}
	s.Subjects = append(s.Subjects, snapshot.Subject{Kind: script, ID: script, Outcome: snapshot.Outcome(script), Attrs: snapshot.Attrs{script: snapshot.Int(1)}})
	return s
}

// Markup in any text is shown and never taken: not as a page, not by a browser that guesses
// what it got, and not as another line of metrics.
func TestMarkupEverywhere(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, hostile("boot-1"), snapshot.Good, true)
	save(t, dir, hostile("boot-2"), snapshot.Verdict(script), false)
	store, err := baseline.Open(dir, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Accept("boot-2", script); err != nil {
		t.Fatal(err)
	}
	store.Close()
	swapped(t, filepath.Join(dir, "gate.json"), []byte(script)) // and damage, which is told of
	s := testServer(t, dir)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/metrics": "text/plain; ", "/api/v1/report": "application/json", "/api/v1/snapshots": "application/json",
		"/api/v1/snapshots/boot-1": "application/json", "/api/v1/diff?from=boot-1&to=boot-2": "application/json", "/api/v1/snapshots/%3Cscript%3E": "application/json",
		"/%3Cscript%3Ealert(1)%3C/script%3E": "application/json", "/api/v1/diff?from=%3Cscript%3E": "application/json", "/-/ready": "text/plain",
	} {
		w := get(s, path)
		if have := w.Header().Get("Content-Type"); !strings.HasPrefix(have, kind) || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: type %q, %q", path, have, w.Header())
		}
		if strings.HasPrefix(kind, "text/html") && strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%s has markup of another's: %.500s", path, w.Body)
		}
		if kind == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no JSON: %.500s", path, w.Body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src 'unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	if problems, err := promlint.New(get(s, "/metrics").Body).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}
