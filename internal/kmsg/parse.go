package kmsg

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

// Parse reads one /dev/kmsg record, "priority,sequence,microseconds,flags;text\n
// KEY=value\n" (Documentation/ABI/testing/dev-kmsg). More fields may stand before the
// semicolon. It gives false for what is no record or has no text.
func Parse(record string) (Record, bool) {
	head, rest, ok := strings.Cut(record, ";")
	if !ok {
		return Record{}, false
	}
	text, keys, _ := strings.Cut(rest, "\n")
	fields := strings.Split(head, ",")
	if text == "" || len(fields) < 3 {
		return Record{}, false
	}
	prio, err1 := strconv.ParseUint(fields[0], 10, 32)
	seq, err2 := strconv.ParseUint(fields[1], 10, 64)
	usec, err3 := strconv.ParseUint(fields[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || usec > math.MaxInt64/1000 {
		return Record{}, false
	}
	r := Record{Seq: seq, Level: int(prio & 7), Foreign: prio>>3 != 0, At: time.Duration(usec) * time.Microsecond, Text: unescape(text)}
	for line := range strings.Lines(keys) {
		if v, ok := strings.CutPrefix(line, " DEVICE="); ok {
			r.Device = strings.TrimSpace(v)
		} else if v, ok := strings.CutPrefix(line, " SUBSYSTEM="); ok {
			r.Subsystem = strings.TrimSpace(v)
		}
	}
	return r, true
}

// unescape undoes msg_add_ext_text of kernel/printk/printk.c for tabs, which stand in
// many messages; what else was escaped stays so, for it is meant for no terminal.
func unescape(s string) string { return strings.ReplaceAll(s, `\x09`, "\t") }

// consoleFile is where a recorded host keeps its console's output, and maxConsole
// how much of it is read.
const (
	consoleFile = "/console.log"
	maxConsole  = 1 << 20
)

func readConsole(ctx context.Context, root *sysfs.Root) (Whole, error) {
	b, err := root.Bytes(ctx, maxConsole+1, consoleFile)
	if sysfs.Absent(err) {
		return Whole{}, fmt.Errorf("read kernel log: no %s was recorded", strings.TrimPrefix(consoleFile, "/"))
	}
	if err != nil {
		return Whole{}, fmt.Errorf("read kernel log: %w", err)
	}
	if len(b) > maxConsole {
		b = b[:maxConsole]
		return Whole{Records: ParseConsole(string(b)), Gap: fmt.Sprintf("read kernel log: %s is longer than %d bytes", consoleFile, maxConsole)}, nil
	}
	return Whole{Records: ParseConsole(string(b))}, nil
}

// ParseConsole reads the output of a console, or of dmesg: lines that begin with a
// time in brackets are the kernel's, the rest is passed over. Where a kernel begins
// anew, what came before is of another boot.
func ParseConsole(text string) []Record {
	var out []Record
	n := uint64(0)
	for line := range strings.Lines(text) {
		n++
		at, msg, ok := stamp(strings.TrimRight(line, "\r\n"))
		if !ok || msg == "" {
			continue
		}
		if strings.HasPrefix(msg, "Linux version ") && at < time.Second {
			out = out[:0]
		}
		out = append(out, Record{Seq: n, Level: -1, At: at, Text: msg})
	}
	return out
}

// stamp takes "[    4.794364] text" apart, and passes over the number of a task or CPU
// that CONFIG_PRINTK_CALLER puts behind the time: "[    4.794364][    T1] text".
func stamp(line string) (time.Duration, string, bool) {
	rest, ok := strings.CutPrefix(line, "[")
	if !ok {
		return 0, "", false
	}
	num, text, ok := strings.Cut(rest, "]")
	sec, frac, dot := strings.Cut(strings.TrimSpace(num), ".")
	s, err1 := strconv.ParseUint(sec, 10, 32)
	us, err2 := strconv.ParseUint(frac, 10, 32)
	if !ok || !dot || len(frac) != 6 || err1 != nil || err2 != nil {
		return 0, "", false
	}
	if caller, after, ok := strings.Cut(text, "]"); ok && strings.HasPrefix(caller, "[") && strings.Trim(caller[1:], " TC0123456789") == "" {
		text = after
	}
	return time.Duration(s)*time.Second + time.Duration(us)*time.Microsecond, strings.TrimPrefix(text, " "), true
}
