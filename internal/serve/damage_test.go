package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/snapshot"
)

func TestDamage(t *testing.T) {
	damage := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "new"), []byte("{\"schema\": \"lastgood.report/v1\", \"verd"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		do    func(t *testing.T, dir string)
		stale bool
	}{
		"report":          {damage("report.json"), true},
		"newest snapshot": {damage("boots/boot-2.json"), true},
		"older snapshot":  {damage("boots/boot-0.json"), false},
		"last good":       {damage("last-good"), false},
		"gate":            {damage("gate.json"), false},
		"boots are a file": {func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(filepath.Join(dir, "boots")), os.WriteFile(filepath.Join(dir, "boots"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}, true},
		"report too large": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "report.json"), 1<<30); err != nil {
				t.Fatal(err)
			}
		}, true},
		"folder vanished": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, true},
		"folder is a file": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			for _, b := range []string{"boot-0", "boot-1", "boot-2"} {
				save(t, dir, testSnapshot(b, 2, 1), snapshot.Good, b == "boot-1")
			}
			s := testServer(t, dir)
			wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_stale 0\n", "lastgood_serve_faults 0\n")
			c.do(t, dir)
			s.Refresh()
			m := get(s, "/metrics")
			wantCode(t, m, 200, `lastgood_verdict{verdict="good"} 1`, `lastgood_bpf_probe_insns_processed{id="family/case_1"} 1001`, fmt.Sprintf("lastgood_serve_stale %v\n", map[bool]int{true: 1}[c.stale]))
			if strings.Contains(m.Body.String(), "lastgood_serve_faults 0\n") {
				t.Error("no fault is told")
			}
			w := get(s, "/api/v1/report")
			wantCode(t, w, 200, `"good"`)
			if w.Header().Get("Lastgood-Faults") == "" || (w.Header().Get("Warning") != "") != c.stale {
				t.Errorf("headers %v", w.Header())
			}
			wantCode(t, get(s, "/"), 200, "Not all could be read")
			wantCode(t, get(s, "/-/ready"), 200)
			// What is whole again is served again.
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			save(t, dir, testSnapshot("boot-2", 9, 1), snapshot.Regressed, true)
			s.Refresh()
			wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_stale 0\n", "lastgood_serve_faults 0\n", `lastgood_verdict{verdict="regressed"} 1`)
		})
	}
}

// A server that starts beside damage tells it and makes nothing up.
func TestDamagedFromTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "report.json"), []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, dir)
	wantCode(t, get(s, "/-/ready"), 503)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_faults 1\n", "lastgood_result_present 0\n")
	wantCode(t, get(s, "/api/v1/report"), 404, "checksum")
}

// swapped puts a file in the place of another by a rename, as all writers do.
func swapped(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(name+".new", data, 0o600), os.Rename(name+".new", name)); err != nil {
		t.Fatal(err)
	}
}

// A link out of the folder is not followed, though what it leads to is whole and lastgood's own.
func TestLinksLeadNowhere(t *testing.T) {
	for _, name := range []string{"boots/secret.json", "boots/boot-2.json", "report.json", "last-good", "events.jsonl", "gate.json"} {
		t.Run(name, func(t *testing.T) {
			dir, outside := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "other")
			save(t, dir, testSnapshot("boot-2", 2, 1), snapshot.Good, true)
			secret := testSnapshot("secret", 2, 1)
			secret.Identity.Kernel.Release = "of-another-host"
			save(t, outside, secret, snapshot.Regressed, true)
			target := filepath.Join(outside, strings.Replace(name, "boot-2", "secret", 1))
			if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
				target = filepath.Join(outside, "report.json") // there is no gate
			}
			at := filepath.Join(dir, name)
			if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := os.Symlink(target, at); err != nil {
				t.Fatal(err)
			}
			s := testServer(t, dir)
			for _, path := range []string{"/metrics", "/", "/api/v1/report", "/api/v1/snapshots", "/api/v1/snapshots/secret", "/api/v1/snapshots/last-good", "/api/v1/snapshots/of-another-host", "/api/v1/diff?from=secret&to=boot-2"} {
				w := get(s, path)
				if strings.Contains(w.Body.String(), `release="of-another-host"`) || strings.Contains(w.Body.String(), `"release": "of-another-host"`) {
					t.Errorf("%s tells of a file outside: %.500s", path, w.Body)
				}
			}
			if w := get(s, "/api/v1/snapshots/secret"); w.Code < 400 {
				t.Errorf("status %d: %.300s", w.Code, w.Body)
			}
			wantCode(t, get(s, "/-/healthy"), 200)
		})
	}
}

