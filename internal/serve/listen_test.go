package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
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
		if err := sock.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
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

// selfSigned writes a certificate for localhost and its key.
func selfSigned(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	err = errors.Join(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// A web configuration that cannot be used is refused before anything is listened for.
func TestWrongWebConfigs(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir, "a")
	_, other := selfSigned(t, dir, "b")
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("-----BEGIN CERTIFICATE-----\nno\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := func(cert, key, more string) string {
		return fmt.Sprintf("tls_server_config:\n  cert_file: %s\n  key_file: %s\n%s", cert, key, more)
	}
	for name, c := range map[string]struct {
		text string
		fits bool
	}{
		"whole":                    {tls(cert, key, ""), true},
		"empty":                    {"", true},
		"no certificate":           {tls(filepath.Join(dir, "absent"), key, ""), false},
		"no key":                   {tls(cert, filepath.Join(dir, "absent"), ""), false},
		"another's key":            {tls(cert, other, ""), false},
		"key and certificate":      {tls(key, cert, ""), false},
		"garbage for one":          {tls(garbage, key, ""), false},
		"a folder for one":         {tls(dir, key, ""), false},
		"half of it":               {"tls_server_config:\n  cert_file: " + cert + "\n", false},
		"a version that is none":   {tls(cert, key, "  min_version: TLS99\n"), false},
		"a cipher that is none":    {tls(cert, key, "  cipher_suites: [NONE]\n"), false},
		"authority that is none":   {tls(cert, key, "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: "+filepath.Join(dir, "absent")+"\n"), false},
		"an unknown field":         {"tls_server_confg: {}\n", false},
		"no YAML":                  {"{{{", false},
		"a password in plain":      {"basic_auth_users:\n  u: secret\n", false},
		"header that may not be":   {"http_server_config:\n  headers: {X-Mine: a}\n", false},
		"NUL":                      {"\x00", false},
		"a list where a map is":    {"basic_auth_users: [a]\n", false},
		"another file's beginning": {"-----BEGIN CERTIFICATE-----\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "web.yml")
			if err := os.WriteFile(config, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := CheckConfig(config)
			if (err == nil) != c.fits {
				t.Errorf("%v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), config) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("it names no file, or what is secret: %v", err)
			}
		})
	}
	if err := CheckConfig(dir); err == nil {
		t.Error("a folder is taken")
	}
}

// Files of TLS that go wrong while it runs shut clients out and nothing else; once they are
// right again clients are let in, without a restart.
func TestTLSFilesGoWrong(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir, "a")
	config := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(config, []byte("tls_server_config:\n  cert_file: "+cert+"\n  key_file: "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
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
	port := l.Addr().(*net.TCPAddr).Port
	ask := func(scheme string) (int, error) {
		pool := x509.NewCertPool()
		if b, err := os.ReadFile(cert); err != nil || !pool.AppendCertsFromPEM(b) {
			pool = nil
		}
		client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}}}
		w, err := client.Get(fmt.Sprintf("%s://localhost:%d/metrics", scheme, port))
		if err != nil {
			return 0, err
		}
		w.Body.Close()
		return w.StatusCode, nil
	}
	if code, err := ask("https"); code != 200 {
		t.Errorf("status %d, %v", code, err)
	}
	if code, err := ask("http"); code != 400 {
		t.Errorf("without TLS: status %d, %v", code, err)
	}
	whole, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	swapped(t, cert, []byte("no certificate"))
	if code, err := ask("https"); err == nil {
		t.Errorf("with a wrong certificate: status %d", code)
	}
	swapped(t, cert, whole)
	if code, err := ask("https"); code != 200 {
		t.Errorf("once it is right again: status %d, %v", code, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
