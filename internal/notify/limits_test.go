package notify

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var rendered = flag.String("rendered", "", "write what each channel would send of each event into this folder, to be read")

// long is a message with as much in it as one can have.
func long(t *testing.T, at time.Time) *Message {
	t.Helper()
	m, err := New("gate-held", strings.Repeat("it is worse & <so> on, ", 200))
	if err != nil {
		t.Fatal(err)
	}
	m.Host, m.BootID, m.Kernel, m.BaselineKernel, m.Time = "node1", "boot2", "6.1.0-31", "6.1.0-30", at
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("critical: bpf.probe p%d: %s", i, strings.Repeat("<é&> ", 100)))
	}
	m.AddFindings(lines)
	return &m
}

// TestLongestMessage: what a channel cuts, refuses or sends back when it is too long is shortened here, whole lines at a time, and
// still says which kernel and boot it is of.
func TestLongestMessage(t *testing.T) {
	m := long(t, time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC))
	slack, ntfy := slackText(m), shorten(m.body(), mostNtfy, strings.Clone)
	for name, c := range map[string]struct {
		text string
		most int
	}{"slack": {slack, 3000}, "ntfy": {ntfy, 4096}} {
		if len(c.text) > c.most || len(c.text) < c.most/2 || !utf8.ValidString(c.text) {
			t.Errorf("%s: %d bytes, at most %d and not much less", name, len(c.text), c.most)
		}
		for _, want := range []string{"more lines\n", "`lastgood release` starts them.\n", "kernel 6.1.0-31, last good 6.1.0-30\n", "boot boot2, 2026-11-21T04:00:00Z\n"} {
			if !strings.Contains(c.text, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, c.text)
			}
		}
	}
	for _, part := range strings.Split(slack, "&")[1:] {
		if !strings.HasPrefix(part, "amp;") && !strings.HasPrefix(part, "lt;") && !strings.HasPrefix(part, "gt;") {
			t.Errorf("slack: an escape is cut: &%.10s", part)
		}
	}
	m.Findings = append(m.Findings, strings.Repeat("x", 2000))
	for line := range strings.Lines(wrap(m.body(), mailWidth)) {
		if len(line) > 998 || len(line) > mailWidth+1 && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("mail: a line of %d bytes: %q", len(line), line)
		}
	}
	if short := "one\ntwo\nthree\n"; shorten(short, 1000, strings.Clone) != short || wrap(short, 78) != short {
		t.Error("what is short is changed")
	}
}

// alertsOf are the alerts that a message makes when it is sent at a time.
func alertsOf(t *testing.T, least Severity, event string, at, sent time.Time) []alert {
	t.Helper()
	srv := newServer(t)
	s := spoolAt(t, Config{Least: least, Alertmanagers: []Alertmanager{{URL: srv.URL, Labels: map[string]string{"team": "a"}}}}, &sent)
	if err := s.Add(message(t, event, "boot1", at)); err != nil {
		t.Fatal(err)
	}
	flushed(t, s, false)
	var out []alert
	for _, g := range srv.received() {
		if err := json.Unmarshal([]byte(g.body), &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestAlertOfAnUnsetClock: a boot that began in 1970 has alerts that are not over before they come.
func TestAlertOfAnUnsetClock(t *testing.T) {
	unset, now := time.Date(1970, 1, 1, 0, 2, 0, 0, time.UTC), time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name             string
		at, sent, starts time.Time
	}{
		{"set since", unset, now, now}, {"never set", unset, unset, time.Time{}}, {"set", now.Add(-time.Hour), now, now.Add(-time.Hour)},
	} {
		a := alertsOf(t, Info, "gate-held", c.at, c.sent)
		if len(a) != 1 || !a[0].StartsAt.Equal(c.starts) || a[0].StartsAt.IsZero() != a[0].EndsAt.IsZero() || !a[0].EndsAt.IsZero() && !a[0].EndsAt.After(now) {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

// TestWhatEndsAlerts: that the workloads were let go ends the alert that they are held and no other; what ends alerts is sent though
// it matters less than what is to be told, and begins none then.
func TestWhatEndsAlerts(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		event  string
		least  Severity
		begins int
		ends   []string // some of those that end
		not    string
	}{
		{"gate-released", Critical, 0, []string{"LastgoodGateHeld"}, "LastgoodRegressed"},
		{"rolled-back-good", Critical, 0, []string{"LastgoodGateHeld", "LastgoodRollbackArmed"}, ""},
		{"rolled-back-good", Info, 1, []string{"LastgoodGateHeld"}, ""},
		{"confirmed", Warning, 0, []string{"LastgoodGateHeld", "LastgoodIncomplete"}, ""},
		{"test", Critical, 1, nil, "LastgoodGateHeld"},
		{"incomplete", Critical, 0, nil, "LastgoodGateHeld"},
	} {
		begins, ended := 0, []string{}
		for _, a := range alertsOf(t, c.least, c.event, now, now) {
			if a.EndsAt.After(now) {
				begins++
			} else {
				ended = append(ended, a.Labels["alertname"])
			}
			if a.Labels["team"] != "a" {
				t.Errorf("%s: %+v goes by another way", c.event, a.Labels)
			}
		}
		if begins != c.begins || slices.Contains(ended, c.not) || slices.ContainsFunc(c.ends, func(n string) bool { return !slices.Contains(ended, n) }) {
			t.Errorf("%s at %s: %d begin, %v end", c.event, c.least, begins, ended)
		}
	}
}

// TestKeysDiffer: the second message of one event in one boot is not taken for the first, which was sent already.
func TestKeysDiffer(t *testing.T) {
	srv := newServer(t)
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL}}}, &now)
	seen := map[string]bool{}
	for range 3 {
		if err := s.Add(message(t, "gate-held", "boot2", now)); err != nil {
			t.Fatal(err)
		}
		flushed(t, s, false)
		now = now.Add(time.Second)
	}
	for _, g := range srv.received() {
		seen[g.header.Get("Idempotency-Key")] = true
	}
	if len(seen) != 3 {
		t.Errorf("keys %v", seen)
	}
}

