package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sampled is a store that is locked, with a folded document and two lines after it.
func sampled(t *testing.T, c *crashFS) *Store {
	t.Helper()
	s := memStore(t, c)
	if err := s.FoldHistory("aaa", map[string]any{"schema": "x", "n": 1}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{`{"n":2}`, `{"n":3}`} {
		if err := s.AppendHistory("aaa", []byte(l)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestHistory(t *testing.T) {
	s := sampled(t, newCrashFS())
	doc, lines, err := s.History("aaa")
	if err != nil || !bytes.Contains(doc, []byte(`"n":1`)) || len(lines) != 2 || string(lines[1]) != `{"n":3}` {
		t.Errorf("%s, %q, %v", doc, lines, err)
	}
	if err := s.FoldHistory("aaa", map[string]int{"n": 3}); err != nil {
		t.Fatal(err)
	}
	if doc, lines, err = s.History("aaa"); err != nil || len(lines) != 0 || !bytes.Contains(doc, []byte(`"n":3`)) {
		t.Errorf("folded: %s, %q, %v", doc, lines, err)
	}
	if boots, err := s.Histories(); err != nil || len(boots) != 1 || boots[0] != "aaa" {
		t.Errorf("boots %v, %v", boots, err)
	}
	if doc, lines, err := s.History("none"); doc != nil || lines != nil || err != nil {
		t.Errorf("of no boot: %s, %q, %v", doc, lines, err)
	}
	for _, bad := range []string{"", "../x", "a/b"} {
		if _, _, err := s.History(bad); err == nil {
			t.Errorf("history of %q", bad)
		}
		if err := s.AppendHistory(bad, []byte("x")); err == nil {
			t.Errorf("append to %q", bad)
		}
		if err := s.FoldHistory(bad, 1); err == nil {
			t.Errorf("fold of %q", bad)
		}
	}
	if err := s.AppendHistory("aaa", []byte("a\nb")); err == nil {
		t.Error("a line of two lines")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendHistory("aaa", []byte("x")); !errors.Is(err, ErrNotLocked) {
		t.Errorf("without the lock: %v", err)
	}
}

// Damage is moved aside and reported; what is whole is read.
func TestHistoryDamage(t *testing.T) {
	c := newCrashFS()
	s := sampled(t, c)
	name := memDir + "/thermal/aaa"
	c.seen[name+".json"].seen[5] ^= 1
	c.seen[name+".log"].seen[2] ^= 1
	c.seen[name+".log"].seen = append(c.seen[name+".log"].seen, "00000000 {\"n\":4"...) // cut off
	doc, lines, err := s.History("aaa")
	if err != nil || doc != nil || len(lines) != 1 || string(lines[0]) != `{"n":3}` {
		t.Errorf("%s, %q, %v", doc, lines, err)
	}
	told := strings.Join(s.Damaged(), "\n")
	if !strings.Contains(told, "moved to") || !strings.Contains(told, "1 damaged lines") || c.seen[name+".json"] != nil {
		t.Errorf("reported: %s", told)
	}
	if err := s.AppendHistory("aaa", []byte(`{"n":5}`)); err != nil {
		t.Fatal(err)
	}
	if _, lines, err = s.History("aaa"); err != nil || len(lines) != 2 || string(lines[1]) != `{"n":5}` {
		t.Errorf("after a line that was cut off: %q, %v", lines, err)
	}
}

// A history of many boots is bounded, and the boots that have a snapshot stay longest.
func TestHistoriesAreBounded(t *testing.T) {
	s := memStore(t, newCrashFS())
	if _, err := s.Save(snap("b000", "6.1", "boot", day), nil); err != nil {
		t.Fatal(err)
	}
	for n := range maxHistories + 5 {
		if err := s.FoldHistory(fmt.Sprintf("b%03d", n), map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
	}
	boots, err := s.Histories()
	if err != nil || len(boots) != maxHistories || boots[0] != "b000" || boots[len(boots)-1] != fmt.Sprintf("b%03d", maxHistories+4) {
		t.Errorf("%d boots, %v, %v", len(boots), boots, err)
	}
}

func TestOneWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.LockWatch()
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := s.LockWatch(); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second watch: %v", err)
	}
	if err := s.TryLock(); err != nil {
		t.Errorf("a check beside a watch: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.LockWatch()
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// numbers are the samples that a history holds: those folded (1 to n) and those of lines.
func numbers(t *testing.T, s *Store) map[int]bool {
	t.Helper()
	doc, lines, err := s.History("aaa")
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]bool{}
	var v struct{ N int }
	if doc != nil {
		if err := json.Unmarshal(doc, &v); err != nil {
			t.Fatal(err)
		}
	}
	for n := range v.N {
		out[n+1] = true
	}
	for _, l := range lines {
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatal(err)
		}
		out[v.N] = true
	}
	return out
}

// A power cut at any operation loses no sample that was kept before, and leaves no
// damage.
func TestPowerCutKeepsSamples(t *testing.T) {
	start := func(t *testing.T) *crashFS {
		c := newCrashFS()
		sampled(t, c)
		return c.clone()
	}
	for _, a := range []action{
		{"append", start, func(s *Store) error { return s.AppendHistory("aaa", []byte(`{"n":4}`)) }, false},
		{"fold", start, func(s *Store) error { return s.FoldHistory("aaa", map[string]int{"n": 4}) }, false},
	} {
		t.Run(a.name, func(t *testing.T) {
			cuts := 0
			eachFault(t, a, errPowerCut, true, func(k int, c *crashFS, _ error) {
				for how, after := range c.aftermaths() {
					cuts++
					s := memStore(t, after)
					got := numbers(t, s)
					for n := 1; n <= 3; n++ {
						if !got[n] {
							t.Fatalf("power cut at operation %d (%s): sample %d is lost", k, how, n)
						}
					}
					if d := s.Damaged(); len(d) > 0 {
						t.Fatalf("power cut at operation %d (%s): %v", k, how, d)
					}
					if err := s.FoldHistory("aaa", map[string]int{"n": 5}); err != nil {
						t.Fatal(err)
					}
					if left := after.temps(); len(left) > 0 || !numbers(t, s)[5] {
						t.Fatalf("power cut at operation %d (%s): left %v", k, how, left)
					}
				}
			})
			if cuts == 0 {
				t.Fatal("it writes nothing")
			}
		})
	}
}

func FuzzHistoryLog(f *testing.F) {
	f.Add([]byte("c0ffee00 {}\n"), []byte(`{"n":1}`))
	f.Add([]byte("\n\n"), []byte("x"))
	f.Add([]byte("cut o"), []byte(""))
	f.Fuzz(func(t *testing.T, before, line []byte) {
		if bytes.ContainsRune(line, '\n') {
			return
		}
		whole, _ := parseLog(before)
		b := fmt.Appendf(append(bytes.Clone(before), '\n'), "%08x %s\n", crc32.Checksum(line, castagnoli), line)
		lines, _ := parseLog(b)
		if len(lines) < len(whole)+1 || !bytes.Equal(lines[len(lines)-1], line) {
			t.Fatalf("a whole line after %q was not read: %q", before, lines)
		}
	})
}
