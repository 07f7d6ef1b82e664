package sysfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on a recorded host: a full machine's is 20 MB in 6,000 entries.
const (
	maxTree    = 64 << 20
	maxFile    = 1 << 20
	maxEntries = 200_000
)

// OpenTree is a recorded host: a folder, or a .tar, .tar.gz or .tar.xz of one, which is
// read into memory whole. An ERRNO.tsv at its top lists the attributes that
// answered with an error when the host was recorded; they answer so again.
// Symbolic links are followed within the tree only.
func OpenTree(name string) (*Root, error) {
	t, err := OpenTreeFS(name)
	if err != nil {
		return nil, err
	}
	r := New(t)
	r.memory = true
	r.recorded = t.(*tree).newest
	return r, nil
}

// OpenTreeFS is the bare tree of OpenTree, for what lays something over it.
func OpenTreeFS(name string) (FS, error) {
	t, err := openTree(name)
	if err != nil {
		return nil, fmt.Errorf("open recorded host %s: %w", name, err)
	}
	return t, nil
}

func openTree(name string) (*tree, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, bare(err)
	}
	t := newTree()
	if st.IsDir() {
		err = t.loadFolder(name)
	} else {
		err = t.loadArchive(name)
	}
	if err != nil {
		return nil, err
	}
	return t, t.finish()
}

// finish applies ERRNO.tsv and refuses what holds no host.
func (t *tree) finish() error {
	if n := t.nodes["/"+errnoFile]; n != nil {
		errnos, err := parseErrnos(string(n.data))
		if err != nil {
			return fmt.Errorf("read %s: %w", errnoFile, err)
		}
		t.errnos = errnos
	}
	if t.nodes["/sys"] == nil && t.nodes["/proc"] == nil {
		return &NotRecordingError{}
	}
	t.index()
	return nil
}

// NotRecordingError is returned for a folder or an archive that holds no host.
type NotRecordingError struct{}

func (*NotRecordingError) Error() string {
	return "no recorded host: neither sys nor proc is at its top"
}

// Hint says how a recording comes into being.
func (*NotRecordingError) Hint() string {
	return "`lastgood record FILE.tar.gz` makes one; a folder must hold the host's sys and proc side by side"
}

func (t *tree) loadFolder(dir string) error {
	dir, err := filepath.EvalSymlinks(dir) // WalkDir does not enter a link
	if err != nil {
		return bare(err)
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		host := path.Clean("/" + filepath.ToSlash(rel))
		switch {
		case d.IsDir():
			return t.add(host, &node{mode: fs.ModeDir})
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return t.add(host, &node{mode: fs.ModeSymlink, target: target})
		case d.Type().IsRegular():
			data, when, err := readBounded(p)
			if err != nil {
				return err
			}
			t.seen(when)
			return t.add(host, &node{data: data})
		}
		return nil // a device node or a pipe says nothing in a recording
	})
}

func readBounded(p string) ([]byte, time.Time, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	data, err := readEntry(f, p)
	return data, st.ModTime(), err
}

// seen notes when a file was written: the newest says when the host was recorded.
func (t *tree) seen(when time.Time) {
	if when.After(t.newest) {
		t.newest = when
	}
}

func readEntry(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, bare(err))
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, maxFile)
	}
	return data, nil
}

// RepackError is returned for an archive in a compression that the standard
// library cannot read.
type RepackError struct{ Name, Format string }

func (e *RepackError) Error() string {
	return "packed with " + e.Format + ", want .tar, .tar.gz or .tar.xz"
}

// Hint says how to make the archive readable.
func (e *RepackError) Hint() string {
	plain := strings.TrimSuffix(e.Name, path.Ext(e.Name))
	return fmt.Sprintf("repack it: %s -dc %s | gzip > %s.gz", e.Format, e.Name, plain)
}

