package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// serving runs a server on a socket of its own, and gives its address.
func serving(t *testing.T, s *Server, change func(*http.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.server(slog.New(slog.DiscardHandler))
	if change != nil {
		change(srv)
	}
	done := make(chan error, 1)
	go func() {
		done <- srv.Serve(&bounded{Listener: l, slots: make(chan struct{}, maxClients), closed: make(chan struct{})})
	}()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A client that sends its request a byte at a time is let go, and keeps nobody waiting.
func TestSlowClients(t *testing.T) {
	addr := serving(t, testServer(t, t.TempDir()), func(srv *http.Server) {
		if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
			t.Error("a client may take for ever")
		}
		srv.ReadHeaderTimeout = 50 * time.Millisecond
	})
	var slow []net.Conn
	for range 50 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	w, err := http.Get("http://" + addr + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	for _, c := range slow {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); err != nil || strings.Contains(string(b), "200 OK") {
			t.Fatalf("it was not let go: %q, %v", b, err)
		}
	}
}

func TestHugeHeaders(t *testing.T) {
	addr := serving(t, testServer(t, t.TempDir()), nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: "+strings.Repeat("a", 1<<20)+"\r\n\r\n") // the server stops reading
	}()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", r.StatusCode)
	}
}

func TestThousandScrapesAtOnce(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 50, 10), snapshot.Good, true)
	s := testServer(t, dir)
	addr := serving(t, s, nil)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	failed := make(chan error, 1000)
	for range 1000 {
		wg.Go(func() {
			w, err := client.Get("http://" + addr + "/metrics")
			if err != nil {
				failed <- err
				return
			}
			defer w.Body.Close()
			b, err := io.ReadAll(w.Body)
			if err != nil || w.StatusCode != 200 || !strings.Contains(string(b), "lastgood_result_age_seconds") {
				failed <- errors.Join(err, errors.New(w.Status))
			}
		})
	}
	for range 20 { // results come meanwhile
		s.mu.Lock()
		s.seen = ""
		s.mu.Unlock()
		s.Refresh()
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if n := s.scrapes.Load(); n != 1000 {
		t.Errorf("%d scrapes are counted", n)
	}
}

// systemd is told READY=1, the watchdog and STOPPING=1; the end is in order.
func TestRunTellsSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "2000000")
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	s := testServer(t, dir)
	go func() { done <- s.Run(ctx, []net.Listener{l}, "", slog.New(slog.DiscardHandler)) }()
	var told []string
	for len(told) < 3 {
		if err := sock.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := sock.Read(b)
		if err != nil {
			t.Fatalf("after %q: %v", told, err)
		}
		if word := string(b[:n]); len(told) == 0 || told[len(told)-1] != word {
			told = append(told, word)
		}
		if len(told) == 2 {
			w, err := http.Get("http://" + l.Addr().String() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			w.Body.Close()
			cancel()
		}
	}
	if want := "READY=1 WATCHDOG=1 STOPPING=1"; strings.Join(told, " ") != want {
		t.Errorf("told %q, want %s", told, want)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Users of the web configuration are asked for their password; a wrong file is refused.
func TestWebConfig(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "web.yml")
	// The password is "test".
	if err := os.WriteFile(config, []byte("basic_auth_users:\n  u: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckConfig(config); err != nil {
		t.Fatal(err)
	}
	if err := CheckConfig(""); err != nil {
		t.Error(err)
	}
	if err := CheckConfig(filepath.Join(dir, "absent")); err == nil {
		t.Error("a file that is not there is taken")
	}
	bad := filepath.Join(dir, "bad.yml")
	if err := os.WriteFile(bad, []byte("tls_server_config: {cert_file: /nonexistent, key_file: /nonexistent}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckConfig(bad); err == nil {
		t.Error("a certificate that is not there is taken")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- testServer(t, dir).Run(ctx, []net.Listener{l}, config, slog.New(slog.DiscardHandler))
	}()
	w, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	if w.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d without a password", w.StatusCode)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
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
