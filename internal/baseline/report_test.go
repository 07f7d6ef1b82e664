package baseline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSaveReport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	doc := json.RawMessage(`{"schema": "x/v1", "n": 1}`)
	if err := s.SaveReport(doc); !errors.Is(err, ErrNotLocked) {
		t.Errorf("without the lock: %v", err)
	}
	if err := s.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SaveReport(doc); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveReport(json.RawMessage(`{"n": "` + strings.Repeat("a", maxDocument) + `"}`)); err == nil {
		t.Error("one that is too large to be read again was kept")
	}
	var have struct{ N int }
	if err := OpenFolder(dir, nil).Get(ReportFile, &have, false); err != nil || have.N != 1 {
		t.Errorf("kept %+v, %v", have, err)
	}
}

// What root writes is readable by the group of the state folder.
func TestGroupOfTheFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder another group needs root")
	}
	const gid = 12345
	dir := filepath.Join(t.TempDir(), "state")
	if err := errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, 0, gid)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SaveReport(json.RawMessage(`{"n": 1}`)); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{bootsDir: dirMode | os.ModeDir, ReportFile: fileMode} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Gid != gid || info.Mode() != mode {
			t.Errorf("%s is of group %d, mode %v", name, st.Gid, info.Mode())
		}
	}
}
