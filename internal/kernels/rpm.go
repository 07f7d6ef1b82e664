package kernels

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// rpmInfo is what a package's header says.
type rpmInfo struct {
	Name, Version, Release, Arch string
	compressor                   string
}

// The format is of RPM's own description (docs/manual/format.md): a lead of 96
// bytes, a signature and a header, both of one form, and the payload.
const (
	rpmLead      = 96
	rpmMaxHeader = 64 << 20

	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagArch       = 1022
	tagCompressor = 1125
)

var (
	rpmLeadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	rpmHeaderMagic = []byte{0x8e, 0xad, 0xe8, 0x01}
)

func readRPM(name string) (rpmInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return rpmInfo{}, fmt.Errorf("read package: %w", err)
	}
	defer f.Close()
	info, err := parseRPM(bufio.NewReader(f))
	if err != nil {
		return info, fmt.Errorf("read package %s: %w", name, err)
	}
	return info, nil
}

// parseRPM reads up to the payload.
func parseRPM(r io.Reader) (rpmInfo, error) {
	lead := make([]byte, rpmLead)
	if _, err := io.ReadFull(r, lead); err != nil || !bytes.HasPrefix(lead, rpmLeadMagic) {
		return rpmInfo{}, fmt.Errorf("no RPM package: %w", ErrCorrupt)
	}
	_, used, err := readRPMHeader(r)
	if err != nil {
		return rpmInfo{}, fmt.Errorf("signature: %w", err)
	}
	// The signature is padded to a multiple of eight bytes.
	if _, err := io.CopyN(io.Discard, r, int64((8-used%8)%8)); err != nil {
		return rpmInfo{}, fmt.Errorf("signature: %w", ErrCorrupt)
	}
	tags, _, err := readRPMHeader(r)
	if err != nil {
		return rpmInfo{}, fmt.Errorf("header: %w", err)
	}
	info := rpmInfo{Name: tags[tagName], Version: tags[tagVersion], Release: tags[tagRelease], Arch: tags[tagArch], compressor: tags[tagCompressor]}
	if info.Name == "" || info.Version == "" {
		return info, fmt.Errorf("header: it has no name or version: %w", ErrCorrupt)
	}
	return info, nil
}

// readRPMHeader reads one header structure and gives its strings by tag, and its
// length without the 16 bytes before the index.
func readRPMHeader(r io.Reader) (map[uint32]string, int, error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.HasPrefix(head, rpmHeaderMagic) {
		return nil, 0, ErrCorrupt
	}
	n, size := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
	if uint64(n)*16+uint64(size) > rpmMaxHeader {
		return nil, 0, fmt.Errorf("%d entries and %d bytes: %w", n, size, ErrCorrupt)
	}
	var buf bytes.Buffer
	if m, err := io.CopyN(&buf, r, int64(n)*16+int64(size)); err != nil {
		return nil, 0, fmt.Errorf("cut off after %d bytes: %w", m, ErrCorrupt)
	}
	index, store := buf.Bytes()[:n*16], buf.Bytes()[n*16:]
	tags := map[uint32]string{}
	for ; len(index) > 0; index = index[16:] {
		const typeString = 6
		at := binary.BigEndian.Uint32(index[8:])
		if binary.BigEndian.Uint32(index[4:]) != typeString || uint64(at) >= uint64(len(store)) {
			continue
		}
		text, _, _ := bytes.Cut(store[at:], []byte{0})
		tags[binary.BigEndian.Uint32(index)] = string(text)
	}
	return tags, int(n)*16 + int(size), nil
}

// rpm unpacks a package's payload, a cpio archive.
func (u *unpacker) rpm(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("unpack package: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	info, err := parseRPM(r)
	if err == nil {
		err = u.rpmPayload(ctx, r, info.compressor)
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}

func (u *unpacker) rpmPayload(ctx context.Context, r io.Reader, compressor string) error {
	var z io.Reader
	var err error
	switch compressor {
	case "gzip", "":
		z, err = gzip.NewReader(r)
	case "xz":
		z, err = xz.NewReader(r)
	case "zstd":
		z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	default:
		return fmt.Errorf("its payload is packed with %s, which cannot be read", compressor)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	b := bufio.NewReader(z)
	// Packages with files of more than 4 GiB have a stripped form of cpio.
	if magic, _ := b.Peek(6); string(magic) == "07070X" {
		return errors.New("its payload is RPM's own form for large files, which cannot be read")
	}
	return u.cpioMembers(ctx, b)
}

// maxWindow bounds a decompressor's memory, in bytes. rpm's highest level of zstd
// asks for 128 MiB.
const maxWindow = 128 << 20

func (u *unpacker) cpioMembers(ctx context.Context, r io.Reader) error {
	end := &eofReader{r: r}
	for c := cpio.NewReader(end); ; {
		h, err := c.Next()
		if errors.Is(err, io.EOF) && !end.seen {
			return drain(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		m := member{name: h.Name, link: h.Linkname, size: h.Size, kind: tar.TypeFifo}
		switch h.Mode &^ cpio.ModePerm & cpio.ModeType {
		case cpio.TypeReg:
			m.kind = tar.TypeReg
		case cpio.TypeDir:
			m.kind = tar.TypeDir
		case cpio.TypeSymlink:
			m.kind = tar.TypeSymlink
		}
		if err := u.take(ctx, m, c); err != nil {
			return err
		}
	}
}

// eofReader remembers that the stream ended: the cpio reader gives io.EOF both for
// the archive's trailer and for a stream that is cut off between two members.
type eofReader struct {
	r    io.Reader
	seen bool
}

func (e *eofReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.seen = e.seen || n == 0 && errors.Is(err, io.EOF)
	return n, err
}
