package kmsg

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

// ConsoleFile is where a recorded host keeps its kernel log.
const ConsoleFile = consoleFile

// Console is the log of the host under root as a recording keeps it, and ReadWhole reads
// it from one. Of the live log only the kernel's own records are taken: what programs
// write there may be anything. Of a recorded one it is the file as it is.
func Console(ctx context.Context, root *sysfs.Root) ([]byte, error) {
	if !root.Live() {
		b, err := root.Bytes(ctx, maxConsole, consoleFile)
		if err != nil {
			return nil, fmt.Errorf("read kernel log: %w", err)
		}
		return b, nil
	}
	w, err := ReadWhole(ctx, root)
	if err != nil {
		return nil, err
	}
	return FormatConsole(w.Records), nil
}

// FormatConsole writes the kernel's own records as dmesg does, as many as ParseConsole's
// reader takes; the first are kept, for there the devices are found.
func FormatConsole(records []Record) []byte {
	var out bytes.Buffer
	for _, r := range records {
		if r.Foreign {
			continue
		}
		line := fmt.Sprintf("[%5d.%06d] %s\n", r.At/time.Second, r.At%time.Second/time.Microsecond, strings.ReplaceAll(r.Text, "\n", " "))
		if out.Len()+len(line) > maxConsole {
			break
		}
		out.WriteString(line)
	}
	return out.Bytes()
}
