package baseline

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
)

// errPowerCut is what every operation answers once the power is gone.
var errPowerCut = errors.New("power cut")

// inode is a file: what a reader sees, and what a power cut is sure to leave.
type inode struct{ seen, durable []byte }

// crashFS is a file layer in memory that knows what is durable: bytes after
// Sync, names after SyncDir of their folder. It fails from one operation on.
type crashFS struct {
	seen, durable map[string]*inode // names to files; a folder's inode is nil
	n             int               // operations that write, so far
	failAt        int               // 0: never
	fault         error
	sticky        bool // all later operations fail too
	readFault     map[string]error
}

func newCrashFS() *crashFS {
	return &crashFS{
		seen:      map[string]*inode{"/": nil},
		durable:   map[string]*inode{"/": nil},
		readFault: map[string]error{},
	}
}

// fails counts an operation and says whether it is to fail.
func (c *crashFS) fails() error {
	c.n++
	if c.failAt != 0 && (c.n == c.failAt || c.sticky && c.n > c.failAt) {
		return c.fault
	}
	return nil
}

// What a power cut leaves of bytes that were written and not synced.
type leftover int

const (
	allBytes leftover = iota
	halfBytes
	syncedBytes
)

// after is what is found when the power is back: names as they were seen or as
// they are sure, bytes as the leftover says. All of it is durable then.
func (c *crashFS) after(names map[string]*inode, left leftover) *crashFS {
	out := newCrashFS()
	for name, i := range names {
		if !reachable(names, name) {
			continue
		}
		var copied *inode
		if i != nil {
			b := i.seen
			switch {
			case left == syncedBytes:
				b = i.durable
			case left == halfBytes && bytes.HasPrefix(i.seen, i.durable):
				b = i.seen[:len(i.durable)+(len(i.seen)-len(i.durable)+1)/2]
			}
			copied = &inode{bytes.Clone(b), bytes.Clone(b)}
		}
		out.seen[name], out.durable[name] = copied, copied
	}
	return out
}

// reachable reports whether all folders above a name are there.
func reachable(names map[string]*inode, name string) bool {
	for dir := filepath.Dir(name); dir != "/"; dir = filepath.Dir(dir) {
		if _, ok := names[dir]; !ok {
			return false
		}
	}
	return true
}

// aftermaths are all that a power cut now could leave.
func (c *crashFS) aftermaths() map[string]*crashFS {
	return map[string]*crashFS{
		"all names, all bytes":       c.after(c.seen, allBytes),
		"all names, half the bytes":  c.after(c.seen, halfBytes),
		"all names, synced bytes":    c.after(c.seen, syncedBytes),
		"synced names, all bytes":    c.after(c.durable, allBytes),
		"synced names, half bytes":   c.after(c.durable, halfBytes),
		"synced names, synced bytes": c.after(c.durable, syncedBytes),
	}
}

func (c *crashFS) clone() *crashFS { return c.after(c.seen, allBytes) }

func (c *crashFS) Mkdir(name string) error {
	if _, ok := c.seen[name]; ok {
		return syscall.EEXIST
	}
	if err := c.fails(); err != nil {
		return err
	}
	if _, ok := c.seen[filepath.Dir(name)]; !ok {
		return syscall.ENOENT
	}
	c.seen[name] = nil
	return nil
}

func (c *crashFS) Create(name string) (file, error) {
	if err := c.fails(); err != nil {
		return nil, err
	}
	if _, ok := c.seen[name]; ok {
		return nil, syscall.EEXIST
	}
	i := &inode{}
	c.seen[name] = i
	return &crashFile{c, i}, nil
}

func (c *crashFS) Append(name string) (file, error) {
	if i, ok := c.seen[name]; ok {
		if err := c.fails(); err != nil {
			return nil, err
		}
		return &crashFile{c, i}, nil
	}
	return c.Create(name)
}

func (c *crashFS) ReadFile(name string, max int64) ([]byte, error) {
	if err := c.readFault[name]; err != nil {
		return nil, err
	}
	i, ok := c.seen[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	if int64(len(i.seen)) > max {
		return nil, errTooLarge
	}
	return bytes.Clone(i.seen), nil
}

func (c *crashFS) ReadDir(name string) ([]fileInfo, error) {
	if err := c.readFault[name]; err != nil {
		return nil, err
	}
	if _, ok := c.seen[name]; !ok {
		return nil, syscall.ENOENT
	}
	var out []fileInfo
	for n, i := range c.seen {
		if filepath.Dir(n) == name && i != nil {
			out = append(out, fileInfo{filepath.Base(n), int64(len(i.seen))})
		}
	}
	return out, nil
}

func (c *crashFS) Rename(old, new string) error {
	if err := c.fails(); err != nil {
		return err
	}
	i, ok := c.seen[old]
	if !ok {
		return syscall.ENOENT
	}
	c.seen[new] = i
	delete(c.seen, old)
	return nil
}

func (c *crashFS) Remove(name string) error {
	if err := c.fails(); err != nil {
		return err
	}
	if _, ok := c.seen[name]; !ok {
		return syscall.ENOENT
	}
	delete(c.seen, name)
	return nil
}

func (c *crashFS) SyncDir(dir string) error {
	if err := c.fails(); err != nil {
		return err
	}
	for name := range c.durable {
		if filepath.Dir(name) == dir && name != dir {
			delete(c.durable, name)
		}
	}
	for name, i := range c.seen {
		if filepath.Dir(name) == dir {
			c.durable[name] = i
		}
	}
	return nil
}

func (c *crashFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// temps lists the temporary files.
func (c *crashFS) temps() []string {
	var out []string
	for name := range c.seen {
		if strings.HasSuffix(name, tempSuffix) {
			out = append(out, name)
		}
	}
	return out
}

type crashFile struct {
	c *crashFS
	i *inode
}

// Write fails short: half of the bytes are there.
func (f *crashFile) Write(b []byte) (int, error) {
	err := f.c.fails()
	n := len(b)
	if err != nil {
		n /= 2
		if f.c.sticky && f.c.n > f.c.failAt {
			n = 0
		}
	}
	f.i.seen = append(f.i.seen, b[:n]...)
	return n, err
}

func (f *crashFile) Sync() error {
	if err := f.c.fails(); err != nil {
		return err
	}
	f.i.durable = bytes.Clone(f.i.seen)
	return nil
}

func (f *crashFile) Close() error { return nil }
