package baseline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// GateFile is the gate's document in the state folder. It has a lock of its own, for a
// check may hold the store's for as long as its budget.
const GateFile = "gate.json"

// maxDocument bounds a document of a Folder.
const maxDocument = 1 << 20

// Folder is a folder of small JSON documents, each replaced whole and sealed with a
// checksum as the rest of the state is. A damaged one is copied to damaged/ beside it.
type Folder struct {
	dir string
	fl  files
	now func() time.Time
}

// OpenFolder is the folder at dir. Nothing is written before the first Lock or Put; a
// nil clock is the system's.
func OpenFolder(dir string, now func() time.Time) *Folder {
	if now == nil {
		now = time.Now
	}
	return &Folder{dir: dir, fl: osFiles{}, now: now}
}

// Dir is where the folder is.
func (f *Folder) Dir() string { return f.dir }

// Lock takes the lock of that name in the folder, which it makes where it is absent, or
// returns a *LockedError at once. The lock ends with the process.
func (f *Folder) Lock(name string) (io.Closer, error) {
	if err := f.make(); err != nil {
		return nil, err
	}
	l, err := f.fl.Lock(filepath.Join(f.dir, name))
	if err != nil {
		return nil, fileErr("lock", filepath.Join(f.dir, name), err)
	}
	return l, nil
}

// make makes the folder and the one above it.
func (f *Folder) make() error {
	err := makeDir(f.fl, f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(f.fl, filepath.Dir(f.dir)); err == nil {
			err = makeDir(f.fl, f.dir)
		}
	}
	return err
}

// Put makes the document hold v. After a power cut it holds the old or the new one.
func (f *Folder) Put(name string, v any) error {
	b, err := encodeSealed(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if len(b) > maxDocument {
		return fmt.Errorf("write %s: %d bytes, more than %d", name, len(b), maxDocument)
	}
	if err := f.make(); err != nil {
		return err
	}
	return replace(f.fl, filepath.Join(f.dir, name), b)
}

// Get reads a document into v. The error wraps fs.ErrNotExist where there is none, and is
// a *DamagedError where it does not hold what was written. With aside its bytes are then
// kept in damaged/ before the caller replaces or removes it: were it moved, a power cut
// could leave none, which says that there never was one.
func (f *Folder) Get(name string, v any, aside bool) error {
	path := filepath.Join(f.dir, name)
	b, err := f.fl.ReadFile(path, maxDocument)
	if err != nil && !errors.Is(err, errTooLarge) {
		return fileErr("read", path, err)
	}
	if err == nil {
		if _, err = unseal(b); err == nil {
			err = json.Unmarshal(b, v)
		}
	}
	if err == nil {
		return nil
	}
	d := &DamagedError{Path: path, Why: err}
	if aside && b != nil { // one that is too large to be ours is left
		if to, cerr := copyAside(f.fl, f.dir, path, b, f.now()); cerr == nil {
			d.MovedTo = to
		}
	}
	return d
}

// Names lists the documents that end in .json, sorted. A folder that is absent is empty.
func (f *Folder) Names() ([]string, error) {
	infos, err := f.fl.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fileErr("read", f.dir, err)
	}
	var out []string
	for _, i := range infos {
		if strings.HasSuffix(i.Name, jsonExt) && !strings.HasPrefix(i.Name, ".") {
			out = append(out, i.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Remove removes a document, durably. One that is not there is no error.
func (f *Folder) Remove(name string) error {
	path := filepath.Join(f.dir, name)
	err := f.fl.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.fl.SyncDir(f.dir)
	}
	return fileErr("remove", path, err)
}

// Tidy removes what writers of one document that were killed left behind. It wants the
// lock that they hold while they write.
func (f *Folder) Tidy(ours func(name string) bool) error {
	err := removeTemps(f.fl, f.dir, ours)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