// TestFullSpoolIsSaid: what is given up for want of room is named.
func TestFullSpoolIsSaid(t *testing.T) {
	now := time.Now()
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: "http://127.0.0.1:1/"}}}, &now)
	var err error
	for i := range maxItems + 1 {
		err = s.Add(message(t, "gate-held", fmt.Sprint("boot", i), now))
		if i < maxItems && err != nil {
			t.Fatal(err)
		}
	}
	var full *FullError
	if !errors.As(err, &full) || !strings.Contains(err.Error(), "boot0/gate-held/1-") {
		t.Errorf("%v", err)
	}
}

// TestSignatureByOpenSSL: the line of docs/gate.md by which a receiver checks a signature.
func TestSignatureByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	srv := newServer(t)
	dir := t.TempDir()
	secret, body := filepath.Join(dir, "hook.key"), filepath.Join(dir, "body")
	now := time.Now()
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL, SecretFile: secret}}}, &now)
	if err := os.WriteFile(secret, []byte("a secret, with blanks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(message(t, "gate-held", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	flushed(t, s, false)
	got := srv.received()[0]
	if err := os.WriteFile(body, []byte(got.body), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "gate.md"))
	if err != nil {
		t.Fatal(err)
	}
	const line = `openssl dgst -sha256 -hmac "$(cat hook.key)" < body`
	if !strings.Contains(string(doc), line) {
		t.Fatalf("docs/gate.md lacks %s", line)
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + filepath.Dir(openssl) + ":/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	_, sum, found := strings.Cut(strings.TrimSpace(string(out)), "= ")
	if err != nil || !found || got.header.Get("X-Lastgood-Signature") != "sha256="+sum {
		t.Errorf("%v: openssl says %q, the header %q", err, out, got.header.Get("X-Lastgood-Signature"))
	}
}

// TestRendered writes what would be sent, where it is asked for; else it only makes sure that every event has a form in each channel.
func TestRendered(t *testing.T) {
	srv := newServer(t)
	dir := t.TempDir()
	if *rendered != "" {
		dir = *rendered
	}
	hook, program := filepath.Join(dir, "hook"), filepath.Join(dir, "sendmail")
	for name, text := range map[string]string{hook: srv.URL + "/slack", program: "#!/bin/sh\ncat > " + dir + "/mail\n"} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL + "/webhook"}}, Slack: []Slack{{URLFile: hook}}, Mail: &Mail{To: []string{"root"}, Sendmail: program},
		Ntfy: []Ntfy{{URL: srv.URL + "/ntfy", Topic: "t"}}, Alertmanagers: []Alertmanager{{URL: srv.URL}}}, &now)
	for _, e := range Events() {
		m := message(t, e.Name, "boot2", now)
		if err := s.Add(m); err != nil {
			t.Fatal(err)
		}
		if r := flushed(t, s, false); r.Left != 0 {
			t.Fatalf("%s: %+v", e.Name, r)
		}
		mail, err := os.ReadFile(filepath.Join(dir, "mail"))
		if err != nil || !strings.Contains(string(mail), e.Title) {
			t.Fatalf("%v: mail %q", err, mail)
		}
		if *rendered != "" {
			if err := os.WriteFile(filepath.Join(dir, e.Name+".mail"), mail, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, g := range srv.received() {
		if strings.Contains(g.body, `\u0000`) || !json.Valid([]byte(g.body)) {
			t.Errorf("%s: %s", g.path, g.body)
		}
		if *rendered != "" {
			name := filepath.Join(dir, fmt.Sprintf("%02d%s.json", i, strings.ReplaceAll(g.path, "/", "-")))
			if err := os.WriteFile(name, []byte(g.body), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOneSender: two that flush at once do not both send.
func TestOneSender(t *testing.T) {
	now := time.Now()
	s := spoolAt(t, Config{}, &now)
	lock, err := s.Folder.Lock(flushLock)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if r := flushed(t, s, false); !r.Busy {
		t.Errorf("%+v", r)
	}
}
