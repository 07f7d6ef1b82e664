package preflight

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Verdicts is a folder of the newest report on each candidate, one file a kernel:
// what a hook found out while nobody looked is shown by `lastgood check` later.
type Verdicts struct{ Dir string }

// maxVerdicts bounds how many kernels are remembered, and maxVerdict one report.
const (
	maxVerdicts = 32
	maxVerdict  = 16 << 20
)

// fileRelease is a kernel release that may be a file's name.
var fileRelease = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_~-]{0,120}$`)

// Keep keeps a report on a kernel and forgets the oldest ones.
func (v Verdicts) Keep(release string, report []byte) error {
	if !fileRelease.MatchString(release) {
		return fmt.Errorf("keep report: %q is no kernel release", release)
	}
	if len(report) > maxVerdict {
		return fmt.Errorf("keep report on %s: %d bytes are more than %d", release, len(report), maxVerdict)
	}
	if err := writeAtomic(v.Dir, release+".json", report); err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	names, err := v.newestFirst()
	if err != nil {
		return err
	}
	for _, name := range names[min(len(names), maxVerdicts):] {
		if err := os.Remove(filepath.Join(v.Dir, name)); err != nil {
			return fmt.Errorf("forget report: %w", err)
		}
	}
	return nil
}

// All returns the reports, the newest first. A folder that is not there has none.
func (v Verdicts) All() ([][]byte, error) {
	names, err := v.newestFirst()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(v.Dir, name))
		if err != nil {
			return out, fmt.Errorf("read report: %w", err)
		}
		if len(b) <= maxVerdict {
			out = append(out, b)
		}
	}
	return out, nil
}

func (v Verdicts) newestFirst() ([]string, error) {
	entries, err := os.ReadDir(v.Dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read reports: %w", err)
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if st, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".json") && st.Mode().IsRegular() {
			files = append(files, st)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var names []string
	for _, st := range files {
		names = append(names, st.Name())
	}
	return names, nil
}
