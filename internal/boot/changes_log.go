package boot

import (
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"lastgood/internal/sysfs"
)

const (
	// maxLogFile bounds a log as it is on disk, maxLogTail what is read of its end, unpacked.
	maxLogFile = 512 << 20
	maxLogTail = 16 << 20
	// maxLogs bounds what is read of one log and its rotated parts together.
	maxLogs = 48 << 20
	// maxRotated is how many rotated parts are looked at: apt keeps twelve months.
	maxRotated = 14
)

// readRotated reads a log and its rotated parts (NAME.1, NAME.2.gz, NAME-20261101.xz …), oldest first. Of a large
// one only the end is read; whole is false then. A part that cannot be read ends the search for
// older ones and is told in the error, beside what could be read.
func readRotated(ctx context.Context, root *sysfs.Root, name string) (text string, whole bool, err error) {
	parts, err := rotated(ctx, root, name)
	if err != nil {
		return "", false, err
	}
	if len(parts) == 0 {
		return "", false, fmt.Errorf("read %s: %w", name, errNoLog)
	}
	whole = true
	var texts []string
	left := maxLogs
	for i, p := range parts {
		if i > maxRotated || left <= 0 {
			whole = false
			break
		}
		t, cut, e := logTail(ctx, root, p, min(left, maxLogTail))
		if sysfs.Absent(e) {
			continue // rotated away at this moment
		}
		if e != nil {
			whole, err = false, e
			break
		}
		texts = append(texts, t)
		left -= len(t)
		if cut {
			whole = false
			break
		}
	}
	if len(texts) == 0 && err == nil {
		err = fmt.Errorf("read %s: %w", name, errNoLog)
	}
	slices.Reverse(texts)
	return strings.Join(texts, "\n"), whole, err
}

// errNoLog says that there is no such log: the package manager is not this host's.
var errNoLog = errors.New("there is no such log")

// dated is what logrotate's dateext puts behind a name.
var dated = regexp.MustCompile(`^-(\d{8})$`)

// turn says how far back a part lies by what stands behind the log's name; ok is false for what is no part.
func turn(rest string) (number int, ok bool) {
	if ext := path.Ext(rest); unpackers[ext] != nil {
		rest = strings.TrimSuffix(rest, ext)
	}
	if m := dated.FindStringSubmatch(rest); m != nil {
		day, err := strconv.Atoi(m[1])
		return 1e8 - day, err == nil
	}
	number, err := strconv.Atoi(strings.TrimPrefix(rest, "."))
	return number, err == nil && rest[0] == '.' && number > 0
}

// maxWindow bounds the memory that a packed log may ask for: what packs logs uses 8 MiB.
const maxWindow = 64 << 20

// unpackers read what rotated parts are packed with, by the end of their names.
var unpackers = map[string]func(io.Reader) (io.Reader, error){
	".gz":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	".bz2": func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil },
	".xz":  func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) },
	".zst": func(r io.Reader) (io.Reader, error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z, nil // without concurrency nothing of it outlives its reader
	},
}

// rotated lists a log's parts, newest first.
func rotated(ctx context.Context, root *sysfs.Root, name string) ([]string, error) {
	dir, base := path.Split(name)
	names, err := root.List(ctx, dir)
	if err != nil {
		if sysfs.Absent(err) {
			err = nil
		}
		return nil, err
	}
	type part struct {
		name   string
		number int
	}
	var parts []part
	for _, n := range names {
		rest, ok := strings.CutPrefix(n, base)
		if !ok {
			continue
		}
		if rest == "" {
			parts = append(parts, part{path.Join(dir, n), 0})
			continue
		}
		if number, ok := turn(rest); ok {
			parts = append(parts, part{path.Join(dir, n), number})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out, nil
}

// logTail is the end of a log, from the beginning of a line on.
func logTail(ctx context.Context, root *sysfs.Root, name string, max int) (string, bool, error) {
	type tailed struct {
		text string
		cut  bool
	}
	t, err := stream(ctx, root, name, maxLogFile, func(r io.Reader) (tailed, error) {
		if unpack := unpackers[path.Ext(name)]; unpack != nil {
			z, err := unpack(r)
			if err != nil {
				return tailed{}, err
			}
			r = io.LimitReader(z, maxLogFile)
		}
		b, cut, err := tail(r, max)
		if cut {
			_, b, _ = bytes.Cut(b, []byte("\n"))
		}
		return tailed{strings.ToValidUTF8(string(b), "?"), cut}, err
	})
	return t.text, t.cut, err
}

// tail keeps the last max bytes of what is read.
func tail(r io.Reader, max int) (out []byte, cut bool, err error) {
	buf := make([]byte, 0, min(2*max, 64<<10))
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if len(buf) >= 2*max {
			buf = append(buf[:0], buf[len(buf)-max:]...)
			cut = true
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, cut, err
		}
	}
	if len(buf) > max {
		return buf[len(buf)-max:], true, nil
	}
	return buf, cut, nil
}

// fromText makes a Log of a text's transactions; nil where the host has no such log.
func fromText(ctx context.Context, root *sysfs.Root, manager, name string, parse func(string) []Transaction) *Log {
	text, whole, err := readRotated(ctx, root, name)
	if errors.Is(err, errNoLog) {
		return nil
	}
	l := &Log{Manager: manager, Transactions: parse(text), Whole: whole, Err: err}
	if len(l.Transactions) == 0 && err != nil {
		return l
	}
	l.Err = nil // older parts that cannot be read only make it not whole
	return l
}
