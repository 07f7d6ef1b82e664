// Package sysfstest is a host's file tree for tests: a map, in which any path can
// be made to answer with an error, to hang or to vanish.
package sysfstest

import (
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// FS lays faults over files. Its zero value is an empty host. Set it up before
// it is read; it may then be read from many goroutines.
type FS struct {
	// Files are contents by absolute path; folders come into being with them.
	Files map[string]string
	// Links are symbolic links' targets, as written, by absolute path.
	Links map[string]string
	// Under answers what neither Files nor Links nor a fault does; nil: nothing.
	Under sysfs.FS
	// Errs are the errors that a path answers with, whatever is asked of it.
	Errs map[string]error
	// Gone are paths that are not there, with all beneath them. They are still
	// listed, as what vanishes between the listing and the reading is.
	Gone []string
	// Removed are paths that are not there and not listed either.
	Removed []string
	// Hang are paths that give no answer until Release is called.
	Hang []string

	mu      sync.Mutex
	hanging chan struct{}
	asked   map[string]int
}

var _ sysfs.FS = (*FS)(nil)

// Release lets all operations go that hang, now and from now on.
func (f *FS) Release() {
	c := f.gate()
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

func (f *FS) gate() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hanging == nil {
		f.hanging = make(chan struct{})
	}
	return f.hanging
}

// Asked lists the paths that anything was asked of, sorted.
func (f *FS) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for p := range f.asked {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// fault is the error that name is to answer with, after it has hung if it is to.
func (f *FS) fault(name string) error {
	f.mu.Lock()
	if f.asked == nil {
		f.asked = map[string]int{}
	}
	f.asked[name]++
	f.mu.Unlock()
	if slices.Contains(f.Hang, name) {
		<-f.gate()
	}
	if err := f.Errs[name]; err != nil {
		return err
	}
	if slices.ContainsFunc(f.Gone, func(d string) bool { return within(name, d) }) ||
		slices.ContainsFunc(f.Removed, func(d string) bool { return within(name, d) }) {
		return unix.ENOENT
	}
	return nil
}

// follow resolves the links of the map, folder by folder.
func (f *FS) follow(name string, last bool) string {
	if len(f.Links) == 0 {
		return name
	}
	for range 40 {
		changed := false
		parts := strings.Split(strings.Trim(name, "/"), "/")
		for i := range parts {
			at := "/" + path.Join(parts[:i+1]...)
			t, ok := f.Links[at]
			if !ok || (i == len(parts)-1 && !last) {
				continue
			}
			if !path.IsAbs(t) {
				t = path.Join(path.Dir(at), t)
			}
			name, changed = path.Join(append([]string{t}, parts[i+1:]...)...), true
			break
		}
		if !changed {
			return name
		}
	}
	return name
}

// ReadFile reads a file of the map, or of what lies under it.
func (f *FS) ReadFile(name string, max int) ([]byte, error) {
	name = path.Clean(name)
	if err := f.fault(name); err != nil {
		return nil, err
	}
	real := f.follow(name, true)
	if real != name {
		if err := f.fault(real); err != nil {
			return nil, err
		}
	}
	if s, ok := f.Files[real]; ok {
		return []byte(s[:min(max, len(s))]), nil
	}
	if f.Under != nil {
		return f.Under.ReadFile(real, max)
	}
	if len(f.children(real)) > 0 {
		return nil, unix.EISDIR
	}
	return nil, unix.ENOENT
}

func (f *FS) children(dir string) []string {
	var out []string
	enter := func(p string) {
		if rest, ok := strings.CutPrefix(p, strings.TrimSuffix(dir, "/")+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			out = append(out, first)
		}
	}
	for p := range f.Files {
		enter(p)
	}
	for p := range f.Links {
		enter(p)
	}
	return out
}

// ReadDir lists a folder of the map together with what lies under it.
func (f *FS) ReadDir(name string) ([]string, error) {
	name = path.Clean(name)
	if err := f.fault(name); err != nil {
		return nil, err
	}
	real := f.follow(name, true)
	if real != name {
		if err := f.fault(real); err != nil {
			return nil, err
		}
	}
	out := f.children(real)
	if f.Under != nil {
		below, err := f.Under.ReadDir(real)
		if err != nil && len(out) == 0 {
			return nil, err
		}
		out = append(out, below...)
	} else if len(out) == 0 {
		if _, file := f.Files[real]; file {
			return nil, unix.ENOTDIR
		}
		return nil, unix.ENOENT
	}
	out = slices.DeleteFunc(out, func(n string) bool {
		return slices.Contains(f.Removed, path.Join(name, n)) || slices.Contains(f.Removed, path.Join(real, n))
	})
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Readlink is a link's target as written.
func (f *FS) Readlink(name string) (string, error) {
	name = path.Clean(name)
	if err := f.fault(name); err != nil {
		return "", err
	}
	real := f.follow(name, false)
	if t, ok := f.Links[real]; ok {
		return t, nil
	}
	if f.Under != nil {
		return f.Under.Readlink(real)
	}
	if _, ok := f.Files[real]; ok || len(f.children(real)) > 0 {
		return "", unix.EINVAL
	}
	return "", unix.ENOENT
}

// Exists says whether the path is there; Errs make that impossible to tell.
func (f *FS) Exists(name string) (bool, error) {
	name = path.Clean(name)
	if err := f.fault(name); err == unix.ENOENT {
		return false, nil
	} else if err != nil {
		return false, err
	}
	real := f.follow(name, false)
	_, file := f.Files[real]
	_, link := f.Links[real]
	if file || link || len(f.children(real)) > 0 {
		return true, nil
	}
	if f.Under != nil {
		return f.Under.Exists(real)
	}
	return false, nil
}
