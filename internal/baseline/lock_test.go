package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lastgood/internal/snapshot"
)

func TestRealFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s, err := Open(dir, Options{BootID: "cur"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Save(snap("cur", "6.16", "boot", day), good()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(Current, "root"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o750, bootsDir: 0o750, "boots/cur.json": 0o640, lastGoodFile: 0o640, eventsFile: 0o640} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	doc, err := os.ReadFile(filepath.Join(dir, "boots/cur.json"))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(doc, &fields); err != nil || fields["schema"] != snapshot.Schema || fields["checksum"] == nil {
		t.Errorf("not one JSON document with its schema and checksum: %v", err)
	}
	if got, err := ReadFile(filepath.Join(dir, "boots/cur.json")); err != nil || got.Identity.BootID != "cur" {
		t.Errorf("read as a plain file: %v", err)
	}
}

func TestStaleTempsOfOthersStay(t *testing.T) {
	dir := t.TempDir()
	gone := []string{".lastgood.last-good.0.tmp", ".lastgood.events.jsonl.12.tmp"}
	stay := []string{".lastgood.journal.0.tmp", ".last-good.swp", "last-good.tmp", ".lastgood.x.tmp", ".lastgood.x.a.tmp", "intent.json"}
	for _, n := range slices.Concat(gone, stay) {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TryLock(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range gone {
		if _, err := os.Stat(filepath.Join(dir, n)); err == nil {
			t.Errorf("%s is still there", n)
		}
	}
	for _, n := range stay {
		if _, err := os.Stat(filepath.Join(dir, n)); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	dir := t.TempDir()
	var stores [2]*Store
	for i := range stores {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stores[i] = s
	}
	if err := stores[0].TryLock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*lockPoll)
	defer cancel()
	var locked *LockedError
	if err := stores[1].Lock(ctx); !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(locked.Hint(), "ps -p") {
		t.Fatalf("second lock: %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- stores[1].Lock(context.Background()) }()
	if err := stores[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatalf("lock after it was given up: %v", err)
	}
	if _, err := stores[0].Save(snap("a", "6", "boot", day), nil); !errors.Is(err, ErrNotLocked) {
		t.Errorf("save after close: %v", err)
	}
}

func TestReadersBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, Options{BootID: "cur"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.TryLock(); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Save(snap("b0", "6.1", "boot", day), good()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Accept("b0", "root"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for n := 1; n < 40; n++ {
			id := "b" + string(rune('0'+n%10))
			_, err := w.Save(snap(id, "6.1", "boot", day), good())
			if err == nil {
				_, err = w.Accept(id, "root")
			}
			if err == nil {
				_, err = w.Prune(3, DefaultMaxBytes)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	r, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := r.LastGood(); err != nil {
			t.Errorf("last good beside a writer: %v", err)
		}
		entries, err := r.List()
		if err != nil || len(entries) == 0 || entries[0].Err != nil {
			t.Errorf("list beside a writer: %v, %v", entries, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if d := r.Damaged(); len(d) > 0 {
				t.Errorf("damage beside a writer: %v", d)
			}
			return
		default:
		}
	}
}
