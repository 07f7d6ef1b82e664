package boot

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// maxText bounds a small text file. COMMAND_LINE_SIZE is 4096 at most.
const maxText = 64 << 10

// text reads a whole small file and trims it; a longer one is an error, since a
// part of it would be another value.
func text(ctx context.Context, root *sysfs.Root, name string) (string, error) {
	b, err := root.Bytes(ctx, maxText+1, name)
	if err != nil {
		return "", err
	}
	if len(b) > maxText {
		return "", fmt.Errorf("read %s: longer than %d bytes", name, maxText)
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00")), nil
}

// streamPatience is how long one whole file may take: longer than an attribute's,
// for several MB are hashed, on an emulated CPU too.
const streamPatience = 5 * sysfs.Patience

// stream hands a large file to consume without holding it in memory, where the
// host is live; consume keeps what it finds to itself until it returns, for it is
// left alone when ctx is done or the kernel does not answer. A file of more than
// max bytes is an error.
func stream[T any](ctx context.Context, root *sysfs.Root, name string, max int, consume func(io.Reader) (T, error)) (T, error) {
	var none T
	if !root.Live() {
		b, err := root.Bytes(ctx, max+1, name)
		if err != nil {
			return none, err
		}
		return consumed(name, max, bytes.NewReader(b), consume)
	}
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("read %s: %w", name, err)
	}
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := streamLive(name, max, consume)
		done <- answer{v, err}
	}()
	timer := time.NewTimer(streamPatience)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.v, a.err
	case <-timer.C:
		return none, fmt.Errorf("read %s: %w in %v", name, sysfs.ErrHung, streamPatience)
	case <-ctx.Done():
		return none, fmt.Errorf("read %s: %w: %w", name, sysfs.ErrHung, ctx.Err())
	}
}

// streamLive opens the file as a blocking one: package os would hand a pollable
// proc file (mountinfo is one) to its poller.
func streamLive[T any](name string, max int, consume func(io.Reader) (T, error)) (T, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		var none T
		return none, fmt.Errorf("read %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return consumed(name, max, f, consume)
}

func consumed[T any](name string, max int, r io.Reader, consume func(io.Reader) (T, error)) (T, error) {
	v, err := consume(&bounded{r: r, max: max})
	if err == nil {
		return v, nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // it bears the path, which is named here already
	}
	var none T
	return none, fmt.Errorf("read %s: %w", name, err)
}

// bounded reads max bytes and then fails, where io.LimitReader would make a part
// look like the whole.
type bounded struct {
	r    io.Reader
	max  int
	seen int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.seen += n; b.seen > b.max {
		return 0, fmt.Errorf("longer than %d bytes", b.max)
	}
	return n, err
}

// eachLine calls f for every line, without its newline. Of a line longer than
// maxText only that much is given: no line that is looked for is so long.
func eachLine(r io.Reader, f func(line []byte)) error {
	br := bufio.NewReaderSize(r, maxText)
	for whole := true; ; {
		line, err := br.ReadSlice('\n')
		if whole && len(line) > 0 {
			f(bytes.TrimRight(line, "\n"))
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			whole = false
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			whole = true
		}
	}
}

// firstOf reads the first of several files that is there. One that is there and
// cannot be read ends the search: what the next would say may not be the same.
func firstOf[T any](names []string, read func(name string) (T, error)) (T, error) {
	var v T
	var err error
	for _, name := range names {
		if v, err = read(name); !sysfs.Absent(err) {
			return v, err
		}
	}
	return v, err
}
