package baseline

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplanationsAreKept(t *testing.T) {
	s := objectStore(t)
	key, other := ExplanationKey{"31d8fd3deff0be40", "abcd"}, ExplanationKey{"31d8fd3deff0be40", "ef01"}
	if _, err := s.Explanation(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none is kept: %v", err)
	}
	for _, k := range []ExplanationKey{key, other, key} {
		if err := s.PutExplanation(k, json.RawMessage(`{"program":"`+k.BuildID+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []ExplanationKey{key, other} {
		b, err := s.Explanation(k)
		var e struct{ Program string }
		if jerr := json.Unmarshal(b, &e); err != nil || jerr != nil || e.Program != k.BuildID {
			t.Errorf("%v: %s, %v, %v", k, b, err, jerr)
		}
	}
	if err := s.PruneExplanations([]ExplanationKey{other}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Explanation(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pruned: %v", err)
	}
	if _, err := s.Explanation(other); err != nil {
		t.Errorf("not pruned: %v", err)
	}
}

func TestExplanationKeysAreDigests(t *testing.T) {
	s := objectStore(t)
	for _, k := range []ExplanationKey{{}, {"ab", ""}, {"", "ab"}, {"../../last-good", "ab"}, {"abc", "ab"}, {strings.Repeat("ab", 100), "ab"}} {
		if err := s.PutExplanation(k, json.RawMessage(`{}`)); err == nil || !strings.Contains(err.Error(), "no digests") {
			t.Errorf("%v is kept: %v", k, err)
		}
		if _, err := s.Explanation(k); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is read: %v", k, err)
		}
	}
}

func TestExplanationsAreBounded(t *testing.T) {
	s := objectStore(t)
	long := json.RawMessage(`{"text":"` + strings.Repeat("x", maxExplanation) + `"}`)
	if err := s.PutExplanation(ExplanationKey{"aa", "bb"}, long); err == nil || !strings.Contains(err.Error(), "none has more than") {
		t.Errorf("a long one: %v", err)
	}
	if err := s.PutExplanation(ExplanationKey{"aa", "bb"}, json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(s.dir, explanationsDir, "aa-bb.json"), maxExplanations); err != nil {
		t.Fatal(err)
	}
	if err := s.PutExplanation(ExplanationKey{"cc", "bb"}, json.RawMessage(`{}`)); !errors.Is(err, ErrNoRoom) {
		t.Errorf("beyond the bound: %v", err)
	}
	if err := s.PutExplanation(ExplanationKey{"aa", "bb"}, json.RawMessage(`{}`)); err != nil {
		t.Errorf("in the place of the large one: %v", err)
	}
}

func TestDamagedExplanationIsMovedAside(t *testing.T) {
	key := ExplanationKey{"aa", "bb"}
	for name, spoil := range map[string]func(string) error{
		"a byte":  func(p string) error { return flipByte(p) },
		"cut":     func(p string) error { return os.Truncate(p, 40) },
		"empty":   func(p string) error { return os.Truncate(p, 0) },
		"huge":    func(p string) error { return os.Truncate(p, maxExplanation+1) },
		"another": func(p string) error { return os.Rename(filepath.Join(filepath.Dir(p), "cc-dd.json"), p) },
	} {
		t.Run(name, func(t *testing.T) {
			s := objectStore(t)
			for _, k := range []ExplanationKey{key, {"cc", "dd"}} {
				if err := s.PutExplanation(k, json.RawMessage(`{"program":"p"}`)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(s.dir, explanationsDir, key.file())
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			_, err := s.Explanation(key)
			var d *DamagedError
			if !errors.As(err, &d) || d.MovedTo == "" {
				t.Fatalf("%v", err)
			}
			if len(s.Damaged()) != 1 {
				t.Errorf("said: %q", s.Damaged())
			}
			if _, err := s.Explanation(key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func flipByte(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o640)
}
