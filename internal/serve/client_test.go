package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lastgood/internal/snapshot"
)

// serving runs a server on a socket of its own, and gives its address.
func serving(t *testing.T, s *Server, change func(*http.Server)) string {
	t.Helper()
	return servingFew(t, s, maxClients, change)
}

// patient keeps a server from letting clients go that a busy machine keeps waiting.
func patient(srv *http.Server) {
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout = time.Hour, time.Hour, time.Hour
}

// servingFew lets so many clients in at once.
func servingFew(t *testing.T, s *Server, clients int, change func(*http.Server)) string {
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
		done <- srv.Serve(&bounded{Listener: l, slots: make(chan struct{}, clients), closed: make(chan struct{})})
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

// dial connects and says a few words.
func dial(t *testing.T, addr, words string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, words); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Where every place is taken by clients that say nothing or too little, others wait for no
// longer than those are borne.
func TestSlowClientsGiveTheirPlaceBack(t *testing.T) {
	addr := servingFew(t, testServer(t, t.TempDir()), 3, func(srv *http.Server) { srv.ReadHeaderTimeout = 100 * time.Millisecond })
	for _, words := range []string{"", "GET /metr", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "} {
		dial(t, addr, words)
	}
	client := http.Client{Timeout: 10 * time.Second}
	w, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	if w.StatusCode != http.StatusOK {
		t.Errorf("status %d", w.StatusCode)
	}
}

// A client that asks and asks and takes no answer is let go.
func TestClientThatTakesNothing(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 500, 10), snapshot.Good, true)
	gone := make(chan struct{}, 1)
	addr := serving(t, testServer(t, dir), func(srv *http.Server) {
		srv.WriteTimeout = 100 * time.Millisecond
		srv.ConnState = func(_ net.Conn, now http.ConnState) {
			if now == http.StateClosed {
				gone <- struct{}{}
			}
		}
	})
	c := dial(t, addr, "")
	go func() {
		for range 1000 { // 100 MB of answers: no buffer of the kernel's takes these
			if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("it was not let go")
	}
}

// What is no request of this server's is refused in the terms of HTTP, and the next client is
// served.
func TestRequestsThatAreNone(t *testing.T) {
	addr := serving(t, testServer(t, t.TempDir()), nil)
	big := strings.Repeat("a", 1<<20)
	for name, c := range map[string]struct {
		words string
		code  int
	}{
		"huge header":     {"GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: " + big + "\r\n\r\n", 431},
		"many headers":    {"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X-Many: a\r\n", 1<<16) + "\r\n", 431},
		"huge path":       {"GET /" + big + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
		"long query":      {"GET /metrics?" + big[:4000] + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414},
		"no host":         {"GET / HTTP/1.1\r\n\r\n", 400},
		"two hosts":       {"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400},
		"another host":    {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
		"absolute URL":    {"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
		"garbage":         {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"NUL in a path":   {"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
		"HTTP/2 preface":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405},
		"two lengths":     {"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"chunked body":    {"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
		"a body":          {"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n", 405},
		"connect":         {"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
		"path traversal":  {"GET /api/v1/snapshots/..%2f..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
		"raw traversal":   {"GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 307},
		"other's address": {"GET //evil.example/.. HTTP/1.1\r\nHost: localhost\r\n\r\n", 307},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, addr, "")
			go func() { _, _ = io.WriteString(conn, c.words) }() // of what is huge the server does not read the end
			w, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Body.Close()
			if to := w.Header.Get("Location"); w.StatusCode != c.code || strings.HasPrefix(to, "//") || strings.Contains(to, "evil") {
				t.Errorf("status %d, want %d; to %q", w.StatusCode, c.code, to)
			}
			next, err := http.Get("http://" + addr + "/-/healthy")
			if err != nil {
				t.Fatal(err)
			}
			next.Body.Close()
			if next.StatusCode != http.StatusOK {
				t.Errorf("the next client: status %d", next.StatusCode)
			}
		})
	}
}

func TestThousandScrapesAtOnce(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 50, 10), snapshot.Good, true)
	s := testServer(t, dir)
	addr := serving(t, s, patient)
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

// A few seconds of a thousand scrapes a second and more, in all formats, leave nothing behind.
func TestManyScrapes(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 200, 50), snapshot.Good, true)
	s := testServer(t, dir)
	addr := serving(t, s, patient)
	transport := &http.Transport{MaxIdleConnsPerHost: 50, DisableCompression: true}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Minute}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask := func(i int) error {
		r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Accept-Encoding", []string{"gzip", "identity"}[i%2])
		r.Header.Set("Accept", []string{"application/openmetrics-text", "text/plain"}[i/2%2])
		w, err := client.Do(r)
		if err != nil {
			return err
		}
		defer w.Body.Close()
		n, err := io.Copy(io.Discard, w.Body)
		if err != nil || w.StatusCode != 200 || n != w.ContentLength {
			return fmt.Errorf("%s, %d of %d bytes: %w", w.Status, n, w.ContentLength, err)
		}
		return nil
	}
	before, threads := held(), runtime.NumGoroutine()
	const scrapes, clients = 2000, 40
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range scrapes / clients {
				if err := ask(c + i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	if n := s.scrapes.Load(); n != scrapes {
		t.Errorf("%d scrapes are counted", n)
	}
	if after := held(); after > before+8<<20 {
		t.Errorf("%d bytes are held, were %d", after, before)
	}
	// Those of connections end soon after these are closed; a leak would be one a scrape.
	if n := runtime.NumGoroutine(); n > threads+3*clients {
		t.Errorf("%d goroutines are left, were %d", n, threads)
	}
}
