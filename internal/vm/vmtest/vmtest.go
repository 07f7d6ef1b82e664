// Package vmtest is for tests that boot guests: what they need of the machine, the folders that they share, and the
// binaries that run in a guest. Nothing but tests imports it.
package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Need skips a test where there is no QEMU, no Debian client or no Go, or fails it where a VM is required
// (LASTGOOD_REQUIRE has "vm" in it). A short run boots nothing.
func Need(t *testing.T) {
	t.Helper()
	skip := t.Skipf
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "vm") {
		skip = t.Fatalf
	} else if testing.Short() {
		t.Skip("boots kernels, which is no short test")
	}
	for _, tool := range []string{"qemu-system-x86_64", "apt-get", "dpkg", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("%s is not installed", tool)
		}
	}
}

// Scratch are the folders that all tests of one process share, which may run side by side. The zero value has none.
type Scratch struct {
	mu   sync.Mutex
	dirs []string
}

// Folder makes a folder whose name begins so. TMPDIR says where.
func (s *Scratch) Folder(prefix string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, err := os.MkdirTemp("", prefix)
	if err == nil {
		s.dirs = append(s.dirs, dir)
	}
	return dir, err
}

// Remove removes all of them, when the tests are over.
func (s *Scratch) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range s.dirs {
		os.RemoveAll(dir)
	}
	s.dirs = nil
}

// Tests builds the tests of a package, without libraries: as they are they run in a guest, as its first process.
func (s *Scratch) Tests(pkg string) (string, error) { return s.build(pkg, "test", "-c") }

// Command builds a command as it is shipped.
func (s *Scratch) Command(pkg string) (string, error) { return s.build(pkg, "build", "-trimpath") }

func (s *Scratch) build(pkg string, how ...string) (string, error) {
	dir, err := s.Folder("lastgood-built-")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", append(how, "-ldflags", "-s -w", "-o", name, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return name, nil
}
