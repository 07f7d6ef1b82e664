package sysfs

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errnoFile is where a recording keeps the attributes that answered with an
// error: one a line, path, errno and text, with tabs between.
const errnoFile = "ERRNO.tsv"

// walkMark stands in the errno's place where the recorder could not begin to look
// at a path; the path is then absent from the tree.
const walkMark = "WALK"

// parseErrnos reads an ERRNO.tsv: absolute path on the host → errno. The errno
// is a number or a name such as EIO; the text after it is for people. Blank
// lines and lines that begin with # are passed over.
func parseErrnos(text string) (map[string]unix.Errno, error) {
	out := map[string]unix.Errno{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) < 2 {
			return nil, fmt.Errorf("line %d: want path, errno and text with tabs between, have %q", i+1, clip(line))
		}
		name, err := cleanEntry(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if fields[1] == walkMark {
			continue
		}
		errno, err := parseErrno(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out[name] = errno
	}
	return out, nil
}

// maxErrno is MAX_ERRNO of include/linux/err.h.
const maxErrno = 4095

func parseErrno(s string) (unix.Errno, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(s), "-"))
	if err == nil && n > 0 && n <= maxErrno {
		return unix.Errno(n), nil
	}
	if err == nil {
		return 0, fmt.Errorf("errno %d is out of range", n)
	}
	for n := 1; n < 200; n++ {
		if unix.ErrnoName(unix.Errno(n)) == strings.TrimSpace(s) {
			return unix.Errno(n), nil
		}
	}
	return 0, fmt.Errorf("%q is no errno", clip(s))
}

// errOutside is the error of an entry that points out of the tree.
var errOutside = errors.New("points outside the tree")

// maxPath is PATH_MAX of include/uapi/linux/limits.h: no host has longer names. The
// bound matters, for package tar lets through a name of 1 MiB, half a million folders
// deep, and each of them costs a walk over the name.
const maxPath = 4096

// cleanEntry is the absolute host path of an archive's entry or of a path in
// ERRNO.tsv: "./sys/x", "sys/x" and "/sys/x" are the same. One that climbs is refused.
func cleanEntry(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("path %q is longer than %d bytes", clip(name), maxPath)
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("path %q has a zero byte", clip(name))
	}
	for _, e := range strings.Split(name, "/") {
		if e == ".." {
			return "", fmt.Errorf("path %q: %w", clip(name), errOutside)
		}
	}
	return path.Clean("/" + name), nil
}
