package serve

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

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
