package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoCgroup2 means that no cgroup v2 hierarchy is mounted here.
var ErrNoCgroup2 = errors.New("no cgroup v2 hierarchy is mounted")

// cgroupPrefix begins the name of every folder that a lab makes.
const cgroupPrefix = "lastgood-lab-"

// Cgroup is a private folder of the cgroup v2 hierarchy, below this process' own:
// a service manager that ends the unit ends the folder too. No process that was there
// before ever enters it.
//
// A folder does not go away by itself. Three remove it: Remove; the helper, which
// outlives its parent just long enough to do so (see Serve); and where both were
// killed at once the next OpenCgroup. The programs are attached with bpf links, which
// end with the descriptors of this process, so that what stays till then is an empty
// folder without effect. A restart of the machine leaves none: the hierarchy is in memory.
type Cgroup struct {
	Path string
	fd   int // holds the lock by which others see that the folder is in use
}

// OpenCgroup removes what earlier runs had to leave and makes a folder. The caller
// removes it. The error is ErrNoCgroup2 where there is no hierarchy.
func OpenCgroup() (*Cgroup, error) {
	home, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	removeStale(home)
	path := filepath.Join(home, fmt.Sprintf("%s%d", cgroupPrefix, os.Getpid()))
	// Between making and locking it the folder looks like a stale one to another run.
	for range 3 {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		fd, err := lockFolder(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &Cgroup{Path: path, fd: fd}, nil
	}
	return nil, fmt.Errorf("make cgroup %s: another process removes it", path)
}

// lockFolder opens a folder and takes its lock, which ends with the descriptor. The
// error is ErrNotExist where the folder was removed meanwhile.
func lockFolder(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open cgroup: %w", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("lock cgroup: %w", err)
	}
	var opened, named unix.Stat_t
	err = unix.Fstat(fd, &opened)
	if err == nil {
		err = unix.Stat(path, &named)
	}
	if err == nil && opened.Ino != named.Ino {
		err = os.ErrNotExist
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("look at cgroup: %w", err)
	}
	return fd, nil
}

// removeStale removes folders that nobody holds. The kernel refuses to remove one
// with a process in it.
func removeStale(home string) {
	left, err := filepath.Glob(filepath.Join(home, cgroupPrefix+"*"))
	if err != nil {
		return // only for a bad pattern
	}
	for _, path := range left {
		fd, err := lockFolder(path)
		if err != nil {
			continue // in use, or gone
		}
		// What cannot be removed now is tried again by the next run.
		_ = unix.Rmdir(path)
		unix.Close(fd)
	}
}

// FD is the folder's descriptor, for attaching.
func (c *Cgroup) FD() int { return c.fd }

// Remove removes the folder, once no process is in it any more.
func (c *Cgroup) Remove() error {
	defer unix.Close(c.fd)
	if err := unix.Rmdir(c.Path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", c.Path, err)
	}
	return nil
}

// ownCgroup is the folder of this process' cgroup in the v2 hierarchy.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup hierarchy: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find own cgroup: %w", err)
	}
	return findCgroup(string(mounts), string(own))
}

// findCgroup reads /proc/self/mountinfo and /proc/self/cgroup, as proc(5) and
// cgroups(7) describe them.
func findCgroup(mounts, own string) (string, error) {
	path := ""
	for line := range strings.Lines(own) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path = rest
		}
	}
	for line := range strings.Lines(mounts) {
		mount, fs, ok := strings.Cut(line, " - ")
		f := strings.Fields(mount)
		if !ok || len(f) < 5 || !strings.HasPrefix(fs, "cgroup2 ") {
			continue
		}
		below, inside := strings.CutPrefix(path, strings.TrimSuffix(f[3], "/"))
		if !inside || strings.Contains(path, "/..") || path == "" {
			return "", fmt.Errorf("find own cgroup: %q is not below the mounted hierarchy %q", path, f[3])
		}
		return filepath.Join(f[4], below), nil
	}
	return "", ErrNoCgroup2
}
