package candidate

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const (
	// maxImage bounds a kernel image and maxVmlinux what is packed in it.
	maxImage   = 256 << 20
	maxVmlinux = 1 << 30
)

// errNoBTF is a kernel without type information.
var errNoBTF = errors.New("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")

// readBTF takes the type information out of a kernel image, without booting it: an
// ELF file, or an x86 bzImage with one packed inside.
func readBTF(ctx context.Context, image string) ([]byte, error) {
	b, err := readBounded(image, maxImage)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, []byte(elf.ELFMAG)) {
		payload, err := payloadOf(b)
		if err != nil {
			return nil, fmt.Errorf("read kernel %s: %w", image, err)
		}
		if b, err = unpackKernel(ctx, payload); err != nil {
			return nil, fmt.Errorf("unpack kernel %s: %w", image, err)
		}
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read kernel %s: %w", image, err)
	}
	s := f.Section(".BTF")
	if s == nil {
		return nil, fmt.Errorf("read kernel %s: %w", image, errNoBTF)
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read kernel %s: %w", image, err)
	}
	return bytes.Clone(data), nil // the rest of the kernel may go
}

func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read kernel: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d MiB", limit>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read kernel %s: %w", name, err)
	}
	return b, nil
}

// payloadOf finds the packed kernel in a bzImage (Documentation/arch/x86/boot.rst,
// payload_offset and payload_length, since protocol 2.08).
func payloadOf(b []byte) ([]byte, error) {
	if len(b) < 0x250 || string(b[0x202:0x206]) != "HdrS" {
		return nil, errors.New("it is neither a bzImage nor an ELF file, and others cannot be read")
	}
	if v := binary.LittleEndian.Uint16(b[0x206:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %x does not tell where the kernel is", v)
	}
	setup := uint64(b[0x1f1])
	if setup == 0 {
		setup = 4
	}
	at := (setup+1)*512 + uint64(binary.LittleEndian.Uint32(b[0x248:]))
	length := uint64(binary.LittleEndian.Uint32(b[0x24c:]))
	if length < 8 || at+length > uint64(len(b)) {
		return nil, errors.New("it is cut off: its packed kernel is not all there")
	}
	return b[at : at+length], nil
}

// unpackKernel unpacks a payload. The last four bytes are its unpacked length, put
// there by the kernel's build.
func unpackKernel(ctx context.Context, payload []byte) ([]byte, error) {
	body, length := payload[:len(payload)-4], binary.LittleEndian.Uint32(payload[len(payload)-4:])
	if bytes.HasPrefix(body, []byte(elf.ELFMAG)) {
		return body, nil
	}
	if length > maxVmlinux {
		return nil, fmt.Errorf("it claims to be of %d bytes", length)
	}
	if bytes.HasPrefix(body, []byte{0xfd, '7', 'z', 'X', 'Z'}) {
		return unpackXZ(ctx, body, int64(length))
	}
	z, err := decompressor(bytes.NewReader(body), body[:6])
	if err != nil {
		return nil, err
	}
	return exactly(z, int64(length))
}

// exactly reads as much as there should be, for what follows may be padding.
func exactly(r io.Reader, n int64) ([]byte, error) {
	b := make([]byte, 0, min(n, 64<<20))
	buf := bytes.NewBuffer(b)
	if got, err := io.CopyN(buf, r, n); err != nil {
		return nil, fmt.Errorf("%d of %d bytes: %w", got, n, err)
	}
	return buf.Bytes(), nil
}

// unpackXZ runs xz(1): kernels are packed with its filter for x86 code, which no Go
// library has, and it is several times as fast.
func unpackXZ(ctx context.Context, body []byte, n int64) ([]byte, error) {
	xz, err := exec.LookPath("xz")
	if err != nil {
		return nil, errors.New("it is packed with xz, and the program xz is not installed (package xz-utils or xz)")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, xz, "--decompress", "--stdout", "--single-stream", "--quiet")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(body)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run xz: %w", err)
	}
	b, err := exactly(out, n)
	cancel()
	_ = cmd.Wait() // it was stopped where it had more to say
	return b, err
}
