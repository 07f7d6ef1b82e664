package candidate

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

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