// What cannot be seen from the folder's times is looked for again while something is amiss.
func TestReadAgain(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 2, 1), snapshot.Good, true)
	name := filepath.Join(dir, "boots/boot-2.json")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	swapped(t, name, whole[:len(whole)/2])
	s := testServer(t, dir)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_faults 1\n")
	if err := os.WriteFile(name, whole, 0o600); err != nil { // in its place: the folder's time stays
		t.Fatal(err)
	}
	reads := s.reads.Load()
	s.Refresh()
	if n := s.reads.Load(); n != reads {
		t.Errorf("read %d times more at once", n-reads)
	}
	s.o.Now = func() time.Time { return time.Unix(1700000060, 0).Add(againAfter) }
	s.Refresh()
	wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_faults 0\n")
	for range 3 {
		s.Refresh()
	}
	if n := s.reads.Load(); n != reads+1 {
		t.Errorf("read %d times more, want once: nothing is amiss any more", n-reads)
	}
}

// Samples of the boot that is shown are read again, and no more often than pages are worth it.
func TestSamplesAreSeen(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 2, 1), snapshot.Good, true)
	store, err := baseline.Open(dir, baseline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.AppendHistory("boot-2", []byte("{}")); err != nil { // the folder of the samples is there from now on
		t.Fatal(err)
	}
	s := testServer(t, dir)
	read := func(later time.Duration, boot string) int64 {
		t.Helper()
		if boot != "" {
			if err := store.AppendHistory(boot, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		before, at := s.reads.Load(), s.o.Now().Add(later)
		s.o.Now = func() time.Time { return at }
		s.Refresh()
		return s.reads.Load() - before
	}
	for _, c := range []struct {
		name  string
		later time.Duration
		boot  string
		want  int64
	}{
		{"nothing new", time.Hour, "", 0},
		{"a sample", time.Second, "boot-2", 1},
		{"another one at once", time.Second, "boot-2", 0},
		{"which is read in time", samplesAfter, "", 1},
		{"of another boot", time.Hour, "boot-1", 0},
	} {
		if n := read(c.later, c.boot); n != c.want {
			t.Errorf("%s: read %d times, want %d", c.name, n, c.want)
		}
	}
}

// That a file may be read, or may not any more, shows in its time of change alone.
func TestPermissionsAreSeen(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 2, 1), snapshot.Good, true)
	s := testServer(t, dir)
	before := s.signature()
	if s.signature() != before {
		t.Error("the folder has two signatures")
	}
	if err := os.Chmod(filepath.Join(dir, "report.json"), 0); err != nil {
		t.Fatal(err)
	}
	if s.signature() == before {
		t.Error("a file that may not be read any more is not seen")
	}
}

