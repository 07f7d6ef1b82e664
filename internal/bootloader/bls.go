package bootloader

import (
	"context"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// blsEntry is a boot loader specification entry, type 1.
type blsEntry struct {
	title, version, machine, sortKey string
	linux, options                   string
	initrd                           []string
}

// parseBLS reads lines of a key and a value with blanks between. A key that may stand more than
// once adds up.
func parseBLS(text string) blsEntry {
	var e blsEntry
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		i := strings.IndexAny(line, " \t")
		if i < 0 || line[0] == '#' {
			continue
		}
		value := strings.TrimSpace(line[i:])
		switch line[:i] {
		case "title":
			e.title = value
		case "version":
			e.version = value
		case "machine-id":
			e.machine = value
		case "sort-key":
			e.sortKey = value
		case "linux", "efi", "uki":
			if e.linux == "" {
				e.linux = value
			}
		case "initrd":
			e.initrd = append(e.initrd, value)
		case "options":
			e.options = strings.TrimSpace(e.options + " " + value)
		}
	}
	return e
}

// tries is the boot counter in a file's name: +LEFT or +LEFT-DONE.
var tries = regexp.MustCompile(`\+(\d+)(?:-\d+)?$`)

// readBLS reads the entries in a folder, by file name without .conf. One that cannot be read
// makes the answer incomplete: the error says so.
func readBLS(ctx context.Context, root *sysfs.Root, dir string) (map[string]blsEntry, error) {
	names, err := root.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := map[string]blsEntry{}
	var errs []error
	for _, n := range names {
		id, conf := strings.CutSuffix(n, ".conf")
		if !conf || strings.HasPrefix(n, ".") {
			continue
		}
		text, err := readText(ctx, root, path.Join(dir, n))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[id] = parseBLS(text)
	}
	return out, errors.Join(errs...)
}

// grubEntries is where Fedora's blscfg command looks.
const grubEntries = "/boot/loader/entries"

// blsItems are the lines that blscfg adds to GRUB's menu: newest first. get gives GRUB's
// variables, which options and initrd lines may name.
func blsItems(ctx context.Context, root *sysfs.Root, get func(string) string) ([]item, error) {
	entries, err := readBLS(ctx, root, grubEntries)
	ids := make([]string, 0, len(entries))
	for id := range entries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.SortStableFunc(ids, func(a, b string) int { return compareBLS(b, a) })
	var items []item
	for _, id := range ids {
		e := entries[id]
		if e.linux == "" {
			continue
		}
		items = append(items, item{
			id: id, title: e.title, linux: e.linux, release: e.release(), source: path.Join(grubEntries, id+".conf"),
			initrd: expandVars(strings.Join(e.initrd, " "), get), option: expandVars(e.options, get),
		})
	}
	return items, err
}

// release is the kernel's release: by the image's name, else what the entry says of its version.
func (e *blsEntry) release() string {
	if r := releaseOf(e.linux); r != "" {
		return r
	}
	return e.version
}

var dollar = regexp.MustCompile(`\$\{?(\w+)\}?`)

func expandVars(s string, get func(string) string) string {
	return dollar.ReplaceAllStringFunc(s, func(m string) string { return get(dollar.FindStringSubmatch(m)[1]) })
}
