package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// place writes the files into a new folder beside dir and gives it dir's name when
// all of it is on disk. rename(2) takes the place of an empty folder and of nothing
// else, so that nobody's files are lost.
//
// What was killed half way leaves the folder .NAME.lastgood behind, which the next
// export to the same place takes over.
func place(dir string, files []file) (err error) {
	dir = filepath.Clean(dir)
	if base := filepath.Base(dir); base == "." || base == ".." || base == "/" {
		return errors.New("a new folder needs a name")
	}
	if err := vacant(dir); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".lastgood")
	lock, err := claim(tmp)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp) // the first error is the one to tell
		}
	}()
	for _, f := range files {
		if err := write(filepath.Join(tmp, f.name), f.data); err != nil {
			return err
		}
	}
	if err := lock.Sync(); err != nil {
		return err
	}
	// Not os.Rename, which refuses an empty folder too.
	if err := unix.Rename(tmp, dir); err != nil {
		return fmt.Errorf("rename %s: %w", tmp, err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil // written, only not known to be durable
	}
	defer parent.Close()
	_ = parent.Sync()
	return nil
}

// vacant says in words what rename would refuse by an errno.
func vacant(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("there is something by that name that is not a folder")
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		return errors.New("the folder is not empty")
	}
	return nil
}

// claim makes the folder tmp for this process alone, or takes over what another
// one left when it was killed.
func claim(tmp string) (*os.File, error) {
	if err := os.Mkdir(tmp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	fd, err := unix.Open(tmp, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tmp, err)
	}
	lock := os.NewFile(uintptr(fd), tmp)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another export is at work in %s: %w", tmp, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && int(st.Uid) != os.Geteuid() {
		err = fmt.Errorf("%s belongs to user %d", tmp, st.Uid)
	}
	var names []string
	if err == nil {
		names, err = lock.Readdirnames(-1)
	}
	if err == nil {
		for _, name := range names {
			err = errors.Join(err, os.Remove(filepath.Join(tmp, name)))
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func write(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
