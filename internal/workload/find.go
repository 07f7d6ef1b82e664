package workload

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lastgood/loader"
)

// Bounds on what is looked at: an agent that fills a folder must not fill ours.
const (
	maxEntries = 100_000
	maxObjects = 10_000
	maxTotal   = 1 << 30
	maxDepth   = 4
	maxValues  = 4 << 20
)

// Finder looks for objects.
type Finder struct {
	// Release is the running kernel's, for agents that pick by it.
	Release string

	entries int
	total   int64
	digests map[string]bool
	set     Set
}

// Find lists the objects of all specs, each once. What cannot be read is a problem of
// its own and keeps nothing else from being found.
func (f *Finder) Find(ctx context.Context, specs []Spec) Set {
	f.digests = map[string]bool{}
	for i := range specs {
		f.find(ctx, &specs[i])
	}
	nameFiles(f.set.Files, nil)
	pick(f.set.Files, specs, f.Release)
	return f.set
}

func (f *Finder) problem(s *Spec, name string, err error) {
	f.set.Problems = append(f.set.Problems, Problem{Name: name, Workload: s.Name, Why: err.Error()})
}

func (f *Finder) find(ctx context.Context, s *Spec) {
	paths := f.paths(ctx, s)
	for _, p := range paths {
		if ctx.Err() != nil {
			f.problem(s, p, fmt.Errorf("find objects: %w", ctx.Err()))
			return
		}
		if len(f.set.Files) >= maxObjects || f.total >= maxTotal {
			f.problem(s, s.Name, fmt.Errorf("find objects: there are more than %d, or more than %d MiB of them: the rest is left out", maxObjects, maxTotal>>20))
			return
		}
		f.take(s, p)
	}
}

// take reads one object and its values.
func (f *Finder) take(s *Spec, name string) {
	object := loader.ObjectFile{Path: name}
	b, err := object.Read()
	if errors.Is(err, fs.ErrNotExist) && !given(s, name) {
		return // gone since it was listed
	}
	if err != nil {
		f.problem(s, name, err)
		return
	}
	file := File{ObjectFile: loader.ObjectFile{Path: name, Digest: loader.DigestBytes(b), Types: s.Types, Inner: s.InnerMaps, Only: s.Programs, Loader: s.Loader},
		Workload: s.Name, Origin: name, Size: int64(len(b)), State: Present}
	if file.Values, err = readValues(s, name); err != nil {
		f.problem(s, name, err)
		return
	}
	if len(file.Values) > 0 {
		file.ValuesDigest = loader.DigestBytes(file.Values)
	}
	if f.digests[file.key()] {
		return // the same program for another endpoint
	}
	f.digests[file.key()] = true
	f.total += file.Size
	f.set.Files = append(f.set.Files, file)
}

// key is what makes two objects one: their bytes, their values and how they are read.
func (f *File) key() string { return f.Digest + " " + f.ValuesDigest + " " + f.Workload }

// given reports whether the path was written out and not found by a pattern.
func given(s *Spec, name string) bool { return slices.Contains(s.Objects, name) }

