package sysfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// xzMagic begins an xz stream (The .xz File Format, 2.1.1.1).
const xzMagic = "\xfd7zXZ\x00"

// maxDict bounds the dictionary that an xz archive asks for: `xz -9` takes 64 MiB.
const maxDict = 64 << 20

func (t *tree) loadXZ(in *bufio.Reader) error {
	if err := checkDict(in); err != nil {
		return unpackErr(err)
	}
	x, err := xz.NewReader(in)
	if err != nil {
		return unpackErr(endOf(err))
	}
	return t.loadTar(xzReader{x})
}

// xzReader tells an archive that is cut short as the other unpackers do.
type xzReader struct{ io.Reader }

func (r xzReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != io.EOF {
		err = endOf(err)
	}
	return n, err
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkDict reads the size of the first block's dictionary, which is made before a byte
// is unpacked: a file of a hundred bytes may ask for 4 GiB. Behind the stream header of
// 12 bytes stand the block header's size and flags, sizes that are mostly left out, and
// the filter: its id (0x21 is LZMA2), the size of its properties, the dictionary (3.1, 5.3.1).
func checkDict(in *bufio.Reader) error {
	head, err := in.Peek(12 + 5)
	if err != nil {
		return endOf(err)
	}
	block := head[12:]
	if block[0] == 0 || block[1]&0xc0 != 0 || block[2] != 0x21 { // an empty stream, sizes, another filter
		return nil
	}
	size, err := lzma.DecodeDictCap(block[4])
	if err != nil {
		return err
	}
	if size > maxDict {
		return fmt.Errorf("its dictionary is of %d MiB, more than %d", size>>20, maxDict>>20)
	}
	return nil
}
