package probes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// eachLine calls f for every line of a large file of the kernel's, without its newline,
// and never holds the file, on a live host. A file of more than max bytes, or with a line
// of more than maxSurfaceLine, is an error: a part would look like the whole.
func eachLine(ctx context.Context, root *sysfs.Root, name string, max int, f func(line []byte)) error {
	if !root.Live() {
		b, err := root.Bytes(ctx, max+1, name)
		if err != nil {
			return err
		}
		return scanLines(ctx, name, max, bytes.NewReader(b), f)
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	return scanLines(ctx, name, max, file, f)
}

// maxSurfaceLine is far above KSYM_NAME_LEN and MODULE_NAME_LEN together.
const maxSurfaceLine = 64 << 10

func scanLines(ctx context.Context, name string, max int, r io.Reader, f func(line []byte)) error {
	br := bufio.NewReaderSize(r, maxSurfaceLine)
	for seen, lines := 0, 0; ; lines++ {
		if lines%1024 == 0 && ctx.Err() != nil {
			return fmt.Errorf("read %s: %w", name, ctx.Err())
		}
		line, err := br.ReadSlice('\n')
		if seen += len(line); seen > max {
			return fmt.Errorf("read %s: longer than %d bytes", name, max)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read %s: a line of more than %d bytes", name, maxSurfaceLine)
		}
		if len(line) > 0 {
			f(bytes.TrimSuffix(line, []byte("\n")))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, plainError(err))
		}
	}
}

// plainError strips the path, which is named already.
func plainError(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
