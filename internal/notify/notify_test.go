package notify

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/baseline"
)

var update = flag.Bool("update", false, "rewrite the journal's catalogue")

// server is somebody who is told, and answers as it is set.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []received
}

type received struct {
	path   string
	header http.Header
	body   string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.status/100 == 2 {
			s.got = append(s.got, received{r.URL.Path, r.Header, string(b)})
		}
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *server) received() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received{}, s.got...)
}

// spoolAt is a spool whose clock is set by hand.
func spoolAt(t *testing.T, c Config, now *time.Time) *Spool {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return &Spool{Folder: baseline.OpenFolder(filepath.Join(t.TempDir(), "state", "spool"), nil), Config: &c,
		Now: func() time.Time { return *now }, BootID: "boot2"}
}

func message(t *testing.T, event, boot string, at time.Time) *Message {
	t.Helper()
	m, err := New(event, "it <b>is</b> & so\nit\x00goes")
	if err != nil {
		t.Fatal(err)
	}
	m.Host, m.BootID, m.Kernel, m.BaselineKernel, m.Time = "node1", boot, "6.1.0-31", "6.1.0-30", at
	m.AddFindings([]string{"bpf.probe loop: more insns", "hw.disk a: gone"})
	return &m
}

func flushed(t *testing.T, s *Spool, force bool) Result {
	t.Helper()
	r, err := s.Flush(t.Context(), force)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAnswers500: what cannot be sent waits, longer each time, and then goes in order, the
// earlier boot's first.
func TestAnswers500(t *testing.T) {
	srv := newServer(t)
	now := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC) // a boot without a clock
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL + "/hook"}}}, &now)
	srv.answer(http.StatusInternalServerError)
	if err := s.Add(message(t, "gate-held", "boot1", now)); err != nil {
		t.Fatal(err)
	}
	if r := flushed(t, s, false); r.Left != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "500") {
		t.Fatalf("%+v", r)
	}
	now = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC) // and one with
	if err := s.Add(message(t, "rolled-back-good", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	for range 8 { // nearly an hour
		flushed(t, s, false)
		now = now.Add(7 * time.Minute)
	}
	if got := srv.received(); len(got) != 0 {
		t.Fatalf("got %v", got)
	}
	srv.answer(http.StatusNoContent)
	now = now.Add(time.Hour)
	if r := flushed(t, s, false); r.Sent != 2 || r.Left != 0 || r.Dropped != 0 {
		t.Fatalf("%+v", r)
	}
	got := srv.received()
	if len(got) != 2 || got[0].header.Get("Idempotency-Key") != "boot1/gate-held/1-60000" || !strings.HasPrefix(got[1].header.Get("Idempotency-Key"), "boot2/rolled-back-good/2-") {
		t.Errorf("%+v", got)
	}
	if left, err := s.Waiting(); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestHangs: a target that never answers costs its time and nobody else's message.
func TestHangs(t *testing.T) {
	release := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer dead.Close()
	defer close(release)
	srv := newServer(t)
	now := time.Now()
	s := spoolAt(t, Config{Alertmanagers: []Alertmanager{{URL: srv.URL}}, Ntfy: []Ntfy{{URL: dead.URL, Topic: "t"}}}, &now)
	if err := s.Add(message(t, "gate-held", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := s.Flush(ctx, false)
	if err != nil || r.Sent != 1 || r.Left != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if left, err := s.Waiting(); err != nil || len(left) != 1 || !strings.Contains(left[0], "ntfy") {
		t.Errorf("%v, %v", left, err)
	}
}

// TestGivesUp: after a day of tries, and not because a clock jumps; a message that is
// refused keeps no other from its way.
func TestGivesUp(t *testing.T) {
	srv := newServer(t)
	now := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL}}}, &now)
	srv.answer(http.StatusBadRequest)
	if err := s.Add(message(t, "gate-held", "boot1", now)); err != nil {
		t.Fatal(err)
	}
	flushed(t, s, false)
	now = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	if r := flushed(t, s, false); r.Dropped != 0 || r.Left != 1 {
		t.Fatalf("a jump of the clock: %+v", r)
	}
	srv.answer(http.StatusOK)
	if err := s.Add(message(t, "good", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	if r := flushed(t, s, false); r.Sent != 1 || r.Left != 1 {
		t.Fatalf("behind a refused one: %+v", r)
	}
	srv.answer(http.StatusBadGateway)
	dropped := 0
	for range 60 {
		now = now.Add(time.Hour)
		dropped += flushed(t, s, false).Dropped
	}
	if left, err := s.Waiting(); err != nil || len(left) != 0 || dropped != 1 {
		t.Errorf("dropped %d, left %v, %v", dropped, left, err)
	}
}

func TestDeadMan(t *testing.T) {
	srv := newServer(t)
	now := time.Now()
	s := spoolAt(t, Config{DeadMan: srv.URL + "/ping/abc"}, &now)
	for _, m := range []*Message{message(t, "gate-held", "boot2", now), message(t, "good", "boot1", now), message(t, "good", "boot2", now)} {
		if err := s.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	r := flushed(t, s, false)
	if got := srv.received(); len(got) != 1 || got[0].path != "/ping/abc" || r.Dropped != 1 {
		t.Errorf("%+v, %+v", got, r)
	}
}

func TestSpoolIsBounded(t *testing.T) {
	now := time.Now()
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: "http://127.0.0.1:1/"}}}, &now)
	for i := range maxItems + 10 {
		var full *FullError
		if err := s.Add(message(t, "gate-held", fmt.Sprint(i), now)); err != nil && (i < maxItems || !errors.As(err, &full)) {
			t.Fatal(err)
		}
	}
	names, err := s.Folder.Names()
	if err != nil || len(names) != maxItems || number(names[0]) != 11 {
		t.Errorf("%d, %v, %v", len(names), names[:1], err)
	}
	if err := os.WriteFile(filepath.Join(s.Folder.Dir(), names[0]), []byte("{}"), 0o640); err != nil {
		t.Fatal(err)
	}
	r := flushed(t, s, false)
	if len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "checksum") || r.Left != maxItems-1 {
		t.Errorf("%d left, notes %v", r.Left, r.Notes[:1])
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	m := message(t, "gate-held", "boot2", time.Now())
	j := Journal{Socket: filepath.Join(dir, "journal"), Syslog: filepath.Join(dir, "log")}
	if err := j.Send(m); err == nil {
		t.Error("sent to nobody")
	}
	read := func(name string) string {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := j.Send(m); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if have := read(j.Syslog); have != "<26>lastgood: Workloads are held: it <b>is</b> & so it goes" {
		t.Errorf("syslog %q", have)
	}
	have := read(j.Socket)
	e, _ := EventNamed("gate-held")
	for _, want := range []string{"MESSAGE_ID=" + e.ID + "\n", "PRIORITY=2\n", "LASTGOOD_KERNEL=6.1.0-31\n",
		"LASTGOOD_EVIDENCE\n\x2a\x00\x00\x00\x00\x00\x00\x00bpf.probe loop: more insns\nhw.disk a: gone\n"} {
		if !strings.Contains(have, want) {
			t.Errorf("journal %q lacks %q", have, want)
		}
	}
}

func TestMOTD(t *testing.T) {
	p := MOTD(filepath.Join(t.TempDir(), "motd.d", "lastgood"))
	for _, c := range []struct {
		event string
		there bool
	}{{"good", false}, {"gate-held", true}, {"test", true}, {"rolled-back-still-broken", true}, {"good", false}} {
		if err := p.Update(message(t, c.event, "b", time.Now())); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(string(p))
		if (err == nil) != c.there || strings.Count(string(b), "\n") > 1 {
			t.Errorf("after %s: %q, %v", c.event, b, err)
		}
	}
}

func TestEvents(t *testing.T) {
	id := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	var b strings.Builder
	b.WriteString("# The journal's catalogue of lastgood's messages: journalctl -x shows it.\n# /usr/lib/systemd/catalog/lastgood.catalog\n")
	for _, e := range Events() {
		if !id.MatchString(e.ID) || seen[e.ID] || seen[e.Name] || e.Doc == "" || e.Title == "" {
			t.Errorf("event %+v", e)
		}
		seen[e.ID], seen[e.Name] = true, true
		fmt.Fprintf(&b, "\n-- %s\nSubject: %s\nDefined-By: lastgood\n\n%s\n\nKernel: @LASTGOOD_KERNEL@\nBoot: @LASTGOOD_BOOT_ID@\n", e.ID, e.Title, e.Doc)
	}
	path := filepath.Join("..", "..", "deploy", "systemd", "lastgood.catalog")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), b.String()); d != "" {
		t.Errorf("rewrite it with -update (-have +want):\n%s", d)
	}
}

func TestConfigCheck(t *testing.T) {
	for name, c := range map[string]Config{
		"url": {Webhooks: []Webhook{{URL: "example.org/x"}}}, "scheme": {Alertmanagers: []Alertmanager{{URL: "file:///etc"}}},
		"topic": {Ntfy: []Ntfy{{URL: "https://ntfy.sh"}}}, "slack": {Slack: []Slack{{}}}, "nobody": {Mail: &Mail{}},
		"header": {Mail: &Mail{To: []string{"a\nBcc: b"}}}, "flag": {Mail: &Mail{To: []string{"-oQ/tmp"}}},
		"program": {Mail: &Mail{To: []string{"a"}, Sendmail: "sendmail"}}, "dead man": {DeadMan: "x"}, "least": {Least: "worst"},
	} {
		if err := c.Check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (&Config{}).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb\x00\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = min(max(n, 1), 1000)
		if have := oneLine(s, n); strings.ContainsAny(have, "\n\r\x00\x1b") || len(have) > n+len("…") {
			t.Errorf("%q", have)
		}
	})
}
