package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Modes: the group may read, so that the part that listens on a socket can show
// results without being root; others see nothing, for snapshots name serials.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// files is the file layer under the store, so that tests can cut the power, or
// fill the disk, between any two operations.
type files interface {
	// Mkdir makes one folder; its parent must be there.
	Mkdir(name string) error
	// Create makes a file that must not be there yet.
	Create(name string) (file, error)
	// Append opens a file at its end, making it where it is absent.
	Append(name string) (file, error)
	// ReadFile reads a whole file, and refuses one larger than max with errTooLarge.
	ReadFile(name string, max int64) ([]byte, error)
	ReadDir(name string) ([]fileInfo, error)
	Rename(old, new string) error
	Remove(name string) error
	// SyncDir makes what was created, renamed or removed in a folder durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock or returns a *LockedError at once. The lock
	// ends with the process, however that ends.
	Lock(name string) (io.Closer, error)
}

type file interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

type fileInfo struct {
	Name string
	Size int64
}

var (
	errTooLarge   = errors.New("larger than lastgood ever writes it")
	errNotRegular = errors.New("no regular file: lastgood writes no links, and follows none here")
)

// osFiles is the real file system.
type osFiles struct{}

func (osFiles) Mkdir(name string) error {
	if err := os.Mkdir(name, dirMode); err != nil {
		return err
	}
	likeFolder(name, func(gid int) error { return os.Chown(name, -1, gid) })
	return os.Chmod(name, dirMode) // whatever the umask is: readers in the group depend on it
}

// likeFolder gives what is new the group of the folder that it is in: the state folder
// is of the group that may read results, and whoever writes is root. Where that may not
// be given, those readers are refused and told so; it keeps nobody from writing.
func likeFolder(name string, chown func(gid int) error) {
	info, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = chown(int(st.Gid))
	}
}

func (osFiles) Create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	likeFolder(name, func(gid int) error { return f.Chown(-1, gid) })
	if err := f.Chmod(fileMode); err != nil { // see Mkdir
		f.Close()
		return nil, err
	}
	return f, nil
}

func (o osFiles) Append(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return o.Create(name)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFiles) ReadFile(name string, max int64) ([]byte, error) {
	// A link may lead out of the folder, to what its reader may show others; a FIFO would keep
	// its reader waiting (open(2), O_NONBLOCK).
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errNotRegular
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return readAll(f, max)
}

// readAll reads an open file, and refuses one larger than max with errTooLarge.
func readAll(f *os.File, max int64) ([]byte, error) {
	var b bytes.Buffer
	if info, err := f.Stat(); err == nil && info.Size() <= max {
		b.Grow(int(info.Size()) + bytes.MinRead) // else it grows as it is read
	}
	if _, err := b.ReadFrom(io.LimitReader(f, max+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > max {
		return nil, errTooLarge
	}
	return b.Bytes(), nil
}

func (osFiles) ReadDir(name string) ([]fileInfo, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var out []fileInfo
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since the folder was read
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			out = append(out, fileInfo{e.Name(), info.Size()})
		}
	}
	return out, nil
}

func (osFiles) Rename(old, new string) error { return os.Rename(old, new) }
func (osFiles) Remove(name string) error     { return os.Remove(name) }

func (osFiles) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) {
		return nil // this file system has no fsync of a folder (fsync(2)): nothing more can be done
	}
	return err
}

func (osFiles) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		defer f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, &LockedError{Path: name, PID: readPID(f)}
		}
		return nil, err
	}
	// The number is for people only. A full disk must not keep anyone from taking
	// the lock, for pruning needs it; so the error is of no consequence.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// readPID is the number in a lock file, 0 where there is none.
func readPID(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// FileError says which file could not be read or written, and why.
type FileError struct {
	Op, Path string
	Err      error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// Hint says what a person can do about it, or "".
func (e *FileError) Hint() string {
	switch {
	case errors.Is(e.Err, unix.ENOSPC), errors.Is(e.Err, unix.EDQUOT):
		return "the file system is full: make room on it, or keep fewer boots"
	case errors.Is(e.Err, unix.EROFS):
		return "the file system is mounted read-only: look for errors of the disk with `dmesg`, or name a folder that can be written with --state-dir"
	case errors.Is(e.Err, os.ErrPermission):
		return "run it as root; to read alone, be in the group that owns the state folder"
	case errors.Is(e.Err, unix.EIO):
		return "the disk could not be read or written: look at `dmesg`"
	case errors.Is(e.Err, os.ErrNotExist) && e.Op == "create folder":
		return "make its parent folder first, or name another one with --state-dir"
	case errors.Is(e.Err, unix.ENOTDIR):
		return "a file stands where a folder is needed: name another folder with --state-dir"
	}
	return ""
}

// fileErr gives an error of the file layer its operation and path, once.
func fileErr(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var locked *LockedError
	if errors.As(err, &locked) {
		return err
	}
	var pe *os.PathError
	var le *os.LinkError
	var errno syscall.Errno
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	case errors.As(err, &errno):
		err = errno
	}
	return &FileError{Op: op, Path: path, Err: err}
}
