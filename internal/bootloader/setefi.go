package bootloader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// Features that systemd-boot says it has, in LoaderFeatures (the Boot Loader Interface).
const (
	featureDefault = 1 << 2 // EFI_LOADER_FEATURE_ENTRY_DEFAULT
	featureOneShot = 1 << 3 // EFI_LOADER_FEATURE_ENTRY_ONESHOT
)

// efiAttributes are those of a variable that outlives power-off and is seen by the loader and by
// the running system: EFI_VARIABLE_NON_VOLATILE, _BOOTSERVICE_ACCESS, _RUNTIME_ACCESS.
const efiAttributes = 1 | 2 | 4

// immutable is FS_IMMUTABLE_FL of include/uapi/linux/fs.h.
const immutable = 0x10

func (w *Setter) ableSystemdBoot(ctx context.Context) (string, error) {
	b, err := w.Root.Bytes(ctx, sysfs.PageSize, efivars+"LoaderFeatures"+loaderVendor)
	switch {
	case sysfs.Absent(err):
		return "the boot loader does not say what it can do (LoaderFeatures): it is no systemd-boot, or it is an old one", nil
	case err != nil:
		return "", err
	case len(b) != 12:
		return "", fmt.Errorf("read LoaderFeatures: %d bytes, not 12", len(b))
	}
	if f := binary.LittleEndian.Uint64(b[4:]); f&featureDefault == 0 || f&featureOneShot == 0 {
		return "this systemd-boot takes no default and no one-shot entry from the running system", nil
	}
	return writable(w.Prefix + efivars)
}

// encodeEFIText is what efivarfs takes: four bytes of attributes, then the text in UTF-16 with a zero.
func encodeEFIText(s string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, efiAttributes)
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// writeLoaderVars sets one of the loader's variables; a new default takes back a one-shot
// choice, which would come before it.
func (w *Setter) writeLoaderVars(variable, id string) error {
	if err := w.writeVar(variable, id); err != nil {
		return err
	}
	if variable == "LoaderEntryDefault" {
		return w.removeVar("LoaderEntryOneShot")
	}
	return nil
}

// writeVar writes a variable in one write, as efivarfs wants it
// (Documentation/filesystems/efivarfs.rst). The kernel marks what it does not know as
// immutable, so that rm -rf does not break the firmware.
func (w *Setter) writeVar(variable, id string) (err error) {
	name := w.Prefix + efivars + variable + loaderVendor
	was, err := mutable(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, was()) }()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("set boot loader: %w", err)
	}
	_, err = f.Write(encodeEFIText(id))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set boot loader: %s: %w", variable, err)
	}
	return nil
}

func (w *Setter) removeVar(variable string) error {
	name := w.Prefix + efivars + variable + loaderVendor
	if _, err := mutable(name); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set boot loader: %w", err)
	}
	return nil
}

// mutable takes the immutable flag off a file and gives what puts it back. A file that is
// not there, or a file system without flags, has none.
func mutable(name string) (back func() error, err error) {
	none := func() error { return nil }
	flags, err := changeFlags(name, func(f int) int { return f &^ immutable })
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("set boot loader: make %s writable: %w", name, err)
	}
	if flags&immutable == 0 {
		return none, nil
	}
	return func() error {
		_, err := changeFlags(name, func(f int) int { return f | immutable })
		return err
	}, nil
}

// changeFlags changes a file's flags where they differ, and returns what they were.
func changeFlags(name string, change func(int) int) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || change(flags) == flags {
		return flags, err
	}
	return flags, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, change(flags))
}
