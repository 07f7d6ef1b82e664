package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Hint says that something may have changed.
type Hint struct {
	From string // uevent or kmsg
	Text string
}

// Hints follows uevents and the kernel's log until ctx is done. What cannot be opened is
// reported in the error and the other one is followed all the same; the channel is closed
// when neither is left.
func Hints(ctx context.Context) (<-chan Hint, error) {
	out := make(chan Hint, 16)
	var fds []follower
	var errs []error
	if fd, err := openUevents(); err != nil {
		errs = append(errs, err)
	} else {
		fds = append(fds, follower{fd, "uevent", parseUevent})
	}
	if fd, err := openLog("/dev/kmsg"); err != nil {
		errs = append(errs, err)
	} else {
		fds = append(fds, follower{fd, "kmsg", parseRecord})
	}
	go follow(ctx, fds, out)
	return out, errors.Join(errs...)
}

type follower struct {
	fd    int
	from  string
	parse func([]byte) (string, bool)
}

// openUevents listens to what the kernel itself sends (group 1; udev's own is group 2).
func openUevents() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return -1, fmt.Errorf("open uevents: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen to uevents: %w", err)
	}
	return fd, nil
}

// openLog opens the kernel's log at its end.
func openLog(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("seek %s: %w", name, err)
	}
	return fd, nil
}

// pollFor is how long a wait for hints may go on after ctx is done.
const pollFor = 500 * time.Millisecond

// follow waits for what can be read and sends hints; where nobody takes them they are
// dropped, for one is as good as many.
func follow(ctx context.Context, from []follower, out chan<- Hint) {
	defer close(out)
	defer func() {
		for _, f := range from {
			unix.Close(f.fd)
		}
	}()
	for ctx.Err() == nil && len(from) > 0 {
		poll := make([]unix.PollFd, len(from))
		for i, f := range from {
			poll[i] = unix.PollFd{Fd: int32(f.fd), Events: unix.POLLIN}
		}
		if _, err := unix.Poll(poll, int(pollFor/time.Millisecond)); err != nil && err != unix.EINTR {
			return
		}
		left := from[:0:0]
		for i, f := range from {
			if poll[i].Revents == 0 || f.drain(out) {
				left = append(left, f)
			} else {
				unix.Close(f.fd)
			}
		}
		from = left
	}
}

// maxDrain bounds what is read at a time: a kernel that floods its log must not hold the
// loop.
const maxDrain = 1000

// drain reads what there is; false where it can be followed no more. The log answers
// EPIPE where records were overwritten, the socket ENOBUFS where some were dropped: both
// go on.
func (f follower) drain(out chan<- Hint) bool {
	buf := make([]byte, 16<<10)
	for range maxDrain {
		n, err := unix.Read(f.fd, buf)
		switch {
		case err == unix.EAGAIN:
			return true
		case err == unix.EPIPE, err == unix.EINTR, err == unix.ENOBUFS:
			continue
		case err != nil || n <= 0:
			return false
		}
		if text, ok := f.parse(buf[:n]); ok {
			select {
			case out <- Hint{f.from, text}:
			default:
			}
		}
	}
	return true
}

// subsystems are those whose events may have to do with what is sampled.
var subsystems = []string{"thermal", "hwmon", "cpu", "power_supply", "net", "usb", "pci", "block", "nvme", "scsi_host", "memory"}

// parseUevent reads ACTION@DEVPATH and KEY=VALUE with zero bytes between
// (lib/kobject_uevent.c).
func parseUevent(b []byte) (string, bool) {
	parts := bytes.Split(b, []byte{0})
	action, devpath, ok := strings.Cut(string(parts[0]), "@")
	if !ok {
		return "", false
	}
	for _, p := range parts[1:] {
		name, found := bytes.CutPrefix(p, []byte("SUBSYSTEM="))
		if !found {
			continue
		}
		for _, s := range subsystems {
			if string(name) == s {
				return printable(s + " " + action + " " + devpath), true
			}
		}
	}
	return "", false
}

// heat are parts of messages about heat (drivers/thermal, arch/x86 therm_throt, drm).
var heat = []string{"temperature above threshold", "temperature is above threshold", "critical temperature", "clock throttled", "clock is throttled", "temperature/speed normal",
	"HARDWARE PROTECTION", "over temperature", "overheat", "Hardware Error", "fan fail"}

// parseRecord reads a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
func parseRecord(b []byte) (string, bool) {
	_, text, ok := strings.Cut(string(b), ";")
	if !ok {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n")
	for _, h := range heat {
		if strings.Contains(text, h) {
			return printable(text), true
		}
	}
	return "", false
}

// printable bounds a text of the kernel's and leaves out what a terminal would obey.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\ufffd' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 300)]
}
