package sysfs

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a host's files in memory.
type tree struct {
	nodes  map[string]*node // by cleaned absolute path
	lists  map[string][]string
	errnos map[string]unix.Errno
	size   int
	max    int // bound on size
	newest time.Time
}

type node struct {
	mode   fs.FileMode // 0, fs.ModeDir or fs.ModeSymlink
	data   []byte
	target string
}

func newTree() *tree { return &tree{nodes: map[string]*node{"/": {mode: fs.ModeDir}}, max: maxTree} }

// index gathers what each folder holds. An attribute of ERRNO.tsv was there, even
// where the recorder could keep nothing of it.
func (t *tree) index() {
	t.lists = map[string][]string{}
	enter := func(p string) {
		if p != "/" {
			dir := path.Dir(p)
			t.lists[dir] = append(t.lists[dir], path.Base(p))
		}
	}
	for p := range t.nodes {
		enter(p)
	}
	for p, errno := range t.errnos {
		if up := t.nodes[path.Dir(p)]; t.nodes[p] == nil && errno != unix.ENOENT && up != nil && up.mode.IsDir() {
			enter(p)
		}
	}
	for _, l := range t.lists {
		slices.Sort(l)
	}
}

// maxHops is the kernel's own bound on symbolic links in one path (MAXSYMLINKS).
const maxHops = 40

// resolve follows symbolic links, the last one only if follow is set. A link to
// outside the tree cannot be: an absolute target starts at the tree's own root,
// and ".." stops there, as on a host.
func (t *tree) resolve(name string, follow bool) (string, error) {
	rest := strings.Split(path.Clean("/"+name), "/")[1:]
	at := "/"
	for hops := 0; len(rest) > 0; {
		if rest[0] == "" {
			break
		}
		next := path.Join(at, rest[0])
		rest = rest[1:]
		n := t.nodes[next]
		if n == nil {
			if errno := t.errnos[next]; errno != 0 {
				return next, errno
			}
			return next, unix.ENOENT
		}
		if n.mode&fs.ModeSymlink != 0 && (follow || len(rest) > 0) {
			if hops++; hops > maxHops {
				return next, unix.ELOOP
			}
			// ".." is resolved element by element against real folders, for
			// cleaning "link/.." by its text would leave the link's own folder.
			if path.IsAbs(n.target) {
				at = "/"
			}
			rest = append(elements(n.target), rest...)
			continue
		}
		if len(rest) > 0 && !n.mode.IsDir() {
			return next, unix.ENOTDIR
		}
		at = next
	}
	return at, nil
}

func elements(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(e string) bool { return e == "" || e == "." })
}

func (t *tree) lookup(name string, follow bool) (string, *node, error) {
	p, err := t.resolve(name, follow)
	if err != nil {
		return p, nil, err
	}
	n := t.nodes[p]
	if n == nil {
		return p, nil, unix.ENOENT
	}
	return p, n, nil
}

func (t *tree) ReadFile(name string, max int) ([]byte, error) {
	p, n, err := t.lookup(name, true)
	if err != nil {
		return nil, err
	}
	if errno := t.errnos[p]; errno != 0 {
		return nil, errno
	}
	if n.mode.IsDir() {
		return nil, unix.EISDIR
	}
	return slices.Clone(n.data[:min(max, len(n.data))]), nil
}

func (t *tree) ReadDir(name string) ([]string, error) {
	p, n, err := t.lookup(name, true)
	if err != nil {
		return nil, err
	}
	if errno := t.errnos[p]; errno != 0 {
		return nil, errno
	}
	if !n.mode.IsDir() {
		return nil, unix.ENOTDIR
	}
	return slices.Clone(t.lists[p]), nil
}

func (t *tree) Readlink(name string) (string, error) {
	p, n, err := t.lookup(name, false)
	if err != nil {
		return "", err
	}
	if errno := t.errnos[p]; errno != 0 {
		return "", errno
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", unix.EINVAL
	}
	return n.target, nil
}

// Exists says yes of an attribute that answers with an error, as lstat(2) does.
func (t *tree) Exists(name string) (bool, error) {
	name = path.Clean("/" + name)
	dir, n, err := t.lookup(path.Dir(name), true)
	switch {
	case err == unix.ENOENT || err == unix.ENOTDIR || err == nil && !n.mode.IsDir():
		return false, nil
	case err != nil:
		return false, err
	}
	p := path.Join(dir, path.Base(name))
	errno := t.errnos[p]
	return t.nodes[p] != nil || errno != 0 && errno != unix.ENOENT, nil
}
