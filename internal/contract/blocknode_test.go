package contract

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// opener names the variable in whose presence this test's own binary opens a node for TestDeviceCgroup.
const opener = "LASTGOOD_TEST_OPENS"

// TestDeviceCgroup: what the device cgroup refuses answers EPERM, which is no owner's or label's EACCES.
func TestDeviceCgroup(t *testing.T) {
	if node := os.Getenv(opener); node != "" {
		bufio.NewReader(os.Stdin).ReadByte() // until it is in the cgroup
		errno, err := tryOpen(node)
		fmt.Println(errno, err)
		return
	}
	const devices = "/sys/fs/cgroup/devices" // of cgroup v1; v2's is a BPF program, which the probes try
	if _, err := os.Stat(devices + "/cgroup.procs"); err != nil {
		t.Skipf("this host has no device cgroup of version 1: %v", err)
	}
	dir, err := os.MkdirTemp(devices, "lastgood-test-")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("a cgroup cannot be made: %v", err)
	}
	defer os.Remove(dir) // a cgroup goes where no process is in it
	const null = "/dev/null"
	if err := os.WriteFile(filepath.Join(dir, "devices.deny"), []byte("c 1:3 rwm"), 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDeviceCgroup$")
	cmd.Env = append(os.Environ(), opener+"="+null)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", cmd.Process.Pid), 0)
	_, werr := io.WriteString(in, "x")
	in.Close()
	if werr := cmd.Wait(); err != nil || werr != nil {
		t.Fatalf("%v, %v: %s", err, werr, out.String())
	}
	if werr != nil || !strings.HasPrefix(out.String(), "EPERM <nil>\n") {
		t.Errorf("%s answered %q", null, out.String())
	}
	if errno, err := tryOpen(null); errno != "yes" || err != nil {
		t.Errorf("outside of the cgroup: %s, %v", errno, err)
	}
}

// TestOwnerRefuses: what the permission bits refuse answers EACCES.
func TestOwnerRefuses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "node")
	if err := os.WriteFile(name, nil, 0); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what it gave up
		if os.Getuid() == 0 {
			// Without the capability that reads everything root is held to the bits like anybody else.
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&hdr, &none[0]); err != nil {
				got <- err.Error()
				return
			}
		}
		errno, err := tryOpen(name)
		got <- fmt.Sprint(errno, " ", err)
	}()
	if have := <-got; have != "EACCES <nil>" {
		t.Errorf("have %s", have)
	}
}

// TestSELinuxLabel: the label is read where there is one, and a node without is one without.
func TestSELinuxLabel(t *testing.T) {
	dir := t.TempDir()
	labelled, plain := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, name := range []string{labelled, plain} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const label = "system_u:object_r:fixed_disk_device_t:s0"
	if err := unix.Setxattr(labelled, "security.selinux", []byte(label+"\x00"), 0); err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("a label cannot be set: %v", err)
	}
	for name, want := range map[string]string{labelled: label, plain: ""} {
		have, err := statNode(name)
		if err != nil || have.label != want && !(want == "" && selinux(t)) {
			t.Errorf("%s: %+v, %v", name, have, err)
		}
	}
}

// selinux reports whether this host gives every file a label.
func selinux(t *testing.T) bool {
	t.Helper()
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}
