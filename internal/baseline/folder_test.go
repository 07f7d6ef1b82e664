package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

type document struct {
	Step string `json:"step"`
	Note string `json:"note"`
}

func memFolder(c *crashFS) *Folder {
	return &Folder{dir: memDir, fl: c, now: func() time.Time { return day }}
}

// TestFolderPowerCut cuts the power, and spoils the disk, at every operation of a write:
// the document is the old or the new one, or there is none where there was none.
func TestFolderPowerCut(t *testing.T) {
	for _, first := range []bool{true, false} {
		for _, fault := range []error{errPowerCut, syscall.ENOSPC, syscall.EIO} {
			start := newCrashFS()
			if !first {
				if err := memFolder(start).Put(GateFile, document{"idle", "old"}); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			for k := 1; ; k++ {
				c := start.clone()
				c.failAt, c.fault, c.sticky = k, fault, true
				err := memFolder(c).Put(GateFile, document{"held", "new"})
				if err == nil && c.n < k {
					break
				}
				n++
				for how, after := range c.aftermaths() {
					checkDocument(t, fmt.Sprintf("first %v, %v at %d, %s", first, fault, k, how), memFolder(after), first)
				}
			}
			if n < 4 {
				t.Errorf("only %d operations could fail", n)
			}
		}
	}
}

func checkDocument(t *testing.T, where string, f *Folder, first bool) {
	t.Helper()
	var d document
	switch err := f.Get(GateFile, &d, true); {
	case first && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.Fatalf("%s: %v", where, err)
	case d.Note != "new" && (first || d.Note != "old"):
		t.Fatalf("%s: %+v", where, d)
	}
	if err := f.Tidy(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if left := f.fl.(*crashFS).temps(); len(left) > 0 {
		t.Fatalf("%s: left %v", where, left)
	}
	if err := f.Put(GateFile, document{"idle", "later"}); err != nil {
		t.Fatalf("%s: the next write: %v", where, err)
	}
}

func TestFolderDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "spool")
	f := OpenFolder(dir, nil)
	l, err := f.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	var busy *LockedError
	if _, err := f.Lock("lock"); !errors.As(err, &busy) {
		t.Errorf("a second lock: %v", err)
	}
	l.Close()
	if err := f.Put("a.json", document{Step: "held"}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "a.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(b), "held", "idle", 1)), 0o640); err != nil {
		t.Fatal(err)
	}
	var d document
	var damaged *DamagedError
	if err := f.Get("a.json", &d, true); !errors.As(err, &damaged) || damaged.MovedTo == "" {
		t.Fatalf("an edited document: %v", err)
	}
	if kept, err := os.ReadFile(damaged.MovedTo); err != nil || !strings.Contains(string(kept), "idle") {
		t.Errorf("kept %q, %v", kept, err)
	}
	if names, err := f.Names(); err != nil || len(names) != 1 || names[0] != "a.json" {
		t.Errorf("names %v, %v", names, err)
	}
	if err := f.Remove("a.json"); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove("a.json"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if names, err := OpenFolder(filepath.Join(dir, "none"), nil).Names(); err != nil || names != nil {
		t.Errorf("an absent folder has %v, %v", names, err)
	}
}
