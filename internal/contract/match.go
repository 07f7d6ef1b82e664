package contract

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// tagsFile holds words that say what a host is for, one or more a line.
const tagsFile = "/etc/lastgood/tags"

// Matches reports whether a contract is for this host. An error means that it could not be told.
func (c *Contract) Matches(ctx context.Context, h source.Host) (bool, error) {
	m := c.Match
	if m == nil {
		return true, nil
	}
	for _, ask := range []struct {
		want []string
		held func(context.Context, source.Host, string) (bool, error)
	}{
		{m.Hostname, hostCalled}, {m.Tags, tagged}, {m.Product, isProduct}, {m.OS, isOS}, {m.Package, installed}, {m.FileExists, fileThere},
	} {
		if len(ask.want) == 0 {
			continue
		}
		ok := false
		for _, w := range ask.want {
			yes, err := ask.held(ctx, h, w)
			if err != nil {
				return false, fmt.Errorf("match contract %s: %w", c.Metadata.Name, err)
			}
			ok = ok || yes
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func hostCalled(ctx context.Context, h source.Host, pattern string) (bool, error) {
	name, err := hostName(ctx, h.Root)
	if err != nil {
		return false, err
	}
	short, _, _ := strings.Cut(name, ".")
	full, _ := path.Match(pattern, name)
	part, _ := path.Match(pattern, short)
	return full || part, nil
}

func tagged(ctx context.Context, h source.Host, tag string) (bool, error) {
	text, _, err := readText(ctx, h.Root, maxFile, tagsFile)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if slices.Contains(strings.Fields(line), tag) {
			return true, nil
		}
	}
	return false, nil
}

func isProduct(ctx context.Context, h source.Host, pattern string) (bool, error) {
	name, err := h.Root.Attr(ctx, "/sys/class/dmi/id/product_name")
	if sysfs.Absent(err) {
		return false, nil
	}
	ok, _ := path.Match(pattern, name)
	return ok, err
}

func isOS(ctx context.Context, h source.Host, id string) (bool, error) {
	for _, f := range []string{"/etc/os-release", "/usr/lib/os-release"} { // os-release(5)
		text, found, err := readText(ctx, h.Root, maxFile, f)
		if err != nil {
			return false, err
		}
		if found {
			facts := parseOSRelease(text)
			return facts["ID"] == id || slices.Contains(strings.Fields(facts["ID_LIKE"]), id), nil
		}
	}
	return false, nil
}

// parseOSRelease reads os-release(5): shell assignments with or without quotes.
func parseOSRelease(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		k, v, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
		}
		out[k] = strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(v)
	}
	return out
}

// installed looks at the databases of dpkg and apk, and asks rpm where there is one.
func installed(ctx context.Context, h source.Host, name string) (bool, error) {
	if dpkg, err := h.Root.List(ctx, "/var/lib/dpkg/info"); err == nil {
		return slices.ContainsFunc(dpkg, func(f string) bool {
			n, is := strings.CutSuffix(f, ".list")
			n, _, _ = strings.Cut(n, ":")
			return is && n == name
		}), nil
	}
	if text, found, err := readText(ctx, h.Root, 16<<20, "/lib/apk/db/installed"); err == nil && found {
		return strings.Contains("\n"+text, "\nP:"+name+"\n"), nil
	}
	if !h.Root.Live() {
		return false, errNotLive
	}
	ran, err := runCommand(ctx, []string{"rpm", "-q", "--quiet", "--", name})
	if err != nil {
		return false, fmt.Errorf("look up package %s: %w", name, err)
	}
	return ran.status == 0, nil
}

func fileThere(ctx context.Context, h source.Host, pattern string) (bool, error) {
	found, err := glob(ctx, h.Root, pattern)
	return len(found) > 0, err
}

// maxMatches bounds what a pattern may match.
const maxMatches = 10_000

// glob lists the paths that match a shell pattern, sorted. Folders that are not there hold none.
func glob(ctx context.Context, root *sysfs.Root, pattern string) ([]string, error) {
	found := []string{"/"}
	for _, elem := range strings.Split(strings.Trim(path.Clean(pattern), "/"), "/") {
		var next []string
		for _, dir := range found {
			more, err := globOne(ctx, root, dir, elem)
			if err != nil {
				return nil, err
			}
			if next = append(next, more...); len(next) > maxMatches {
				return nil, fmt.Errorf("look for %s: more than %d paths match", pattern, maxMatches)
			}
		}
		found = next
	}
	slices.Sort(found)
	return found, nil
}

func globOne(ctx context.Context, root *sysfs.Root, dir, elem string) ([]string, error) {
	if !strings.ContainsAny(elem, `*?[\`) {
		there, err := root.Exists(ctx, dir, elem)
		if err != nil || !there {
			return nil, err
		}
		return []string{path.Join(dir, elem)}, nil
	}
	names, err := root.List(ctx, dir)
	if sysfs.Absent(err) || isNotFolder(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if ok, _ := path.Match(elem, n); ok && (!strings.HasPrefix(n, ".") || strings.HasPrefix(elem, ".")) {
			out = append(out, path.Join(dir, n))
		}
	}
	return out, nil
}
