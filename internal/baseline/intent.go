package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// The intent is what the boot loader was to boot next, written at shutdown. It has a lock of its
// own, for a check that is being stopped at that moment may hold the store's.
const (
	intentFile = "intent.json"
	intentLock = "intent.lock"
	maxIntent  = 1 << 20
)

// ReadIntent is the document that SaveIntent kept in a state folder; nil without an error where
// there is none, and a *DamagedError where it is not what was written.
func ReadIntent(dir string) ([]byte, error) {
	return readIntent(osFiles{}, filepath.Join(dir, intentFile))
}

func readIntent(fl files, name string) ([]byte, error) {
	b, err := fl.ReadFile(name, maxIntent)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errTooLarge):
		return nil, &DamagedError{Path: name, Why: err}
	case err != nil:
		return nil, fileErr("read", name, err)
	}
	if _, err := unseal(b); err != nil {
		return nil, &DamagedError{Path: name, Why: err}
	}
	return b, nil
}

// SaveIntent keeps the document that write makes of the one that is there (nil where there is
// none). The state folder is made where it is absent. What is damaged is moved aside, and told in
// moved.
func SaveIntent(dir string, o Options, write func(old []byte) ([]byte, error)) (moved error, err error) {
	fl := o.files
	if fl == nil {
		fl = osFiles{}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("save intent: %w", err)
	}
	if err := makeDir(fl, dir); err != nil {
		return nil, err
	}
	lock, err := fl.Lock(filepath.Join(dir, intentLock))
	if err != nil {
		return nil, fileErr("lock", filepath.Join(dir, intentLock), err)
	}
	defer lock.Close()
	if err := removeTemps(fl, dir, func(base string) bool { return base == intentFile }); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, intentFile)
	old, err := readIntent(fl, name)
	var d *DamagedError
	if errors.As(err, &d) {
		moved = d
		if d.MovedTo, err = moveAside(fl, dir, name, o.Now()); err != nil {
			moved = errors.Join(d, err)
		}
	} else if err != nil {
		return nil, err
	}
	doc, err := write(old)
	if err != nil {
		return moved, err
	}
	if doc, _, err = seal(doc); err != nil {
		return moved, fmt.Errorf("save intent: %w", err)
	}
	return moved, replace(fl, name, doc)
}
