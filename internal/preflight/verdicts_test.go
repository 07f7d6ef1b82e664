package preflight

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// aged sets how long ago a file was written or used.
func aged(t *testing.T, name string, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

// writeAged writes a file as if that long ago, and returns its path.
func writeAged(t *testing.T, dir, name, text string, ago time.Duration) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	aged(t, p, ago)
	return p
}

func reports(t *testing.T, v Verdicts) []string {
	t.Helper()
	all, err := v.All()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range all {
		out = append(out, string(b))
	}
	return out
}

func TestVerdictsNewestFirst(t *testing.T) {
	v := Verdicts{filepath.Join(t.TempDir(), "state", "preflight")}
	if got := reports(t, v); got != nil {
		t.Errorf("no folder yet: %q", got)
	}
	for i, r := range []string{"6.1.3", "6.1.1", "6.1.2"} {
		if err := v.Keep(r, []byte(r)); err != nil {
			t.Fatal(err)
		}
		aged(t, filepath.Join(v.Dir, r+".json"), time.Duration(10-i)*time.Minute)
	}
	if got, want := reports(t, v), []string{"6.1.2", "6.1.1", "6.1.3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// A kernel that is judged again has one report, and it is the newest.
	if err := v.Keep("6.1.3", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if got, want := reports(t, v), []string{"again", "6.1.2", "6.1.1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestVerdictsForgetTheOldest(t *testing.T) {
	v := Verdicts{t.TempDir()}
	for i := range maxVerdicts + 3 {
		r := fmt.Sprintf("6.1.%d", i)
		if err := v.Keep(r, []byte(r)); err != nil {
			t.Fatal(err)
		}
		aged(t, filepath.Join(v.Dir, r+".json"), time.Hour-time.Duration(i)*time.Minute)
	}
	got := reports(t, v)
	if len(got) != maxVerdicts || got[0] != fmt.Sprintf("6.1.%d", maxVerdicts+2) || got[maxVerdicts-1] != "6.1.3" {
		t.Errorf("%d reports: %q", len(got), got)
	}
}

func TestVerdictsRefuseBadNames(t *testing.T) {
	v := Verdicts{filepath.Join(t.TempDir(), "a", "b")}
	for _, bad := range []string{"", ".", "..", "../6.1", "a/b", "/etc/passwd", "-v", ".new-1", "6.1 x", "6.1\n", "6.1\x00", "é", strings.Repeat("6", 122)} {
		if err := v.Keep(bad, []byte("{}")); err == nil || !strings.Contains(err.Error(), "is no kernel release") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
	if _, err := os.Lstat(filepath.Dir(v.Dir)); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
	for _, good := range []string{"6.1.0-56-amd64", "5.14.0-611.el9.x86_64+rt", "6.12~rc5", strings.Repeat("6", 121)} {
		if err := v.Keep(good, []byte("{}")); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// TestVerdictsGiveWhatIsThere: a damaged report is for the caller to notice, who knows
// what one looks like; what is no report's file is passed over.
func TestVerdictsGiveWhatIsThere(t *testing.T) {
	v := Verdicts{t.TempDir()}
	for i, f := range []struct{ name, text string }{
		{"6.1.1.json", "{}"}, {"6.1.2.json", "{\"trunc"}, {"6.1.3.json", ""}, {".new-123", "half"}, {"readme", "x"},
	} {
		writeAged(t, v.Dir, f.name, f.text, time.Duration(i)*time.Minute)
	}
	if err := os.Truncate(writeAged(t, v.Dir, "6.1.4.json", "", 0), maxVerdict+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(v.Dir, "6.1.5.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(v.Dir, "6.1.6.json")); err != nil {
		t.Fatal(err)
	}
	if got, want := reports(t, v), []string{"{}", "{\"trunc", ""}; !slices.Equal(got, want) {
		t.Errorf("%.40q, want %q", got, want)
	}
}

func TestVerdictsUnreadableFolderIsNoEmptyFolder(t *testing.T) {
	v := Verdicts{writeAged(t, t.TempDir(), "file", "", 0)}
	if all, err := v.All(); err == nil {
		t.Errorf("reports of a file: %q", all)
	}
	if err := v.Keep("6.1.1", nil); err == nil {
		t.Error("a report was kept in a file")
	}
}
