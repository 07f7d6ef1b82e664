// Package bootloader says what the boot loader will boot next, by reading what the
// loader itself will read: GRUB's compiled configuration and environment block,
// boot loader specification entries, and systemd-boot's EFI variables.
//
// Nothing is run, and nothing is written but by a [Setter]. "This entry", "there is none" and "could not
// be told" are three answers.
package bootloader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/sysfs"
)

// Loaders that are known here.
const (
	GRUB        = "grub"
	SystemdBoot = "systemd-boot"
)

// Entry is one thing that can be booted.
type Entry struct {
	// ID is what the loader calls it: a menuentry's id (its title where it has none), with the
	// submenus' before it and ">" between; a specification entry's file name, which for
	// systemd-boot ends in .conf.
	ID    string
	Title string
	// Release is the kernel's, as uname -r gives it; "" where it cannot be told from the entry.
	Release string
	// Linux and Initrd are paths on the host. Where no such file is there, they are where it
	// should be. Linux is "" for an entry that starts something else.
	Linux   string
	Initrd  []string
	Options string
	// Source is the file that the entry stands in.
	Source string
}

// State is what the boot loader is set to do.
type State struct {
	// Loader is GRUB, SystemdBoot, or "" where none could be told.
	Loader string
	// Dir holds the loader's own files: /boot/grub, or the folder above loader/.
	Dir     string
	Entries []Entry
	// Next is the index of the entry that boots next, or -1: Why then has the reason.
	Next int
	// Why says which setting decides: one-shot, saved, numeric default, newest …
	Why string
	// Missing is the entry that a setting asks for and that does not exist; the loader
	// then goes on as Why says.
	Missing string
	// Env is GRUB's environment block; nil where there is none.
	Env map[string]string
	// EnvErr is why the block could not be used: unreadable, or damaged. It wraps
	// fs.ErrNotExist where there is no file.
	EnvErr error
	// Selected is the entry that systemd-boot started this boot from, where it says so.
	Selected string
	// Default and SaveDefault are GRUB_DEFAULT and GRUB_SAVEDEFAULT of /etc/default/grub. They
	// decide nothing until grub.cfg is made anew.
	Default     string
	SaveDefault bool
}

// NextEntry is the entry that boots next, or nil.
func (s *State) NextEntry() *Entry {
	if s.Next < 0 || s.Next >= len(s.Entries) {
		return nil
	}
	return &s.Entries[s.Next]
}

// Once reports whether what boots next is a one-shot choice: the boot after it is of another setting.
func (s *State) Once() bool { return strings.HasPrefix(s.Why, "one-shot") }

// maxConfig bounds a loader's configuration file; a grub.cfg of a hundred kernels has 400 kB.
const maxConfig = 4 << 20

// Read reads the state of the host's boot loader. The errors say what could not be read;
// the state holds what could. A host without a loader (a container, a machine that is
// booted over the network) gives the zero Loader and no error.
func Read(ctx context.Context, root *sysfs.Root) (State, []error) {
	vars, errs := readLoaderVars(ctx, root)
	dir, gerr := findGRUB(ctx, root)
	esp, serr := findSystemdBoot(ctx, root)
	errs = append(errs, present(gerr, serr)...)
	switch {
	case strings.HasPrefix(vars["LoaderInfo"], "systemd-boot"):
		if esp == "" {
			return State{Loader: SystemdBoot, Next: -1, Why: "systemd-boot started this boot and its loader folder is not found: is the EFI system partition mounted?"}, errs
		}
		return readSystemdBoot(ctx, root, esp, vars, errs)
	case dir != "":
		return readGRUB(ctx, root, dir, errs)
	case esp != "" && gerr == nil:
		return readSystemdBoot(ctx, root, esp, vars, errs)
	case len(errs) > 0:
		return State{Next: -1, Why: "the boot loader's files could not be read: " + errs[0].Error()}, errs
	}
	return State{Next: -1, Why: "no boot loader configuration is found"}, nil
}

func present(errs ...error) []error {
	var out []error
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// readText reads a whole text file, and refuses one that is longer than its bound.
func readText(ctx context.Context, root *sysfs.Root, name string) (string, error) {
	b, err := root.Bytes(ctx, maxConfig+1, name)
	if err != nil {
		return "", err
	}
	if len(b) > maxConfig {
		return "", fmt.Errorf("read %s: longer than %d bytes", name, maxConfig)
	}
	return string(b), nil
}

// readable reports whether a file can be opened. It follows symbolic links, as Exists does not.
func readable(ctx context.Context, root *sysfs.Root, name string) (bool, error) {
	_, err := root.Bytes(ctx, 1, name)
	if sysfs.Absent(err) {
		return false, nil
	}
	return err == nil, err
}

// kernelFile parts a kernel's file name from its release: vmlinuz-6.1.0-9-amd64.
var kernelFile = regexp.MustCompile(`^(?:vmlinuz|vmlinux|linux|kernel|bzImage|Image|kernel8)-(.+?)(?:\.efi|\.signed|\.gz)?$`)

// machineFile is how kernel-install names what it makes: MACHINE-ID-RELEASE.
var machineFile = regexp.MustCompile(`^[0-9a-f]{32}-(.+?)(?:\.conf|\.efi)?$`)

// releaseOf is the kernel release that an image's path bears: in its own name, or in its
// folder's (kernel-install: MACHINE-ID/RELEASE/linux; the module tree: RELEASE/vmlinuz).
func releaseOf(linux string) string {
	base := path.Base(linux)
	for _, form := range []*regexp.Regexp{kernelFile, machineFile} {
		// A release begins with its number (the kernel's Makefile); Arch's vmlinuz-linux bears the
		// package's name.
		if m := form.FindStringSubmatch(base); m != nil && m[1][0] >= '0' && m[1][0] <= '9' {
			return m[1]
		}
	}
	dir := path.Base(path.Dir(linux))
	if (base == "linux" || base == "vmlinuz") && dir != "" && dir[0] >= '0' && dir[0] <= '9' {
		return dir
	}
	return ""
}

// hostPath is where a path of the loader's, which begins at the root of some file system,
// is found on the host. within are the mount points to try, likeliest first.
func hostPath(ctx context.Context, root *sysfs.Root, written string, within []string) string {
	p := written
	if strings.HasPrefix(p, "(") { // GRUB's (hd0,gpt2)/vmlinuz
		_, p, _ = strings.Cut(p, ")")
	}
	tries := []string{p}
	if !strings.HasPrefix(p, "/boot/") {
		tries = nil
		for _, w := range within {
			tries = append(tries, path.Join(w, p))
		}
	}
	// A btrfs subvolume or a ZFS data set stands before the folder: /@/boot/vmlinuz.
	if i := strings.Index(p, "/boot/"); i > 0 {
		tries = append(tries, p[i:])
	}
	for _, t := range tries {
		if found, err := root.Exists(ctx, t); err == nil && found {
			return t
		}
	}
	return tries[0]
}

// errNothing is why no entry can boot.
var errNothing = errors.New("no boot entries")