// readValues reads the values that the spec names, or those beside the object.
func readValues(s *Spec, object string) ([]byte, error) {
	name := s.Values
	if name == "" {
		name = strings.TrimSuffix(object, filepath.Ext(object)) + ".json"
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) && s.Values == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxValues {
		return nil, fmt.Errorf("read values %s: no regular file of less than %d MiB", name, maxValues>>20)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	if _, err := loader.ParseValues(b); err != nil {
		if s.Values == "" {
			return nil, nil // some other document of the agent's, which only has the object's name
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bytes.TrimSpace(b), nil
}

// paths are the files that the spec means, in a fixed order.
func (f *Finder) paths(ctx context.Context, s *Spec) []string {
	var all []string
	for _, pattern := range s.Objects {
		found, err := f.expand(ctx, pattern)
		if err != nil {
			f.problem(s, pattern, err)
		}
		all = append(all, found...)
	}
	all = slices.DeleteFunc(all, unfinished)
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(p string) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
}

// unfinished tells folders in which Cilium builds an endpoint anew, or keeps one that
// failed, from those in use.
func unfinished(p string) bool {
	dir := filepath.Base(filepath.Dir(p))
	return strings.HasSuffix(dir, "_next") || strings.HasSuffix(dir, "_next_fail") || strings.HasSuffix(dir, "_stale")
}

func (f *Finder) expand(ctx context.Context, pattern string) ([]string, error) {
	info, err := os.Stat(pattern)
	switch {
	case err == nil && info.IsDir():
		return f.walk(ctx, pattern, 0)
	case err == nil:
		return []string{pattern}, nil
	case !strings.ContainsAny(pattern, "*?["):
		return nil, fmt.Errorf("find object: %w", err)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("find objects %s: %w", pattern, err)
	}
	return found, nil
}

// walk lists the *.o below a folder. Links to folders are not followed.
func (f *Finder) walk(ctx context.Context, dir string, depth int) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("find objects: %w", err)
	}
	defer d.Close()
	var out, below []string
	for ctx.Err() == nil {
		// A few at a time: a folder may hold a million.
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			switch {
			case e.IsDir() && depth < maxDepth:
				below = append(below, name)
			case strings.HasSuffix(e.Name(), ".o") && (e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0):
				out = append(out, name)
			}
		}
		if f.entries += len(entries); f.entries > maxEntries {
			slices.Sort(out)
			return out, fmt.Errorf("find objects %s: more than %d entries: the rest is left out", dir, maxEntries)
		}
		if err != nil {
			break // io.EOF, or what cannot be read any further
		}
	}
	var errs []error
	slices.Sort(below)
	for _, b := range below {
		more, err := f.walk(ctx, b, depth+1)
		out, errs = append(out, more...), append(errs, err)
	}
	slices.Sort(out)
	return out, errors.Join(errs...)
}

// nameFiles gives each file a name that no other has: its own, or where that is taken
// its own with the beginning of its digest.
func nameFiles(files []File, taken map[string]bool) {
	if taken == nil {
		taken = map[string]bool{}
	}
	for i := range files {
		if files[i].Name != "" {
			taken[files[i].Name] = true
		}
	}
	for i := range files {
		f := &files[i]
		if f.Name != "" {
			continue
		}
		base := filepath.Base(f.Origin)
		f.Name = base
		for n := 8; taken[f.Name]; n += 8 {
			sum := f.Digest
			if f.ValuesDigest != "" {
				sum = loader.DigestBytes([]byte(f.Digest + f.ValuesDigest))
			}
			f.Name = base + "@" + sum[:min(n, len(sum))]
			if n > len(sum) {
				f.Name += "+" + f.Workload
				break
			}
		}
		taken[f.Name] = true
	}
}

// Merge puts what was kept from the last good boot and what is there now together. What
// is the same keeps its name; what is not there is verified from the kept bytes.
//
// specs and release say which of several variants an agent picks on this kernel.
func Merge(kept, now Set, specs []Spec, release string) Set {
	out := Set{Problems: append(slices.Clone(kept.Problems), now.Problems...)}
	names := map[string]string{}
	there := map[string]bool{}
	for i := range kept.Files {
		names[kept.Files[i].key()] = kept.Files[i].Name
	}
	present := map[string]bool{}
	for i := range now.Files {
		there[now.Files[i].Workload], present[now.Files[i].key()] = true, true
	}
	taken := map[string]bool{}
	for _, f := range kept.Files {
		taken[f.Name] = true
		if present[f.key()] {
			continue
		}
		f.State = Waiting
		if there[f.Workload] {
			f.State = Replaced
		}
		out.Files = append(out.Files, f)
	}
	for _, f := range now.Files {
		f.Name = names[f.key()]
		out.Files = append(out.Files, f)
	}
	nameFiles(out.Files, taken)
	pick(out.Files, specs, release)
	slices.SortFunc(out.Files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
