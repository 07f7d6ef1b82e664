package sysfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Span is a part of a block device: Len bytes from Off.
type Span struct {
	Off int64
	Len int
}

// maxSpans bounds how much of one block device is read at once.
const maxSpans = 1 << 20

// blockFS is a tree whose block devices can be read in parts.
type blockFS interface {
	ReadSpans(name, number string, spans []Span) ([][]byte, error)
}

// Spans reads parts of a block device. number is its "major:minor": a node of that
// name which is another device answers ENODEV; "" takes any. A part is short, or
// empty, where the device ends before it. In a tree that holds no devices a plain
// file of that name stands for one.
//
// It reads the medium. The caller sees to it that no disk is woken by that.
func (r *Root) Spans(ctx context.Context, number string, spans []Span, elem ...string) ([][]byte, error) {
	name := path.Join(elem...)
	total := 0
	for _, s := range spans {
		if s.Off < 0 || s.Len < 0 || s.Len > maxSpans-total {
			return nil, fmt.Errorf("read %s: parts out of bounds: %w", name, unix.EINVAL)
		}
		total += s.Len
	}
	return guard(ctx, r, "read", name, func() ([][]byte, error) {
		if b, ok := r.fs.(blockFS); ok {
			return b.ReadSpans(name, number, spans)
		}
		return spansOfFile(r.fs, name, spans)
	})
}

// spansOfFile cuts the parts out of a file. What lies beyond what a recording may
// hold of one file is not there.
func spansOfFile(f FS, name string, spans []Span) ([][]byte, error) {
	b, err := f.ReadFile(name, maxFile)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(spans))
	for i, s := range spans {
		if s.Off < int64(len(b)) {
			out[i] = b[s.Off:min(int64(len(b)), s.Off+int64(s.Len))]
		}
	}
	return out, nil
}

// ReadSpans opens the node without waiting for a medium, checks that it is the
// device that is meant, and reads without read-ahead, which would be a hundred
// kilobytes for each part.
func (liveFS) ReadSpans(name, number string, spans []Span) ([][]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := isNode(fd, unix.S_IFBLK, number); err != nil {
		return nil, err
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
		return nil, err
	}
	out := make([][]byte, len(spans))
	for i, s := range spans {
		if out[i], err = preadFull(fd, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func preadFull(fd int, s Span) ([]byte, error) {
	buf := make([]byte, s.Len)
	have := 0
	for have < len(buf) {
		n, err := retry(func() (int, error) { return unix.Pread(fd, buf[have:], s.Off+int64(have)) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		have += n
	}
	return buf[:have], nil
}

// isNode refuses what is no device node of the type and the number that are meant:
// in a container /dev may hold anything, and names are handed on when disks are pulled.
func isNode(fd int, typ uint32, number string) error {
	var st unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstat(fd, &st) }); err != nil {
		return err
	}
	if number == "" {
		return nil
	}
	if have := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)); st.Mode&unix.S_IFMT != typ || have != number {
		return fmt.Errorf("the node is no device %s: %w", number, unix.ENODEV)
	}
	return nil
}

// ErrNotLive is the error of asking a device of a recorded host.
var ErrNotLive = errors.New("a recorded host has no devices to ask")

// Node opens the device node of a live host, for questions that are no reads
// (ioctls), hands its descriptor to f and closes it. f's time is bounded like that of
// every other operation, by patience in place of the usual bound: where it does not
// come back its goroutine is given up and the descriptor closed when it does. char is
// true for a character device. number is the node's "major:minor".
func Node[T any](ctx context.Context, r *Root, patience time.Duration, char bool, number, name string, f func(fd int) (T, error)) (T, error) {
	var none T
	if !r.live {
		return none, fmt.Errorf("ask %s: %w", name, ErrNotLive)
	}
	typ := uint32(unix.S_IFBLK)
	if char {
		typ = unix.S_IFCHR
	}
	return Ask(ctx, r, patience, name, func() (T, error) {
		fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
		if err != nil {
			return none, err
		}
		defer unix.Close(fd)
		if err := isNode(fd, typ, number); err != nil {
			return none, err
		}
		return f(fd)
	})
}

// Ask runs f, a question to the device name, with the manners of all other
// operations: it is given up after patience, counted while it hangs, and not begun
// where too many hang already.
func Ask[T any](ctx context.Context, r *Root, patience time.Duration, name string, f func() (T, error)) (T, error) {
	asker := *r
	asker.patience, asker.memory = patience, false
	if asker.hung == nil {
		asker.hung = new(atomic.Int32)
	}
	return guard(ctx, &asker, "ask", name, f)
}
