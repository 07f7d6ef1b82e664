package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2/files"
)

// kinds of a line, and what nfpm calls them. A file that is config|noreplace stays as an
// administrator wrote it; Debian's tool asks, rpm leaves the new one beside it.
var kinds = map[string]string{
	"file":   files.TypeFile,
	"gzip":   files.TypeFile,
	"config": files.TypeConfigNoReplace,
	"dir":    files.TypeDir,
}

// line is one line of the list.
type line struct {
	packages    string // deb, rpm or both
	mode        os.FileMode
	kind        string
	source      string
	destination string
}

// parseList reads the list; an error names the line.
func parseList(text string) ([]line, error) {
	var out []line
	n := 0
	for text := range strings.Lines(text) {
		n++
		f := strings.Fields(text)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("line %d: %d words, not 5", n, len(f))
		}
		mode, err := strconv.ParseUint(f[1], 8, 9)
		if err != nil {
			return nil, fmt.Errorf("line %d: mode %s: %w", n, f[1], err)
		}
		if _, known := kinds[f[2]]; !known {
			return nil, fmt.Errorf("line %d: no kind %s", n, f[2])
		}
		if !slices.Contains([]string{"deb", "rpm", "both"}, f[0]) {
			return nil, fmt.Errorf("line %d: no package %s", n, f[0])
		}
		out = append(out, line{packages: f[0], mode: os.FileMode(mode), kind: f[2], source: f[3], destination: f[4]})
	}
	return out, nil
}

// contents are the files of one package. top is the top of the sources, binary what @binary
// stands for, scratch a folder for what is compressed, at the time of every file.
func contents(list []line, format, top, binary, scratch string, at time.Time) (files.Contents, error) {
	var out files.Contents
	for _, l := range list {
		if l.packages != format && l.packages != "both" {
			continue
		}
		sources, err := l.sources(top, binary)
		if err != nil {
			return nil, err
		}
		for _, source := range sources {
			c := &files.Content{Source: source, Destination: l.destination, Type: kinds[l.kind],
				FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: l.mode, MTime: at}}
			if strings.HasSuffix(l.destination, "/") {
				c.Destination += filepath.Base(source)
			}
			if l.kind == "gzip" {
				c.Destination += ".gz"
				if c.Source, err = compressed(source, scratch); err != nil {
					return nil, err
				}
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *files.Content) int { return strings.Compare(a.Destination, b.Destination) })
	return out, nil
}

// sources are the files that a line means.
func (l *line) sources(top, binary string) ([]string, error) {
	switch {
	case l.kind == "dir":
		return []string{""}, nil
	case l.source == "@binary":
		return []string{binary}, nil
	}
	found, err := filepath.Glob(filepath.Join(top, l.source))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.source, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no such file", l.source)
	}
	if len(found) > 1 && !strings.HasSuffix(l.destination, "/") {
		return nil, fmt.Errorf("%s: several files for %s", l.source, l.destination)
	}
	return found, nil
}

// compressed writes a file's gzip into a folder, without name or time in its header.
func compressed(source, folder string) (string, error) {
	in, err := os.Open(source)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(folder, filepath.Base(source)+".gz"))
	if err != nil {
		return "", err
	}
	defer out.Close()
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(z, in); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return out.Name(), out.Close()
}
