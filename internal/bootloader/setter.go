package bootloader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// Setter sets what boots next. Entries are named by id, never by their number, which
// moves with every kernel that is installed. Before anything is written the loader's
// configuration is followed as if it had been: a setting that would not lead to the
// kernel that is meant is not made. No program is run: what grub-editenv, grubby and
// bootctl write is one file of 1,024 bytes, or one EFI variable.
type Setter struct {
	Root *sysfs.Root
	// Prefix stands before every path that is written: "" on this host, a folder in a test.
	Prefix string
	// Obstacle says why GRUB itself cannot write to a folder ("" where it can): it reads file
	// systems and RAID that it does not write to, and then a one-shot choice stays for ever.
	Obstacle func(ctx context.Context, dir string) (string, error)
}

// SetError says why a boot loader was not set, and the way out.
type SetError struct {
	What string
	hint string
}

func (e *SetError) Error() string { return e.What }

// Hint says what a person can do about it, or "".
func (e *SetError) Hint() string { return e.hint }

// Able says why the loader cannot be set on this host, or "" where it can; the error is
// that it could not be told.
func (w *Setter) Able(ctx context.Context) (string, error) {
	st, errs := Read(ctx, w.Root)
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	switch st.Loader {
	case GRUB:
		return w.ableGRUB(ctx, &st)
	case SystemdBoot:
		return w.ableSystemdBoot(ctx)
	}
	return cmpWhy(st.Why, "no boot loader is known here"), nil
}

func cmpWhy(why, otherwise string) string {
	if why != "" {
		return why
	}
	return otherwise
}

func (w *Setter) ableGRUB(ctx context.Context, st *State) (string, error) {
	name := path.Join(st.Dir, "grubenv")
	if st.EnvErr != nil {
		return "GRUB has no environment block in " + name, nil
	}
	if w.Obstacle != nil {
		why, err := w.Obstacle(ctx, st.Dir)
		if err != nil {
			return "", err
		}
		if why != "" {
			return "GRUB cannot write to " + why + ": a one-shot choice would stay for ever", nil
		}
	}
	if why, err := writable(w.Prefix + name); why != "" || err != nil {
		return why, err
	}
	if why, err := elsewhere(w.Prefix + name); why != "" || err != nil {
		return why, err
	}
	// Does grub.cfg look at the block at all? Ask it with another default set.
	for _, e := range st.Entries {
		if e.Release == "" || st.NextEntry() != nil && st.NextEntry().Release == e.Release {
			continue
		}
		if err := w.try(ctx, st, e.Release, defaultChanges); err != nil {
			return err.Error(), nil
		}
		return "", nil
	}
	return "", nil
}

// elsewhere says where a block lies that is a link to another file system, or "". GRUB follows links within one file system
// alone: what was written there would never be looked at.
func elsewhere(name string) (string, error) {
	info, err := os.Lstat(name)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return "", err
	}
	var folder, file unix.Stat_t
	if err := errors.Join(unix.Stat(filepath.Dir(name), &folder), unix.Stat(name, &file)); err != nil {
		return "", fmt.Errorf("stat %s: %w", name, err)
	}
	if folder.Dev == file.Dev {
		return "", nil
	}
	to, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return name + " is a link to " + to + " on another file system, where GRUB does not follow it", nil
}

// writable asks without writing anything.
func writable(name string) (string, error) {
	switch err := unix.Access(name, unix.W_OK); {
	case err == nil:
		return "", nil
	case errors.Is(err, unix.EROFS):
		return name + " lies on a file system that is mounted read-only", nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return name + " may not be written by this user", nil
	case errors.Is(err, unix.ENOENT):
		return name + " is not there", nil
	default:
		return "", fmt.Errorf("access %s: %w", name, err)
	}
}

// SetDefault makes a kernel the one that boots from now on, and takes back a one-shot choice.
func (w *Setter) SetDefault(ctx context.Context, release string) error {
	return w.set(ctx, release, defaultChanges, "LoaderEntryDefault")
}

// SetOnce has a kernel booted next, and what is the default after it.
func (w *Setter) SetOnce(ctx context.Context, release string) error {
	return w.set(ctx, release, onceChanges, "LoaderEntryOneShot")
}

// defaultChanges are GRUB's variables for a default: prev_saved_entry is what Debian's
// 00_header puts back in the place of saved_entry.
func defaultChanges(id string) map[string]string {
	return map[string]string{"saved_entry": id, "next_entry": "", "prev_saved_entry": ""}
}

func onceChanges(id string) map[string]string { return map[string]string{"next_entry": id} }

