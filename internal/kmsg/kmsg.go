// Package kmsg reads the kernel's log: the live one from /dev/kmsg, that of a
// recorded host from its console log. Reading takes nothing from anybody else, for
// each reader of /dev/kmsg has a position of its own.
package kmsg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// Device is where the kernel hands out its log.
const Device = "/dev/kmsg"

// Record is one message.
type Record struct {
	Seq   uint64        // its number since boot; in a console log its line
	Level int           // 0 (emergency) to 7 (debug), -1 where it is not known
	At    time.Duration // since boot, by the kernel's clock
	Text  string        // its first line
	// Foreign is true where a program wrote it, which may claim anything: the kernel's own
	// messages are of facility 0, and a program cannot choose that one.
	Foreign bool
	// Device and Subsystem are the keys that dev_printk attaches: "b8:0" and "c4:64" are
	// device numbers, "n2" an interface's index, "+pci:0000:01:00.0" a bus and a name.
	Device, Subsystem string
}

// Limits bound one reading: a kernel that floods its log must not keep a check
// from ending. A bound that is zero does not hold.
type Limits struct {
	Records int
	Bytes   int
	Time    time.Duration
}

// ErrFlooded is wrapped by the error of a reading that a limit ended.
var ErrFlooded = errors.New("more than is read")

// Log is the live kernel log, open.
type Log struct {
	read  func([]byte) (int, error) // one record, as read(2) gives it
	close func() error
}

// Open opens the log at its first record that is still there, or at its end.
func Open(name string, end bool) (*Log, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if end { // else it stands at the first record, on every kernel since 3.5
		if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("seek %s: %w", name, err)
		}
	}
	return &Log{
		read:  func(b []byte) (int, error) { return unix.Read(fd, b) },
		close: func() error { return unix.Close(fd) },
	}, nil
}

// Close closes the log.
func (l *Log) Close() { l.close() }

// maxRecord holds any record: PRINTK_MESSAGE_MAX of kernel/printk/internal.h is 2 KiB,
// CONSOLE_EXT_LOG_MAX before it was 8 KiB. A smaller buffer would get EINVAL.
const maxRecord = 8 << 10

// Read returns the records that came since the last Read. lost says that some were
// overwritten before they were read (the kernel answers EPIPE once, and goes on after
// them). An error of ErrFlooded comes with what was read until then.
func (l *Log) Read(lim Limits) (records []Record, lost bool, err error) {
	began, size := time.Now(), 0
	buf := make([]byte, maxRecord)
	for n := 0; ; n++ {
		if (lim.Records > 0 && n >= lim.Records) || (lim.Bytes > 0 && size >= lim.Bytes) || (lim.Time > 0 && time.Since(began) > lim.Time) {
			return records, lost, fmt.Errorf("read kernel log: stopped after %d records: %w", n, ErrFlooded)
		}
		got, err := l.read(buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return records, lost, nil
		case errors.Is(err, unix.EPIPE):
			lost = true
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return records, lost, fmt.Errorf("read kernel log: %w", err)
		case got == 0: // a log has no end; something else stands in its place
			return records, lost, errors.New("read kernel log: it is no kernel log")
		}
		size += got
		if r, ok := Parse(string(buf[:got])); ok {
			records = append(records, r)
		}
	}
}

// Whole is the log of this boot.
type Whole struct {
	Records []Record
	// Gap says why the log does not reach back to the kernel's first message, or does
	// not go on to its last; "" where it is whole.
	Gap string
}

// wholeLimits let the largest ring of a distribution through (CONFIG_LOG_BUF_SHIFT is 17
// to 21), and end one of log_buf_len=1G.
var wholeLimits = Limits{Records: 100_000, Bytes: 32 << 20, Time: 2 * time.Second}

// ReadWhole reads the kernel log of the host under root since its boot: /dev/kmsg of
// this host, console.log of a recorded one. An error says that there is none or that
// it may not be read.
func ReadWhole(ctx context.Context, root *sysfs.Root) (Whole, error) {
	if err := ctx.Err(); err != nil {
		return Whole{}, fmt.Errorf("read kernel log: %w", err)
	}
	if !root.Live() {
		return readConsole(ctx, root)
	}
	l, err := Open(Device, false)
	if err != nil {
		return Whole{}, err
	}
	defer l.Close()
	return l.whole(wholeLimits)
}

func (l *Log) whole(lim Limits) (Whole, error) {
	records, lost, err := l.Read(lim)
	w := Whole{Records: records}
	switch {
	case errors.Is(err, ErrFlooded):
		w.Gap = err.Error()
	case err != nil:
		return w, err
	case lost:
		w.Gap = "read kernel log: records were overwritten while it was read"
	case len(records) > 0 && records[0].Seq > 0:
		w.Gap = fmt.Sprintf("read kernel log: its first %d records are overwritten (log_buf_len= makes room for more)", records[0].Seq)
	}
	return w, nil
}