func (t *tree) loadArchive(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return bare(err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(len(xzMagic))
	if err != nil && err != io.EOF {
		return bare(err)
	}
	switch head := string(head); {
	case head == xzMagic:
		return t.loadXZ(in)
	case strings.HasPrefix(head, "\x28\xb5\x2f\xfd"):
		return &RepackError{name, "zstd"}
	case strings.HasPrefix(head, "BZh"):
		return &RepackError{name, "bzip2"}
	case strings.HasPrefix(head, "\x1f\x8b"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return unpackErr(err)
		}
		defer z.Close()
		return t.loadTar(z)
	}
	return t.loadTar(in)
}

// loadTar reads all entries. The whole stream is bounded, so that a small
// archive that unpacks to much is refused before it fills the memory.
func (t *tree) loadTar(r io.Reader) error {
	in := &meter{r: r, left: t.max}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return in.finish()
		}
		if err == nil {
			err = t.addHeader(h, tr)
		}
		if in.left < 0 {
			return fmt.Errorf("unpack: more than %d bytes", t.max)
		}
		if err != nil {
			return unpackErr(err)
		}
	}
}

// meter bounds a stream and watches for the zeros that end an archive, which
// package tar does not ask for.
type meter struct {
	r     io.Reader
	left  int
	zeros int // that the stream ended in so far
}

func (m *meter) Read(b []byte) (int, error) {
	if m.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := m.r.Read(b)
	m.left -= n
	trail := n - len(bytes.TrimRight(b[:n], "\x00"))
	if trail < n {
		m.zeros = 0
	}
	m.zeros += trail
	return n, err
}

// finish reads on to the end, so that a gzip stream checks its sum, and asks for
// the two empty blocks of 512 bytes that end an archive.
func (m *meter) finish() error {
	if _, err := io.Copy(io.Discard, m); err != nil {
		return unpackErr(err)
	}
	if m.zeros < 2*512 {
		return unpackErr(io.ErrUnexpectedEOF)
	}
	return nil
}

func unpackErr(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("unpack: the archive is cut short: %w", err)
	case errors.Is(err, tar.ErrHeader):
		return &NotRecordingError{}
	}
	return fmt.Errorf("unpack: %w", err)
}

func (t *tree) addHeader(h *tar.Header, r io.Reader) error {
	host, err := cleanEntry(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg {
		t.seen(h.ModTime)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return t.add(host, &node{mode: fs.ModeDir})
	case tar.TypeSymlink:
		return t.add(host, &node{mode: fs.ModeSymlink, target: h.Linkname})
	case tar.TypeReg:
		data, err := readEntry(r, host)
		if err != nil {
			return err
		}
		return t.add(host, &node{data: data})
	case tar.TypeLink:
		from, err := cleanEntry(h.Linkname)
		if err != nil {
			return err
		}
		n := t.nodes[from]
		if n == nil {
			return fmt.Errorf("%s is a link to %s, which did not come before it", host, from)
		}
		return t.add(host, n)
	}
	return nil
}

func (t *tree) add(host string, n *node) error {
	if len(t.nodes) >= maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	if t.size += len(n.data); t.size > t.max {
		return fmt.Errorf("more than %d bytes", t.max)
	}
	if len(n.target) > maxPath {
		return fmt.Errorf("%s is a link to more than %d bytes", host, maxPath)
	}
	if old := t.nodes[host]; old != nil && old.mode.IsDir() {
		if !n.mode.IsDir() { // it would hide what the folder holds
			return fmt.Errorf("%s is a folder and something else: %w", host, unix.EISDIR)
		}
		return nil
	}
	for dir := path.Dir(host); t.nodes[dir] == nil; dir = path.Dir(dir) {
		t.nodes[dir] = &node{mode: fs.ModeDir}
	}
	if up := t.nodes[path.Dir(host)]; host != "/" && !up.mode.IsDir() {
		return fmt.Errorf("%s lies in what is no folder: %w", host, unix.ENOTDIR)
	}
	t.nodes[host] = n
	return nil
}
