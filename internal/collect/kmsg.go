package collect

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelLog follows /dev/kmsg from where it was opened on.
type kernelLog struct{ fd int }

// openKernelLog opens the log at its end. Each reader has a position of its own,
// so nothing is taken from anybody else.
func openKernelLog(name string) (*kernelLog, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("seek %s: %w", name, err)
	}
	return &kernelLog{fd: fd}, nil
}

func (l *kernelLog) Close() { unix.Close(l.fd) }

// maxRecords bounds what is read between two steps: a kernel that floods its log
// must not keep the check from ending.
const maxRecords = 10_000

// read returns the messages that came since the last read. EPIPE says that
// records were overwritten before they were read; the log goes on after them.
func (l *kernelLog) read() ([]string, error) {
	var out []string
	buf := make([]byte, 8<<10) // LOG_LINE_MAX and a record's header and keys fit
	for range maxRecords {
		n, err := unix.Read(l.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return out, nil
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return out, fmt.Errorf("read kernel log: %w", err)
		case n == 0: // a log has no end; something else stands in its place
			return out, errors.New("read kernel log: it is no kernel log")
		}
		if text, ok := parseRecord(string(buf[:n])); ok {
			out = append(out, text)
		}
	}
	return out, nil
}

// parseRecord is the text of one /dev/kmsg record,
// "priority,sequence,microseconds,flags;text\n KEY=value\n"
// (Documentation/ABI/testing/dev-kmsg).
func parseRecord(record string) (string, bool) {
	_, text, ok := strings.Cut(record, ";")
	if !ok {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n")
	return text, text != ""
}

// alarms are the texts by which the kernel says that it caught itself in a fault.
var alarms = []string{"WARNING: ", "BUG: ", "kernel BUG at", "Oops: ", "verifier bug", "REG INVARIANTS VIOLATION", "general protection fault", "page allocation failure", "soft lockup", "rcu_preempt detected stalls", "rcu_sched detected stalls"}

// alarming picks the messages that are such.
func alarming(messages []string) []string {
	var out []string
	for _, m := range messages {
		for _, a := range alarms {
			if strings.Contains(m, a) {
				out = append(out, m)
				break
			}
		}
	}
	return out
}
