package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShapes(t *testing.T) {
	srv := newServer(t)
	dir := t.TempDir()
	secret, hook := filepath.Join(dir, "secret"), filepath.Join(dir, "hook")
	for name, text := range map[string]string{secret: "key\n", hook: srv.URL + "/services/T0/SECRET\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL + "/n8n", SecretFile: secret}}, Alertmanagers: []Alertmanager{{URL: srv.URL + "/am/", Labels: map[string]string{"team": "a"}}},
		Slack: []Slack{{URLFile: hook}}, Ntfy: []Ntfy{{URL: srv.URL + "/", Topic: "alerts", TokenFile: secret}}}, &now)
	if err := s.Add(message(t, "gate-held", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	if r := flushed(t, s, false); r.Sent != 4 {
		t.Fatalf("%+v", r)
	}
	by := map[string]received{}
	for _, g := range srv.received() {
		if !json.Valid([]byte(g.body)) || g.header.Get("Content-Type") != "application/json" {
			t.Errorf("%+v", g)
		}
		by[g.path] = g
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte(by["/n8n"].body))
	if have := by["/n8n"].header.Get("X-Lastgood-Signature"); have != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("signature %q", have)
	}
	var alerts []alert
	if err := json.Unmarshal([]byte(by["/am/api/v2/alerts"].body), &alerts); err != nil || len(alerts) != 1 {
		t.Fatalf("%v, %+v", err, alerts)
	}
	want := map[string]string{"alertname": "LastgoodGateHeld", "instance": "node1", "severity": "critical", "team": "a"}
	if d := cmp.Diff(want, alerts[0].Labels); d != "" || !alerts[0].EndsAt.After(now) {
		t.Errorf("%s %v", d, alerts[0])
	}
	if b := by["/services/T0/SECRET"].body; !strings.Contains(b, `&lt;b&gt;`) && !strings.Contains(b, `\u0026lt;b`) {
		t.Errorf("slack: %s", b)
	}
	if g := by["/"]; g.header.Get("Authorization") != "Bearer key" || !strings.Contains(g.body, `"priority":5`) || !strings.Contains(g.body, `"topic":"alerts"`) {
		t.Errorf("ntfy: %+v", g)
	}
	for _, n := range s.Config.Names() {
		if strings.Contains(n, "SECRET") {
			t.Errorf("a target's name tells a secret: %s", n)
		}
	}
}

// TestGoodEndsAlerts: what was firing ends, and so it does when the host went back.
func TestGoodEndsAlerts(t *testing.T) {
	for event, own := range map[string]int{"good": 0, "rolled-back-good": 1} {
		srv := newServer(t)
		now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
		s := spoolAt(t, Config{Least: Critical, Alertmanagers: []Alertmanager{{URL: srv.URL}}}, &now)
		if event != "good" {
			s.Config.Least = Warning
		}
		if err := s.Add(message(t, event, "boot2", now)); err != nil {
			t.Fatal(err)
		}
		if r := flushed(t, s, false); r.Sent != 1 {
			t.Fatalf("%+v", r)
		}
		var alerts []alert
		if err := json.Unmarshal([]byte(srv.received()[0].body), &alerts); err != nil {
			t.Fatal(err)
		}
		firing, held := 0, false
		for _, a := range alerts {
			if a.EndsAt.After(now) {
				firing++
			}
			held = held || a.Labels["alertname"] == "LastgoodGateHeld" && !a.EndsAt.After(now)
		}
		if firing != own || !held {
			t.Errorf("%s: %d fire, %+v", event, firing, alerts)
		}
	}
}

func TestMail(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "mail")
	program := filepath.Join(dir, "sendmail")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ \"$*\" = '-t -oi' ] || exit 9\ncat > "+out+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	s := spoolAt(t, Config{Mail: &Mail{To: []string{"root", "ops@example.org"}, Sendmail: program}}, &now)
	if err := s.Add(message(t, "third-strike", "boot2", now)); err != nil {
		t.Fatal(err)
	}
	if r := flushed(t, s, false); r.Sent != 1 {
		t.Fatalf("%+v", r)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(b), "\n\n")
	if !strings.Contains(head, "To: root, ops@example.org\nSubject: [lastgood] node1: Too many bad boots in a row\n") || !strings.Contains(body, "hw.disk a: gone") {
		t.Errorf("%s", b)
	}
}
