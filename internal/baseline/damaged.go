package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// readSealed reads a file of the store and checks it: a *FileError where it
// could not be read, a *DamagedError where it is not what was written.
func (s *Store) readSealed(name string, max int64) (b []byte, sum string, err error) {
	b, err = s.fl.ReadFile(name, max)
	if errors.Is(err, errTooLarge) {
		return nil, "", &DamagedError{Path: name, Why: err}
	}
	if err != nil {
		return nil, "", fileErr("read", name, err)
	}
	if sum, err = unseal(b); err != nil {
		return nil, "", &DamagedError{Path: name, Why: err}
	}
	return b, sum, nil
}

// setAside reports damage, and moves the file away where this process holds the
// lock: a reader must not, for what it read may be replaced already.
func (s *Store) setAside(err error) {
	var d *DamagedError
	if !errors.As(err, &d) {
		return
	}
	if s.locked() && d.MovedTo == "" {
		to, merr := moveAside(s.fl, s.dir, d.Path, s.o.Now())
		if merr != nil {
			s.report("%v; it could not be moved aside: %v", d, merr)
			return
		}
		d.MovedTo = to
	}
	s.report("%v", d)
}

// moveAside moves a file to damaged/ and returns where it is now.
func moveAside(fl files, dir, name string, now time.Time) (string, error) {
	to, err := asideName(fl, dir, name, now)
	if err != nil {
		return "", err
	}
	if err := fl.Rename(name, to); err != nil {
		return "", fileErr("move", name, err)
	}
	for _, d := range []string{filepath.Dir(to), filepath.Dir(name)} {
		if err := fl.SyncDir(d); err != nil {
			return "", fileErr("move", name, err)
		}
	}
	return to, nil
}

// copyAside keeps a file's bytes in damaged/, for a file that is then replaced in
// its place: were it moved, a power cut could leave none, which says that there
// never was one.
func copyAside(fl files, dir, name string, b []byte, now time.Time) (string, error) {
	to, err := asideName(fl, dir, name, now)
	if err != nil {
		return "", err
	}
	return to, replace(fl, to, b)
}

// asideName is a free name in damaged/, which it makes.
func asideName(fl files, dir, name string, now time.Time) (string, error) {
	folder := filepath.Join(dir, damagedDir)
	if err := makeDir(fl, folder); err != nil {
		return "", err
	}
	infos, err := fl.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fileErr("read", folder, err)
	}
	base := filepath.Base(name) + "." + now.UTC().Format("20060102T150405Z")
	free := base
	for n := 2; slices.ContainsFunc(infos, func(i fileInfo) bool { return i.Name == free }); n++ {
		free = fmt.Sprintf("%s.%d", base, n)
	}
	return filepath.Join(folder, free), nil
}
