package baseline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// A temporary file is .lastgood.NAME.N.tmp beside NAME. All writers of NAME hold
// one lock, so one that is found when the lock was just taken is nobody's.
const (
	tempPrefix = ".lastgood."
	tempSuffix = ".tmp"
	maxTemps   = 16
)

// replace makes name hold data: after a power cut at any instant it holds the
// old bytes or the new ones. An error may leave either.
func replace(fl files, name string, data []byte) error {
	tmp, f, err := createTemp(fl, name)
	if err != nil {
		return fileErr("write", name, err)
	}
	err = fill(f, data)
	if err == nil {
		err = fl.Rename(tmp, name)
	}
	if err != nil {
		_ = fl.Remove(tmp) // else it is removed when the lock is next taken
		return fileErr("write", name, err)
	}
	return fileErr("write", name, fl.SyncDir(filepath.Dir(name)))
}

func createTemp(fl files, name string) (string, file, error) {
	dir, base := filepath.Split(name)
	for n := 0; ; n++ {
		tmp := fmt.Sprintf("%s%s%s.%d%s", dir, tempPrefix, base, n, tempSuffix)
		f, err := fl.Create(tmp)
		if errors.Is(err, fs.ErrExist) && n < maxTemps {
			continue
		}
		return tmp, f, err
	}
}

// fill writes data, syncs and closes. A close error counts: on network file
// systems it is where a failed write is told.
func fill(f file, data []byte) error {
	n, err := f.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// appendTo adds data to the end of name, synced. It must be told whether the
// file is new, for then its name has to be made durable too.
func appendTo(fl files, name string, data []byte, fresh bool) error {
	f, err := fl.Append(name)
	if err == nil {
		err = fill(f, data)
	}
	if err == nil && fresh {
		err = fl.SyncDir(filepath.Dir(name))
	}
	return fileErr("write", name, err)
}

// makeDir makes a folder, durably, where it is absent.
func makeDir(fl files, name string) error {
	err := fl.Mkdir(name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = fl.SyncDir(filepath.Dir(name))
	}
	return fileErr("create folder", name, err)
}

// removeTemps removes what writers that were killed left in a folder, of the
// files that ours says yes to.
func removeTemps(fl files, dir string, ours func(base string) bool) error {
	infos, err := fl.ReadDir(dir)
	if err != nil {
		return fileErr("read", dir, err)
	}
	for _, i := range infos {
		base, ok := tempOf(i.Name)
		if !ok || !ours(base) {
			continue
		}
		if err := fl.Remove(filepath.Join(dir, i.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileErr("remove", filepath.Join(dir, i.Name), err)
		}
	}
	return nil
}

// tempOf is the name that a temporary file was to become.
func tempOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	if !ok {
		return "", false
	}
	rest, ok = strings.CutSuffix(rest, tempSuffix)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot <= 0 || strings.Trim(rest[dot+1:], "0123456789") != "" || rest[dot+1:] == "" {
		return "", false
	}
	return rest[:dot], true
}
