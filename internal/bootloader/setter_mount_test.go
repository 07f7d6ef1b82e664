package bootloader

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts runs the test once more in a process with mounts of its own, which go with it, and reports whether this is that process.
func ownMounts(t *testing.T) bool {
	t.Helper()
	const mark = "LASTGOOD_TEST_MOUNTS"
	if os.Getenv(mark) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 && !strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
		t.Skip("file systems are mounted by root alone")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// bootOn moves a host's /boot to a small file system.
func bootOn(t *testing.T, w *Setter, dir string) string {
	t.Helper()
	boot := filepath.Join(dir, "boot")
	keep := t.TempDir()
	if err := errors.Join(os.CopyFS(keep, os.DirFS(boot)), unix.Mount("tmpfs", boot, "tmpfs", 0, "size=256k"), os.CopyFS(boot, os.DirFS(keep))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(boot, unix.MNT_DETACH) })
	if why, err := w.Able(t.Context()); why != "" || err != nil {
		t.Fatalf("on a file system of its own: %q, %v", why, err)
	}
	return boot
}

// TestBootIsFull: the block is changed in place, which takes no room.
func TestBootIsFull(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	w, dir := onDisk(t, hostNamed(t, "debian saved"))
	boot := bootOn(t, w, dir)
	f, err := os.Create(filepath.Join(boot, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := w.SetDefault(t.Context(), "6.1.0-31-amd64"); err != nil {
		t.Fatal(err)
	}
	if have := nextRelease(t, w); have != "6.1.0-31-amd64" {
		t.Errorf("the default is %s", have)
	}
}

// TestBootIsReadOnly: it is said, and nothing is changed.
func TestBootIsReadOnly(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	w, dir := onDisk(t, hostNamed(t, "debian saved"))
	boot := bootOn(t, w, dir)
	if err := unix.Mount("tmpfs", boot, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if why, err := w.Able(t.Context()); err != nil || !strings.Contains(why, "mounted read-only") {
		t.Errorf("%q, %v", why, err)
	}
	if err := w.SetDefault(t.Context(), "6.1.0-31-amd64"); err == nil || !strings.Contains(err.Error(), "mounted read-only") {
		t.Errorf("%v", err)
	}
	if have := nextRelease(t, w); have != "6.1.0-30-amd64" {
		t.Errorf("the default is %s", have)
	}
}

// TestBlockIsALink: within one file system GRUB follows it, to another one it does not.
func TestBlockIsALink(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	w, dir := onDisk(t, hostNamed(t, "debian saved"))
	boot := bootOn(t, w, dir)
	block, near, far := filepath.Join(boot, "grub/grubenv"), filepath.Join(boot, "block"), filepath.Join(dir, "block")
	b, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{near, far} {
		if err := errors.Join(os.WriteFile(to, b, 0o644), os.Remove(block), os.Symlink(to, block)); err != nil {
			t.Fatal(err)
		}
		err := w.SetDefault(t.Context(), "6.1.0-31-amd64")
		switch {
		case to == near && err != nil:
			t.Error(err)
		case to == far && (err == nil || !strings.Contains(err.Error(), "on another file system")):
			t.Errorf("%v", err)
		}
		if info, err := os.Lstat(block); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link was replaced: %v", err)
		}
	}
	if have, err := os.ReadFile(far); err != nil || string(have) != string(b) {
		t.Errorf("what GRUB does not see was changed: %v", err)
	}
}
