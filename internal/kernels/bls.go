package kernels

import (
	"context"
	"path"
	"strings"

	"lastgood/internal/sysfs"
)

// maxEntry bounds a boot loader entry, in bytes.
const maxEntry = 64 << 10

// BootEntry is one entry of the Boot Loader Specification, type 1. Paths are as
// written, from the root of the partition that the entry is on.
type BootEntry struct {
	Path    string // of the entry's file
	Title   string
	Version string
	Linux   string
	Initrd  []string
	Options []string // one for each options line
	EFI     string   // an EFI program instead of a kernel
}

// parseBootEntry reads an entry. It keeps to what the boot loaders do: lines that
// cannot be understood are passed over, the last of a field that may be there once
// counts.
func parseBootEntry(text string) BootEntry {
	var e BootEntry
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		at := strings.IndexAny(line, " \t")
		if at < 0 || line[0] == '#' {
			continue
		}
		key, value := line[:at], strings.TrimSpace(line[at:])
		switch strings.ToLower(key) {
		case "title":
			e.Title = value
		case "version":
			e.Version = value
		case "linux":
			e.Linux = value
		case "initrd":
			e.Initrd = append(e.Initrd, strings.Fields(value)...) // Fedora's grub takes several on a line
		case "options":
			e.Options = append(e.Options, value)
		case "efi":
			e.EFI = value
		}
	}
	return e
}

// entryFolders are where entries lie, with the mount point that their paths start from.
var entryFolders = []struct{ dir, mount string }{
	{"/boot/loader/entries", "/boot"},
	{"/efi/loader/entries", "/efi"},
	{"/boot/efi/loader/entries", "/boot/efi"},
}

// bootEntries reads all boot loader entries. A folder that is not there is none; one
// that cannot be read is an error.
func bootEntries(ctx context.Context, root *sysfs.Root) ([]BootEntry, []error) {
	var all []BootEntry
	var errs []error
	for _, f := range entryFolders {
		names, err := root.List(ctx, f.dir)
		if err != nil {
			if !sysfs.Absent(err) {
				errs = append(errs, err)
			}
			continue
		}
		for _, n := range names {
			if !strings.HasSuffix(n, ".conf") {
				continue
			}
			b, err := root.Bytes(ctx, maxEntry, f.dir, n)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			e := parseBootEntry(string(b))
			e.Path = path.Join(f.dir, n)
			all = append(all, e)
		}
	}
	return all, errs
}

// locate finds the file that an entry names: on the partition that the entry is on,
// or, where /boot is no partition of its own, from the root.
func (e BootEntry) locate(ctx context.Context, root *sysfs.Root, name string) (found string, err error) {
	mount := "/"
	for _, f := range entryFolders {
		if path.Dir(e.Path) == f.dir {
			mount = f.mount
		}
	}
	for _, p := range []string{path.Join(mount, name), path.Join("/", name)} {
		there, err := root.Exists(ctx, p)
		if err != nil {
			return "", err
		}
		if there {
			return p, nil
		}
	}
	return "", nil
}

// release is the kernel release that an entry is for, "" if it does not say.
func (e BootEntry) release() string {
	if isRelease(e.Version) {
		return e.Version
	}
	base := path.Base(e.Linux)
	for _, p := range imagePrefixes {
		if r, ok := strings.CutPrefix(base, p); ok && isRelease(r) {
			return r
		}
	}
	if r := path.Base(path.Dir(e.Linux)); isRelease(r) { // /MACHINE-ID/RELEASE/linux
		return r
	}
	return ""
}
