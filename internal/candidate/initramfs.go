package candidate

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// rootDisk asks whether the drivers on the way to the root file system's disk are
// there before the root file system is: built in, or in the initramfs.
func (r *reader) rootDisk(ctx context.Context) {
	modules, disk, err := rootModules(ctx, r.host.Root)
	switch {
	case err != nil:
		r.unread(rootDriver, err)
		return
	case disk == "":
		return // the root is no disk: a network, a RAM disk
	case r.files.Initramfs == "":
		r.gap(rootDriver, "the candidate has no initramfs yet", false)
		return
	}
	names, err := listInitramfs(r.files.Initramfs)
	if err != nil {
		r.gap(rootDriver, err.Error(), true)
		return
	}
	inside := map[string]bool{}
	for _, n := range names {
		if strings.Contains(path.Base(n), ".ko") {
			inside[kmod.Name(n)] = true
		}
	}
	for _, m := range modules {
		if r.tree.Builtin(m) || inside[kmod.Name(m)] || !r.tree.Has(m) {
			continue // one that the candidate does not have at all is driver-missing
		}
		r.add(rootDriver, snapshot.Finding{Subject: r.subject("initramfs/" + m), Old: text("loaded"), New: text("not in the initramfs"),
			Message: fmt.Sprintf("the root file system's disk %s is driven by %s, which is not in the initramfs of %s", disk, m, r.files.Release),
			Hint:    "make it anew: update-initramfs -u -k " + r.files.Release + ", or dracut --force --kver " + r.files.Release})
	}
}

// rootModules lists the modules of the drivers between the root file system's disk and
// its bus. disk is "" where the root is on none.
func rootModules(ctx context.Context, root *sysfs.Root) (modules []string, disk string, err error) {
	number, err := rootDevice(ctx, root)
	if err != nil || number == "" {
		return nil, "", err
	}
	at, err := root.Target(ctx, "/sys/dev/block", number)
	if err != nil {
		return nil, "", err
	}
	var disks []string
	if err := below(ctx, root, at, &disks, 0); err != nil {
		return nil, "", err
	}
	for _, d := range disks {
		for at := path.Dir(d); strings.HasPrefix(at, "/sys/devices/"); at = path.Dir(at) {
			driver, err := root.Target(ctx, at, "driver")
			if err != nil {
				continue
			}
			if m, err := root.Link(ctx, driver, "module"); err == nil && !slices.Contains(modules, path.Base(m)) {
				modules = append(modules, path.Base(m))
			}
		}
	}
	if len(disks) == 0 {
		return nil, "", nil
	}
	return modules, path.Base(disks[0]), nil
}

// rootDevice is the number of the root file system's device, "" where it is none.
func rootDevice(ctx context.Context, root *sysfs.Root) (string, error) {
	b, err := root.Bytes(ctx, 4<<20, "/proc/self/mountinfo")
	if sysfs.Absent(err) {
		b, err = root.Bytes(ctx, 4<<20, "/proc/1/mountinfo")
	}
	if err != nil {
		return "", err
	}
	number, kind := "", ""
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			number = f[2] // the last one mounted is on top
			_, after, _ := strings.Cut(line, " - ")
			kind, _, _ = strings.Cut(after, " ")
		}
	}
	if !strings.HasPrefix(number, "0:") {
		return number, nil
	}
	// File systems over several disks have a number of their own, and no device has it.
	switch kind {
	case "btrfs", "zfs", "bcachefs", "overlay":
		return "", fmt.Errorf("the root file system is %s, and its disks are not known by its number", kind)
	}
	return "", nil
}

// below follows a block device to the disks that it is made of.
func below(ctx context.Context, root *sysfs.Root, at string, disks *[]string, depth int) error {
	if depth > 16 {
		return errors.New("the root file system's devices are stacked without end")
	}
	if ok, err := root.Exists(ctx, at, "partition"); err == nil && ok {
		at = path.Dir(at)
	}
	slaves, err := root.List(ctx, at, "slaves")
	if err != nil && !sysfs.Absent(err) {
		return err
	}
	for _, s := range slaves {
		t, err := root.Target(ctx, at, "slaves", s)
		if err != nil {
			return err
		}
		if err := below(ctx, root, t, disks, depth+1); err != nil {
			return err
		}
	}
	if len(slaves) == 0 && !strings.Contains(at, "/virtual/") {
		*disks = append(*disks, at)
	}
	return nil
}

