package baseline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readable is a folder on disk with one boot, accepted, and who only reads it.
func readable(t *testing.T, o Options) (dir string, reader *Store) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	w, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Save(snap("aaa", "6.1", "boot", time.Unix(1, 0)), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Accept("aaa", "root"); err != nil {
		t.Fatal(err)
	}
	if reader, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir, reader
}

// What is no file of lastgood's own making is not read: a link leads elsewhere, a FIFO keeps
// its reader waiting for ever.
func TestNoLinkIsFollowed(t *testing.T) {
	for name, swap := range map[string]func(t *testing.T, path string){
		"link": func(t *testing.T, path string) {
			outside := filepath.Join(t.TempDir(), "outside")
			if err := errors.Join(os.Rename(path, outside), os.Symlink(outside, path)); err != nil {
				t.Fatal(err)
			}
		},
		"FIFO": func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := readable(t, Options{})
			copies, err := filepath.Glob(filepath.Join(dir, bootsDir, "*.json"))
			if err != nil || len(copies) != 2 {
				t.Fatal(copies, err)
			}
			for _, path := range copies {
				swap(t, path)
			}
			var missing *NotFoundError
			if _, err := s.Load("aaa"); !errors.As(err, &missing) {
				t.Errorf("a boot that is a %s: %v", name, err)
			}
			if _, _, err := s.LastGood(); !errors.Is(err, errNotRegular) {
				t.Errorf("an accepted copy that is a %s: %v", name, err)
			}
			swap(t, filepath.Join(dir, lastGoodFile))
			if _, _, err := s.LastGood(); !errors.Is(err, errNotRegular) {
				t.Errorf("a last-good that is a %s: %v", name, err)
			}
			swap(t, filepath.Join(dir, eventsFile))
			if _, err := s.List(); !errors.Is(err, errNotRegular) {
				t.Errorf("a time line that is a %s: %v", name, err)
			}
		})
	}
}

// A snapshot that somebody names on the command line may well be behind a link.
func TestAFileThatIsNamedMayBeALink(t *testing.T) {
	dir, _ := readable(t, Options{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, bootsDir, "aaa.json"), link); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadFile(link); err != nil || s.Identity.BootID != "aaa" {
		t.Errorf("%v, %v", s, err)
	}
}

// Without the lock nothing is written, whatever is found.
func TestReaderWritesNothing(t *testing.T) {
	dir, s := readable(t, Options{})
	const torn = "{\"schema\": \"lastgood.last-g"
	if err := os.WriteFile(filepath.Join(dir, lastGoodFile), []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, bootsDir, "aaa.json"), []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	var lost *LostError
	if _, _, err := s.LastGood(); !errors.As(err, &lost) || len(s.Damaged()) == 0 {
		t.Errorf("a torn last-good: %v, reported %q", err, s.Damaged())
	}
	var damaged *DamagedError
	if _, err := s.Load("aaa"); !errors.As(err, &damaged) {
		t.Errorf("a torn snapshot: %v", err)
	}
	for _, name := range []string{lastGoodFile, filepath.Join(bootsDir, "aaa.json")} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != torn {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, damagedDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
}

// What is too large for this reader is not called damaged.
func TestMaxSnapshot(t *testing.T) {
	_, s := readable(t, Options{MaxSnapshot: 100})
	var damaged *DamagedError
	if _, err := s.Load("aaa"); !errors.Is(err, ErrTooLarge) || errors.As(err, &damaged) || !strings.Contains(err.Error(), "aaa.json") {
		t.Errorf("load: %v", err)
	}
	if _, _, err := s.LastGood(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("last good: %v", err)
	}
	entries, err := s.List()
	if err != nil || len(entries) != 1 || !errors.Is(entries[0].Err, ErrTooLarge) || len(s.Damaged()) > 0 {
		t.Errorf("list: %+v, %v, %q", entries, err, s.Damaged())
	}
}
