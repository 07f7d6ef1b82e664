// Package systemvm holds the tests of the whole: a Debian with systemd, D-Bus, logind, GRUB or systemd-boot
// and two stock kernels, on which lastgood was installed by dpkg, boots in a virtual machine
// and is driven through good boots, holds, rollbacks, silent fallbacks, faults of lastgood's
// own and power cuts. It has tests only.
package systemvm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// scratch is the folder of what the tests of this process share.
var scratch = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "lastgood-system-") })

func TestMain(m *testing.M) {
	status := m.Run()
	if dir, err := scratch(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// tools are what a machine is made with and run by, and the packages they are in.
var tools = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap", "apt-get": "apt",
	"mke2fs": "e2fsprogs", "sfdisk": "fdisk", "chroot": "coreutils", "tar": "tar", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
}

// needVM skips where such a machine cannot be made, or fails where a VM is required.
func needVM(t *testing.T) {
	t.Helper()
	skip := t.Skipf
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "vm") {
		skip = t.Fatalf
	} else if testing.Short() {
		t.Skip("boots a whole system, which is no short test")
	}
	if os.Geteuid() != 0 {
		skip("a Debian is unpacked by root only")
	}
	for tool, in := range tools {
		if _, err := find(tool); err != nil {
			skip("%s is not installed (package %s)", tool, in)
		}
	}
	if _, _, err := ovmf(); err != nil {
		skip("%v", err)
	}
}

// find looks for a program, also where it is root's.
func find(tool string) (string, error) {
	p, err := exec.LookPath(tool)
	if err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, ferr := exec.LookPath(filepath.Join(dir, tool)); ferr == nil {
			return p, nil
		}
	}
	return "", err
}

// command runs a program of the host to its end.
func command(dir, tool string, args ...string) (string, error) {
	p, err := find(tool)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(p, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run %s %s: %w\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
