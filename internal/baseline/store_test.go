package baseline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

func TestAcceptedStaysWhatWasAccepted(t *testing.T) {
	s := memStore(t, lived(t))
	lg, rec, err := s.LastGood()
	if err != nil {
		t.Fatal(err)
	}
	if lg.Phase != "boot" || rec.BootID != "aaa" || rec.By != ByLearned || rec.Release != "6.1" || rec.Accepted.IsZero() {
		t.Errorf("last good is the %q snapshot, %+v", lg.Phase, rec)
	}
	newest, err := s.Load("aaa")
	if err != nil || newest.Phase != "later" {
		t.Errorf("the boot's newest snapshot is %v (%v), want the later one", newest, err)
	}
	if _, err := s.Accept("aaa", "alice (uid 1000)"); err != nil {
		t.Fatal(err)
	}
	if lg, rec, err = s.LastGood(); err != nil || lg.Phase != "later" || rec.By != "alice (uid 1000)" {
		t.Errorf("accepted anew: %q, %+v, %v", lg.Phase, rec, err)
	}
}

func TestLoadNames(t *testing.T) {
	c := lived(t)
	s, err := Open(memDir, Options{BootID: "bbb", files: c})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"aaa": "aaa later", "b": "bbb boot", "ab": "abc boot", "6.1": "aaa later", "6.12": "bbb boot",
		LastGood: "aaa boot", Current: "bbb boot",
	} {
		got, err := s.Load(id)
		if err != nil {
			t.Errorf("load %s: %v", id, err)
		} else if have := got.Identity.BootID + " " + got.Phase; have != want {
			t.Errorf("load %s: got %s, want %s", id, have, want)
		}
	}
	var many *AmbiguousError
	if _, err := s.Load("a"); !errors.As(err, &many) || len(many.BootIDs) != 2 || many.Hint() == "" {
		t.Errorf("load a: got %v", err)
	}
	for _, id := range []string{"", "zzz", "6", "../last-good", "aaa.json", "aaab"} {
		var none *NotFoundError
		if _, err := s.Load(id); !errors.As(err, &none) || none.Hint() == "" {
			t.Errorf("load %q: got %v", id, err)
		}
	}
}

func TestEmptyStoreIsReadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LastGood(); !errors.Is(err, ErrNone) {
		t.Errorf("last good of nothing: %v", err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 0 {
		t.Errorf("list of nothing: %v, %v", entries, err)
	}
	for _, id := range []string{Current, "x"} {
		var none *NotFoundError
		if _, err := s.Load(id); !errors.As(err, &none) {
			t.Errorf("load %s from nothing: %v", id, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made the folder: %v", err)
	}
}

func TestWritingNeedsTheLock(t *testing.T) {
	s, err := Open(memDir, Options{files: lived(t)})
	if err != nil {
		t.Fatal(err)
	}
	_, saveErr := s.Save(snap("x", "6", "boot", day), nil)
	_, acceptErr := s.Accept("aaa", "root")
	_, pruneErr := s.Prune(1, 1)
	for name, err := range map[string]error{"save": saveErr, "accept": acceptErr, "prune": pruneErr, "event": s.AppendEvent(Event{Type: "hold"})} {
		if !errors.Is(err, ErrNotLocked) {
			t.Errorf("%s without the lock: %v", name, err)
		}
	}
}

func TestSaveRefusesUnfitBootIDs(t *testing.T) {
	s := memStore(t, newCrashFS())
	for _, id := range []string{"", "..", "a/b", "a.b", "-a", LastGood, Current, strings.Repeat("a", maxBootID+1), "ä"} {
		if kept, err := s.Save(snap(id, "6", "boot", day), nil); err == nil || kept != "" {
			t.Errorf("boot id %q was saved as %q", id, kept)
		}
	}
}

func TestListShowsVerdictsAndMarks(t *testing.T) {
	s := memStore(t, lived(t))
	bad := &Result{Verdict: snapshot.Regressed, Exit: 1, Critical: 2, Warning: 1, Took: 0.7, Summary: strings.Repeat("ä", maxSummary)}
	if _, err := s.Save(snap("cur", "6.16", "boot", day.Add(-9000*time.Hour)), bad); err != nil { // a clock without a battery
		t.Fatal(err)
	}
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		line := e.BootID + " " + e.Release + " " + string(e.Result.Verdict)
		if e.LastGood {
			line += " last-good by " + e.By
		}
		if e.Current {
			line += " current"
		}
		if e.Size == 0 || e.Checked.IsZero() {
			t.Errorf("%s: size %d, checked %v", e.BootID, e.Size, e.Checked)
		}
		got = append(got, line)
	}
	want := []string{"cur 6.16 regressed current", "bbb 6.12 good", "abc 6.12 good", "aaa 6.1 good last-good by learned"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	r := entries[0].Result
	if r.Critical != 2 || r.Exit != 1 || len(r.Summary) > maxSummary+4 || strings.ContainsRune(r.Summary, '\uFFFD') {
		t.Errorf("result came back as %+v", *r)
	}
}

func TestListWithoutTimeline(t *testing.T) {
	c := lived(t)
	s := memStore(t, c)
	if _, err := s.Save(snap("cur", "6.16", "boot", day.Add(-9000*time.Hour)), nil); err != nil {
		t.Fatal(err)
	}
	delete(c.seen, filepath.Join(memDir, eventsFile))
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.BootID)
		if e.Result != nil {
			t.Errorf("boot %s has result %+v from nowhere", e.BootID, *e.Result)
		}
	}
	if d := cmp.Diff([]string{"cur", "bbb", "abc", "aaa"}, got); d != "" {
		t.Errorf("order by clock (-want +got):\n%s", d)
	}
}

func TestUnreadableIsNotAbsent(t *testing.T) {
	for _, name := range []string{lastGoodFile, eventsFile} {
		c := lived(t)
		c.readFault[filepath.Join(memDir, name)] = syscall.EIO
		s := memStore(t, c)
		entries, err := s.List()
		var fe *FileError
		if !errors.As(err, &fe) || !strings.HasSuffix(fe.Path, name) || fe.Hint() == "" {
			t.Errorf("%s unreadable: list says %v", name, err)
		}
		if len(entries) != 3 {
			t.Errorf("%s unreadable: the list has %d boots", name, len(entries))
		}
	}
	c := lived(t)
	c.readFault[filepath.Join(memDir, lastGoodFile)] = syscall.EIO
	s := memStore(t, c)
	if _, _, err := s.LastGood(); err == nil || errors.Is(err, ErrNone) || isLost(err) {
		t.Errorf("unreadable last-good: %v", err)
	}
	if gone, err := s.Prune(1, 1); err == nil || len(gone) > 0 {
		t.Errorf("pruned %v (%v) although the last good boot is not known", gone, err)
	}
	c = lived(t)
	c.readFault[filepath.Join(memDir, bootsDir)] = syscall.EIO
	s = memStore(t, c)
	var none *NotFoundError
	if _, err := s.Load("aaa"); err == nil || errors.As(err, &none) {
		t.Errorf("unreadable folder: load says %v", err)
	}
}

func TestPrune(t *testing.T) {
	for name, test := range map[string]struct {
		keep     int
		maxBytes int64
		want     []string // boots left, newest first
	}{
		"enough of both": {30, DefaultMaxBytes, []string{"cur", "bbb", "abc", "aaa"}},
		"too many":       {3, DefaultMaxBytes, []string{"cur", "bbb", "aaa"}},
		"all but needed": {0, DefaultMaxBytes, []string{"cur", "aaa"}},
		"too large":      {30, 1, []string{"cur", "aaa"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := memStore(t, lived(t))
			if _, err := s.Save(snap("cur", "6.16", "boot", day), nil); err != nil {
				t.Fatal(err)
			}
			removed, err := s.Prune(test.keep, test.maxBytes)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := s.List()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.BootID)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("boots left (-want +got):\n%s", d)
			}
			if len(removed)+len(got) != 4 {
				t.Errorf("says that it removed %v", removed)
			}
			if lg, _, err := s.LastGood(); err != nil || lg.Phase != "boot" {
				t.Errorf("last good afterwards: %v, %v", lg, err)
			}
		})
	}
}

func TestPruneRemovesCopiesThatNothingPointsTo(t *testing.T) {
	c := lived(t)
	s := memStore(t, c)
	if _, err := s.Accept("bbb", "root"); err != nil {
		t.Fatal(err)
	}
	if n := copies(c); n != 2 {
		t.Fatalf("%d accepted copies, want the old and the new one", n)
	}
	if _, err := s.Prune(DefaultKeep, DefaultMaxBytes); err != nil {
		t.Fatal(err)
	}
	if n := copies(c); n != 1 {
		t.Errorf("%d accepted copies after pruning", n)
	}
	if lg, _, err := s.LastGood(); err != nil || lg.Identity.BootID != "bbb" {
		t.Errorf("last good afterwards: %v, %v", lg, err)
	}
}

func copies(c *crashFS) int {
	n := 0
	for name := range c.seen {
		if strings.Contains(name, ".accepted-") {
			n++
		}
	}
	return n
}
