package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is its own helper.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == HelperCommand {
		if err := Serve(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestFindCgroup(t *testing.T) {
	const mounts = "25 1 0:23 / / rw - ext4 /dev/vda rw\n30 25 0:26 %s %s rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	for name, c := range map[string]struct{ root, at, own, want string }{
		"unified":        {"/", "/sys/fs/cgroup", "0::/system.slice/lastgood.service\n", "/sys/fs/cgroup/system.slice/lastgood.service"},
		"root":           {"/", "/sys/fs/cgroup", "0::/\n", "/sys/fs/cgroup"},
		"hybrid":         {"/", "/sys/fs/cgroup/unified", "1:name=systemd:/a\n0::/b\n", "/sys/fs/cgroup/unified/b"},
		"part of it":     {"/pod", "/sys/fs/cgroup", "0::/pod/x\n", "/sys/fs/cgroup/x"},
		"outside of it":  {"/pod", "/sys/fs/cgroup", "0::/other\n", ""},
		"outside of all": {"/", "/sys/fs/cgroup", "0::/../x\n", ""},
		"v1 only":        {"/", "/sys/fs/cgroup", "1:name=systemd:/a\n", ""},
	} {
		got, err := findCgroup(fmt.Sprintf(mounts, c.root, c.at), c.own)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	if _, err := findCgroup("25 1 0:23 / / rw - ext4 /dev/vda rw\n", "0::/\n"); !errors.Is(err, ErrNoCgroup2) {
		t.Errorf("nothing mounted: %v", err)
	}
}

func openCgroup(t *testing.T) *Cgroup {
	t.Helper()
	c, err := OpenCgroup()
	switch {
	case err == nil:
		return c
	case errors.Is(err, ErrNoCgroup2), errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Fatal(err)
	return nil
}

// TestStaleFoldersGo, and those in use stay.
func TestStaleFoldersGo(t *testing.T) {
	c := openCgroup(t)
	stale := filepath.Join(filepath.Dir(c.Path), cgroupPrefix+"1-of-a-test")
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	removeStale(filepath.Dir(c.Path))
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that nobody holds: %v", err)
	}
	if _, err := os.Stat(c.Path); err != nil {
		t.Errorf("a folder in use is gone: %v", err)
	}
	if err := c.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
}

// TestTheHelperIsConfined: it is in the cgroup and in the namespace, does what it is
// told, and takes the folder along.
func TestTheHelperIsConfined(t *testing.T) {
	l := openLab(t)
	c := openCgroup(t)
	l.Do(func() {
		h, err := StartHelper(c)
		if err != nil {
			t.Error(err)
			return
		}
		pids, err := os.ReadFile(filepath.Join(c.Path, "cgroup.procs"))
		if want := fmt.Sprintf("%d\n", h.cmd.Process.Pid); err != nil || string(pids) != want {
			t.Errorf("in the cgroup: %q, %v, want %q", pids, err, want)
		}
		if d, err := h.Do(Act{Deed: LoopUDP, To: netip.MustParseAddrPort("127.0.0.1:77"), Data: []byte("there")}); err != nil || string(d.Data) != "there" {
			t.Errorf("datagram: %+v, %v", d, err)
		}
		if d, err := h.Do(Act{Deed: OpenFile, Path: "/nowhere"}); err != nil || d.Errno != unix.ENOENT {
			t.Errorf("open: %+v, %v", d, err)
		}
		if d, err := h.Do(Act{Deed: Connect, To: netip.MustParseAddrPort("127.0.0.1:78")}); err != nil || d.Errno != unix.ECONNREFUSED {
			t.Errorf("connect: %+v, %v", d, err)
		}
		if _, err := h.Do(Act{Deed: "no such thing"}); err == nil {
			t.Error("a deed that is not known was done")
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(c.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the helper left the folder: %v", err)
	}
	if err := c.Remove(); err != nil {
		t.Error(err)
	}
}

func TestServeRefusesOtherFolders(t *testing.T) {
	for _, folder := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/" + cgroupPrefix} {
		if err := Serve(folder, strings.NewReader(""), os.Stderr); err == nil {
			t.Errorf("%s: the helper would enter it", folder)
		}
	}
}

// FuzzFindCgroup: whatever the two files say, a folder that is found lies below a mount
// and has no way up in it.
func FuzzFindCgroup(f *testing.F) {
	f.Add("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "0::/system.slice/a.service\n")
	f.Add("42 32 0:39 /docker/x /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n", "12:cpu:/\n0::/docker/x/y\n")
	f.Add("1 2 0:3 / /mnt - cgroup2 none rw", "0::/../..")
	f.Add(" - cgroup2 ", "0::")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		path, err := findCgroup(mounts, own)
		if (err == nil) == (path == "") {
			t.Errorf("%q, %v", path, err)
		}
	})
}
