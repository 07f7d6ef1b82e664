package probes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lastgood/internal/sysfs"
)

// maxFormat bounds a tracepoint's format; the longest have some 20 KB, all but a little
// of it the print format.
const maxFormat = 256 << 10

var errNoTracefs = errors.New("tracefs is not mounted")

// tracefsOf is where tracefs is mounted: at its own place, or in debugfs' old one. It is
// looked for and never mounted.
func tracefsOf(ctx context.Context, root *sysfs.Root) (string, error) {
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		there, err := root.Exists(ctx, dir, "events")
		if err != nil {
			return "", err
		}
		if there {
			return dir, nil
		}
	}
	return "", errNoTracefs
}

// recordFields reads the format of one tracepoint's record.
func recordFields(ctx context.Context, root *sysfs.Root, tracefs, tracepoint string) ([]string, error) {
	b, err := root.Bytes(ctx, maxFormat, tracefs, "events", tracepoint, "format")
	if err != nil {
		return nil, err
	}
	fields, err := parseFormat(string(b))
	if err != nil {
		return nil, fmt.Errorf("read format of %s: %w", tracepoint, err)
	}
	return fields, nil
}

// parseFormat gives the fields of a record as "NAME OFFSET:SIZE": what a program that
// reads it by offset depends on, and no more. A type that goes by another name is no
// other field; that it stands elsewhere in the record (__data_loc) is. Lines are
// "field:DECLARATION; offset:N; size:N; signed:N;" (f_show in
// kernel/trace/trace_events.c). What comes behind them is for printing.
func parseFormat(text string) ([]string, error) {
	var fields []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "print fmt:") {
			break
		}
		rest, ok := strings.CutPrefix(line, "field:")
		if !ok {
			continue
		}
		f, err := parseField(rest)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	if len(fields) == 0 {
		return nil, errors.New("it has no fields")
	}
	return fields, nil
}

func parseField(line string) (string, error) {
	declaration, rest, _ := strings.Cut(line, ";")
	numbers := map[string]int{}
	for part := range strings.SplitSeq(rest, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return "", fmt.Errorf("field %q: %q is no number", declaration, value)
		}
		numbers[name] = n
	}
	offset, ok1 := numbers["offset"]
	size, ok2 := numbers["size"]
	words := strings.Fields(declaration)
	if !ok1 || !ok2 || len(words) == 0 {
		return "", fmt.Errorf("field %q: no offset or no size", declaration)
	}
	name := words[len(words)-1]
	if strings.HasPrefix(words[0], "__") && len(words) > 1 { // __data_loc, __rel_loc
		name = words[0] + " " + name
	}
	return fmt.Sprintf("%s %d:%d", name, offset, size), nil
}

// handedOn numbers what a raw tracepoint hands to programs, out of its prototype. The
// first parameter is the tracepoint's own and not handed on.
func handedOn(prototype string) []string {
	open := strings.IndexByte(prototype, '(')
	if open < 0 {
		return nil
	}
	var all []string
	depth, from := 0, open+1
	for i := open; i < len(prototype); i++ {
		switch c := prototype[i]; {
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth == 0 || depth == 1 && prototype[i] == ',' {
			all = append(all, strings.TrimSpace(prototype[from:i]))
			from = i + 1
		}
		if depth == 0 {
			break
		}
	}
	var numbered []string
	for i, a := range all[min(1, len(all)):] {
		numbered = append(numbered, fmt.Sprintf("%02d %s", i, a))
	}
	return numbered
}
