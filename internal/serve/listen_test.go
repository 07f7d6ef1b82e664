package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lastgood/internal/snapshot"
)

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