func (w *Setter) set(ctx context.Context, release string, changes func(string) map[string]string, variable string) error {
	st, errs := Read(ctx, w.Root)
	if len(errs) > 0 {
		return fmt.Errorf("read boot loader: %w", errors.Join(errs...))
	}
	e, err := w.entry(ctx, &st, release)
	if err != nil {
		return err
	}
	switch st.Loader {
	case GRUB:
		if why, err := w.ableGRUB(ctx, &st); why != "" || err != nil {
			return errors.Join(err, whyError(why))
		}
		if err := w.try(ctx, &st, release, changes); err != nil {
			return err
		}
		err = w.writeEnv(path.Join(st.Dir, "grubenv"), changes(e.ID))
	case SystemdBoot:
		if why, err := w.ableSystemdBoot(ctx); why != "" || err != nil {
			return errors.Join(err, whyError(why))
		}
		if !st.leadsTo(&e) {
			return &SetError{"set boot loader: systemd-boot would find another entry by the name of " + e.Source, "two entries have the same name; `bootctl list` tells them"}
		}
		err = w.writeLoaderVars(variable, loaderName(&e))
	}
	if err != nil {
		return err
	}
	return w.verify(ctx, release)
}

func whyError(why string) error {
	if why == "" {
		return nil
	}
	return &SetError{What: "set boot loader: " + why}
}

// verify reads the loader's settings back.
func (w *Setter) verify(ctx context.Context, release string) error {
	st, errs := Read(ctx, w.Root)
	if e := st.NextEntry(); e != nil && e.Release == release {
		return nil
	}
	return fmt.Errorf("set boot loader: it was written, and still does not boot %s next: %s", release, errors.Join(append(errs, errors.New(st.Why))...))
}

// entry is the entry that boots a kernel. Those for repair are no choice; one that bears the
// kernel's release in its id is better than one that stands for whatever is newest.
func (w *Setter) entry(ctx context.Context, st *State, release string) (Entry, error) {
	var fit []Entry
	for _, e := range st.Entries {
		if e.Release != release || release == "" || forRepair(&e) {
			continue
		}
		there, err := readable(ctx, w.Root, e.Linux)
		if err != nil {
			return Entry{}, err
		}
		if there {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 {
		return Entry{}, &SetError{"set boot loader: no entry boots kernel " + release, "is it installed? `lastgood preflight " + release + "` tells"}
	}
	// Debian's top-level entry has the same kernel today and another one tomorrow.
	for _, sign := range []string{release, ">"} {
		if i := slices.IndexFunc(fit, func(e Entry) bool { return strings.Contains(e.ID, sign) }); i >= 0 {
			return fit[i], nil
		}
	}
	return fit[0], nil
}

// forRepair tells an entry that boots into a rescue shell.
func forRepair(e *Entry) bool {
	text := strings.ToLower(e.ID + " " + e.Title)
	words := strings.Fields(e.Options)
	return strings.Contains(text, "recovery") || strings.Contains(text, "rescue") || slices.Contains(words, "single") ||
		slices.Contains(words, "systemd.unit=rescue.target") || slices.Contains(words, "systemd.unit=emergency.target")
}

// try follows GRUB's configuration as if the block had been changed.
func (w *Setter) try(ctx context.Context, st *State, release string, changes func(string) map[string]string) error {
	e, err := w.entry(ctx, st, release)
	if err != nil {
		return err
	}
	name := path.Join(st.Dir, "grubenv")
	block, err := w.Root.Bytes(ctx, maxConfig, name)
	if err != nil {
		return err
	}
	if block, err = changeGrubenv(block, changes(e.ID)); err != nil {
		return err
	}
	then, errs := Read(ctx, sysfs.New(&overlay{ctx: ctx, root: w.Root, name: name, text: block}))
	if next := then.NextEntry(); len(errs) == 0 && next != nil && next.ID == e.ID {
		return nil
	}
	return &SetError{"set boot loader: GRUB would not boot " + release + " for it: " + cmpWhy(then.Why, "its configuration could not be followed"),
		"grub.cfg must look at what is saved: put GRUB_DEFAULT=saved into /etc/default/grub.d/lastgood.cfg (or /etc/default/grub) and make it anew with update-grub or grub2-mkconfig"}
}

// overlay is a host's tree with one file changed.
type overlay struct {
	ctx  context.Context
	root *sysfs.Root
	name string
	text []byte
}

func (o *overlay) ReadFile(name string, max int) ([]byte, error) {
	if name == o.name {
		return o.text[:min(max, len(o.text))], nil
	}
	return o.root.Bytes(o.ctx, max, name)
}

func (o *overlay) ReadDir(name string) ([]string, error) { return o.root.List(o.ctx, name) }
func (o *overlay) Readlink(name string) (string, error)  { return o.root.Target(o.ctx, name) }
func (o *overlay) Exists(name string) (bool, error)      { return o.root.Exists(o.ctx, name) }

// writeEnv changes the block in place: GRUB notes the sectors of the file and rewrites
// them, and a file of another name in its place would have others. A disk writes a sector
// whole, and what is set fits into the first of the block's two but where something else
// has filled it; one that is torn all the same still reads as a block.
func (w *Setter) writeEnv(name string, changes map[string]string) (err error) {
	f, err := os.OpenFile(filepath.Clean(w.Prefix+name), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != envSize {
		return fmt.Errorf("set boot loader: %s: no file of %d bytes", name, envSize)
	}
	old := make([]byte, envSize)
	if _, err := f.ReadAt(old, 0); err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	block, err := changeGrubenv(old, changes)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(block, 0); err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	return nil
}
