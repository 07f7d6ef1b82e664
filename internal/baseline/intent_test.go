package baseline

import (
	"errors"
	"strings"
	"testing"
)

const (
	oldIntent = "{\n \"boot_id\": \"a\"\n}"
	newIntent = "{\n \"boot_id\": \"b\"\n}"
)

func saveIntent(c files, doc string) (moved error, err error) {
	return SaveIntent(memDir, Options{Now: clock(), files: c}, func([]byte) ([]byte, error) { return []byte(doc), nil })
}

func TestIntentIsReplacedWhole(t *testing.T) {
	c := newCrashFS()
	if b, err := readIntent(c, memDir+"/"+intentFile); b != nil || err != nil {
		t.Fatalf("no folder: %q, %v", b, err)
	}
	if _, err := saveIntent(c, oldIntent); err != nil {
		t.Fatal(err)
	}
	saw := ""
	if _, err := SaveIntent(memDir, Options{Now: clock(), files: c}, func(old []byte) ([]byte, error) { saw = string(old); return []byte(newIntent), nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(saw, `"boot_id": "a"`) {
		t.Errorf("the old document was not given: %q", saw)
	}
	if b, err := readIntent(c, memDir+"/"+intentFile); err != nil || !strings.Contains(string(b), `"boot_id": "b"`) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestIntentAfterPowerCut cuts the power at every operation of a save: the old document is there
// then, or the new one.
func TestIntentAfterPowerCut(t *testing.T) {
	for failAt := 1; ; failAt++ {
		c := newCrashFS()
		if _, err := saveIntent(c, oldIntent); err != nil {
			t.Fatal(err)
		}
		c.n, c.failAt, c.fault, c.sticky = 0, failAt, errPowerCut, true
		_, err := saveIntent(c, newIntent)
		for _, names := range []map[string]*inode{c.seen, c.durable} {
			for _, left := range []leftover{allBytes, halfBytes, syncedBytes} {
				back := c.after(names, left)
				b, rerr := readIntent(back, memDir+"/"+intentFile)
				is := func(id string) bool { return strings.Contains(string(b), `"boot_id": "`+id+`"`) }
				if rerr != nil || !is("a") && !is("b") || err == nil && !is("b") {
					t.Errorf("power cut at operation %d (%v): %q, %v", failAt, err, b, rerr)
				}
				if _, err := saveIntent(back, newIntent); err != nil {
					t.Errorf("power cut at operation %d: no save after it: %v", failAt, err)
				}
			}
		}
		if err == nil {
			if failAt < 4 {
				t.Errorf("a save took %d operations", failAt)
			}
			return
		}
	}
}

func TestDamagedIntentIsMovedAside(t *testing.T) {
	c := newCrashFS()
	if _, err := saveIntent(c, oldIntent); err != nil {
		t.Fatal(err)
	}
	i := c.seen[memDir+"/"+intentFile]
	i.seen = append([]byte("x"), i.seen...)
	var d *DamagedError
	if _, err := readIntent(c, memDir+"/"+intentFile); !errors.As(err, &d) {
		t.Fatalf("damage was not seen: %v", err)
	}
	moved, err := saveIntent(c, newIntent)
	if err != nil || !errors.As(moved, &d) || d.MovedTo == "" {
		t.Errorf("moved %v, %v", moved, err)
	}
	if _, err := readIntent(c, memDir+"/"+intentFile); err != nil {
		t.Error(err)
	}
}
