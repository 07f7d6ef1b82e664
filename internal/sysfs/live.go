package sysfs

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Live is this host.
func Live() *Root {
	r := New(liveFS{})
	r.live = true
	return r
}

type liveFS struct{}

// ReadFile uses plain system calls: package os would hand a file that answers
// EAGAIN (broken hwmon drivers do) to the poller, which waits for ever.
func (liveFS) ReadFile(name string, max int) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	size := PageSize
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size > PageSize {
		// Where the size is known (type information of the kernel, files of /etc), growing
		// to it step by step would cost twice as much memory. One more shows the end.
		size = int(min(st.Size+1, int64(max)))
	}
	buf := make([]byte, 0, min(max, size))
	for len(buf) < max {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(cap(buf), max-len(buf)))
		}
		room := buf[len(buf):min(cap(buf), max)]
		n, err := retry(func() (int, error) { return unix.Read(fd, room) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	return buf, nil
}

func (liveFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (liveFS) Readlink(name string) (string, error) { return os.Readlink(name) }

func (liveFS) Exists(name string) (bool, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Lstat(name, &st) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}

// retry repeats an operation that a signal cut short.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