// Each answer is whole while results are written, and each result is told as one.
func TestReplacedWhileRead(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-1", 5, 1), snapshot.Good, true)
	save(t, dir, testSnapshot("boot-2", 5, 1), snapshot.Good, false)
	s := testServer(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for i := range 20 {
			save(t, dir, testSnapshot("boot-2", 5+i, 1), []snapshot.Verdict{snapshot.Good, snapshot.Regressed}[i%2], i%5 == 0)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			s.Refresh()
		}
	})
	for _, path := range []string{"/api/v1/report", "/api/v1/snapshots", "/api/v1/snapshots/boot-2", "/api/v1/snapshots/last-good", "/api/v1/diff?from=last-good&to=boot-2"} {
		wg.Go(func() {
			for ctx.Err() == nil {
				w := get(s, path)
				if w.Code == 503 && w.Header().Get("Retry-After") != "" {
					continue // a busy machine kept the one before it too long
				}
				if w.Code != 200 || !json.Valid(w.Body.Bytes()) || w.Header().Get("Lastgood-Faults") != "" {
					t.Errorf("%s: status %d, faults %q: %.300s", path, w.Code, w.Header().Get("Lastgood-Faults"), w.Body)
				}
			}
		})
	}
	for ctx.Err() == nil {
		w := get(s, "/metrics")
		if n := strings.Count(w.Body.String(), "\nlastgood_verdict{"); w.Code != 200 || n != 5 || !strings.Contains(w.Body.String(), "lastgood_serve_faults 0\n") {
			t.Errorf("status %d, %d verdicts: %.1000s", w.Code, n, w.Body)
		}
	}
	wg.Wait()
	s.Refresh()
	wantCode(t, get(s, "/metrics"), 200, `lastgood_bpf_probe_insns_processed{id="family/case_23"} 1023`, `lastgood_verdict{verdict="regressed"} 1`)
}

// A clock that is set says nothing of the server's health, and an age is told as it is.
func TestClockJumps(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 1, 1), snapshot.Good, true)
	s := testServer(t, dir)
	s.o.Now = func() time.Time { return time.Unix(1700000000-3600, 0) }
	wantCode(t, get(s, "/-/healthy"), 200)
	wantCode(t, get(s, "/metrics"), 200, "lastgood_result_age_seconds -3600\n", `lastgood_verdict{verdict="good"} 1`)
	s.Refresh()
	s.o.Now = func() time.Time { return time.Unix(1700000000, 0).AddDate(10, 0, 0) }
	s.Refresh()
	wantCode(t, get(s, "/-/healthy"), 200)
	wantCode(t, get(s, "/metrics"), 200, `lastgood_verdict{verdict="good"} 1`)
	// The system's own clock is asked with its monotonic reading, which no one sets.
	if at := New(Options{Dir: dir}).looked.Load(); !strings.Contains(at.String(), "m=") {
		t.Errorf("looked at %v, by the wall clock", at)
	}
}

// Half of any file, cut off wherever it may be, is told of and takes nothing away.
func TestHalfWritten(t *testing.T) {
	for _, name := range []string{"report.json", "last-good", "events.jsonl", "boots/boot-2.json"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, dir, testSnapshot("boot-1", 3, 1), snapshot.Good, true)
			save(t, dir, testSnapshot("boot-2", 3, 1), snapshot.Regressed, false)
			s := testServer(t, dir)
			at := filepath.Join(dir, name)
			whole, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			for part := range 17 {
				swapped(t, at, whole[:part*(len(whole)-1)/16])
				s.Refresh()
				wantCode(t, get(s, "/metrics"), 200, `lastgood_verdict{verdict="regressed"} 1`, `lastgood_bpf_probe_insns_processed{id="family/case_2"} 1002`)
				wantCode(t, get(s, "/api/v1/report"), 200, `"regressed"`)
				wantCode(t, get(s, "/"), 200, "regressed")
				wantCode(t, get(s, "/-/ready"), 200)
				if w := get(s, "/api/v1/snapshots/boot-2"); w.Code == 200 != (name != "boots/boot-2.json") || !json.Valid(w.Body.Bytes()) {
					t.Errorf("%d of %d bytes: status %d: %.300s", part*(len(whole)-1)/16, len(whole), w.Code, w.Body)
				}
			}
			swapped(t, at, whole)
			s.Refresh()
			wantCode(t, get(s, "/metrics"), 200, "lastgood_serve_faults 0\n")
		})
	}
}