const (
	// maxInitramfs bounds an initramfs, unpacked, and maxEntries its files.
	maxInitramfs = 2 << 30
	maxEntries   = 200_000
)

func listInitramfs(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read initramfs: %w", err)
	}
	defer f.Close()
	names, err := readInitramfs(f)
	if err != nil {
		return nil, fmt.Errorf("read initramfs %s: %w", name, err)
	}
	return names, nil
}

// readInitramfs lists the files of the archives that an initramfs is made of, one
// behind the other: microcode first and not packed, then what the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func readInitramfs(r io.Reader) ([]string, error) {
	l := &lister{b: bufio.NewReaderSize(r, 64<<10), left: maxInitramfs}
	for {
		if err := l.padding(); errors.Is(err, io.EOF) {
			return l.names, nil
		} else if err != nil {
			return nil, err
		}
		magic, err := l.b.Peek(6)
		if err != nil {
			return nil, fmt.Errorf("it is cut off: %w", err)
		}
		if isCpio(magic) {
			if err := l.archive(l.b); err != nil {
				return nil, err
			}
			continue
		}
		z, err := decompressor(l.b, magic)
		if err != nil {
			return nil, err
		}
		// What is packed is the last: it may hold several archives itself.
		inner := &lister{b: bufio.NewReaderSize(z, 64<<10), left: l.left}
		err = inner.all()
		return append(l.names, inner.names...), err
	}
}

type lister struct {
	b     *bufio.Reader
	left  int64
	names []string
}

// all lists archives one behind the other.
func (l *lister) all() error {
	for {
		if err := l.padding(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := l.archive(l.b); err != nil {
			return err
		}
	}
}

// padding skips zeros between archives.
func (l *lister) padding() error {
	for {
		c, err := l.b.ReadByte()
		if err != nil {
			return err
		}
		if c != 0 {
			return l.b.UnreadByte()
		}
	}
}

func isCpio(magic []byte) bool {
	return string(magic) == "070701" || string(magic) == "070702"
}

const cpioHeader = 110

// archive lists one cpio archive of the "newc" form up to its trailer.
func (l *lister) archive(r *bufio.Reader) error {
	for {
		head := make([]byte, cpioHeader)
		if _, err := io.ReadFull(r, head); err != nil {
			return fmt.Errorf("it is cut off: %w", err)
		}
		size, err1 := strconv.ParseUint(string(head[54:62]), 16, 32)
		length, err2 := strconv.ParseUint(string(head[94:102]), 16, 32)
		if !isCpio(head[:6]) || err1 != nil || err2 != nil || length == 0 || length > 4096 {
			return errors.New("it is no cpio archive")
		}
		name := make([]byte, length)
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("it is cut off: %w", err)
		}
		used := cpioHeader + int64(length)
		skip := (4-used%4)%4 + int64(size) + (4-int64(size)%4)%4
		if l.left -= used + skip; l.left < 0 || len(l.names) >= maxEntries {
			return errors.New("it is larger than is to be believed")
		}
		if text := string(bytes.TrimRight(name, "\x00")); text != "TRAILER!!!" {
			l.names = append(l.names, text)
		} else {
			_, err := io.CopyN(io.Discard, r, (4-used%4)%4)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		if _, err := io.CopyN(io.Discard, r, skip); err != nil {
			return fmt.Errorf("it is cut off: %w", err)
		}
	}
}

// decompressor tells the packing by its magic number, as the kernel does
// (lib/decompress.c).
func decompressor(r io.Reader, magic []byte) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z'}):
		return xz.NewReader(r)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	case bytes.HasPrefix(magic, []byte{0x02, 0x21, 0x4c, 0x18}), bytes.HasPrefix(magic, []byte{0x04, 0x22, 0x4d, 0x18}):
		return lz4.NewReader(r), nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(r), nil
	case bytes.HasPrefix(magic, []byte{0x5d, 0, 0}):
		return lzma.NewReader(r)
	}
	return nil, fmt.Errorf("it is packed in a way that is not known (% x)", magic)
}
