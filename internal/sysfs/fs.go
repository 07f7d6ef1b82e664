// Package sysfs reads the kernel's attribute files: by name, one at a time, with
// the error kept, a bound on size and a deadline. The same reader serves the
// live host and a recorded one.
//
// A walk over /sys is never made: reading some attributes has side effects (a
// read of scsi_host/*/fw_crash_buffer makes the kernel log an error).
package sysfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// PageSize bounds an attribute: sysfs hands out a page at most.
const PageSize = 4096

// FS is a host's file tree. Paths are absolute, as on the host. Errors wrap the
// errno that the host answered, so that errors.Is(err, fs.ErrNotExist) and
// errors.Is(err, unix.EIO) tell absent from unreadable.
type FS interface {
	// ReadFile reads at most max bytes of a file.
	ReadFile(name string, max int) ([]byte, error)
	// ReadDir lists the names in a folder, sorted.
	ReadDir(name string) ([]string, error)
	// Readlink is the target of a symbolic link, as it is written.
	Readlink(name string) (string, error)
	// Exists reports whether name is there; an error means that it could not be told.
	Exists(name string) (bool, error)
}

// Root is a host's file tree with the manners of attribute files. Its methods
// give up when ctx is done, even where the kernel never answers.
type Root struct {
	fs       FS
	live     bool
	memory   bool // nothing of it can hang
	patience time.Duration
	recorded time.Time     // of a recorded host: when
	hung     *atomic.Int32 // operations given up on that have not come back
	sick     *atomic.Bool  // nil, or whether one of this view's has hung
}

// Patience is how long one file operation may take, and maxHung how many may
// hang before no more are begun: each holds a thread of this process.
const (
	Patience = time.Second
	maxHung  = 16
)

// New is a Root over any tree: a recording, or a test's.
func New(f FS) *Root { return WithPatience(f, Patience) }

// WithPatience is a Root over any tree that waits for d at most on each operation.
func WithPatience(f FS, d time.Duration) *Root {
	return &Root{fs: f, patience: d, hung: new(atomic.Int32)}
}

// OneDevice is a view of the same tree for the files of one device. After the first
// operation that gives no answer it begins no other, and answers ErrHung at once:
// what keeps one attribute of a sick device waiting mostly keeps all of them, and a
// disk has enough of them to use up maxHung by itself, at the cost of its neighbours.
func (r *Root) OneDevice() *Root {
	one := *r
	one.sick = new(atomic.Bool)
	return &one
}

// Live reports whether the tree is this very host, so that what is not in it
// (a system call, a netlink answer) may be asked of the running kernel.
func (r *Root) Live() bool { return r.live }

// Recorded is when a recorded host was recorded, as the times of its files say; the zero
// time for the live host and where they say nothing.
func (r *Root) Recorded() time.Time { return r.recorded }

// Attr reads one attribute: its text without blanks, newlines and
// zero bytes at its ends.
func (r *Root) Attr(ctx context.Context, elem ...string) (string, error) {
	b, err := r.Bytes(ctx, PageSize, elem...)
	if err != nil {
		return "", err
	}
	return strings.Trim(string(b), "\x00 \t\r\n"), nil
}

// Bytes reads at most max bytes of a file.
func (r *Root) Bytes(ctx context.Context, max int, elem ...string) ([]byte, error) {
	name := path.Join(elem...)
	return guard(ctx, r, "read", name, func() ([]byte, error) { return r.fs.ReadFile(name, max) })
}

// Int reads one whole number, decimal or 0x-hexadecimal.
func (r *Root) Int(ctx context.Context, elem ...string) (int64, error) {
	s, err := r.Attr(ctx, elem...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %q is no number", path.Join(elem...), clip(s))
	}
	return n, nil
}

// List names what is in a folder, sorted.
func (r *Root) List(ctx context.Context, elem ...string) ([]string, error) {
	name := path.Join(elem...)
	return guard(ctx, r, "list", name, func() ([]string, error) { return r.fs.ReadDir(name) })
}

// Link is the last element of a symbolic link's target: how sysfs names a
// driver, a subsystem or a module.
func (r *Root) Link(ctx context.Context, elem ...string) (string, error) {
	t, err := r.Target(ctx, elem...)
	if err != nil {
		return "", err
	}
	return path.Base(t), nil
}

// Target is the absolute path that a symbolic link names, one hop.
func (r *Root) Target(ctx context.Context, elem ...string) (string, error) {
	name := path.Join(elem...)
	t, err := guard(ctx, r, "readlink", name, func() (string, error) { return r.fs.Readlink(name) })
	if err != nil {
		return "", err
	}
	if !path.IsAbs(t) {
		t = path.Join(path.Dir(name), t)
	}
	return path.Clean(t), nil
}

// Exists reports whether a path is there; an error means that it could not be told.
func (r *Root) Exists(ctx context.Context, elem ...string) (bool, error) {
	name := path.Join(elem...)
	return guard(ctx, r, "stat", name, func() (bool, error) { return r.fs.Exists(name) })
}

// Absent reports whether err says that the thing is not there, as against could
// not be read.
func Absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// ErrHung is wrapped by the error of an operation that gave no answer in time.
var ErrHung = errors.New("no answer")

// guard runs one file operation and stops waiting when ctx is done or patience
// is at its end: a read from a sick device can hang for ever, and then only the
// goroutine that asked is lost.
func guard[T any](ctx context.Context, r *Root, op, name string, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s %s: %w", op, name, err)
	}
	if r.sick != nil && r.sick.Load() {
		return none, fmt.Errorf("%s %s: not tried, another read of this device hangs: %w", op, name, ErrHung)
	}
	if r.hung.Load() >= maxHung {
		return none, fmt.Errorf("%s %s: not tried, %d other reads hang: %w", op, name, maxHung, ErrHung)
	}
	if r.memory { // an answer that is late then says that this machine is busy, and nothing of the host
		v, err := f()
		if err != nil {
			return none, fmt.Errorf("%s %s: %w", op, name, bare(err))
		}
		return v, nil
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	giveUp := func() {
		r.hung.Add(1)
		if r.sick != nil {
			r.sick.Store(true)
		}
		go func() { <-done; r.hung.Add(-1) }()
	}
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case a := <-done:
		if a.err != nil {
			return none, fmt.Errorf("%s %s: %w", op, name, bare(a.err))
		}
		return a.v, nil
	case <-timer.C:
		giveUp()
		return none, fmt.Errorf("%s %s: %w in %v", op, name, ErrHung, r.patience)
	case <-ctx.Done():
		giveUp()
		return none, fmt.Errorf("%s %s: %w: %w", op, name, ErrHung, ctx.Err())
	}
}

// bare strips the path that os errors carry, for the caller names it already.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
