package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFolder bounds what is looked at in a folder given by hand.
const maxFolder = 200_000

// found is what a walk over a folder came upon.
type found struct {
	images   []string // vmlinuz-R
	trees    []string // lib/modules/R
	packages []string // .deb, .rpm
	seen     int
}

// FromFolder lists the kernels in a folder: images with a module tree of the same
// release somewhere in it, and packages. Symbolic links to folders are not followed.
// The errors name what was looked at and is no kernel or could not be read.
func fromFolder(ctx context.Context, dir string, fromFile func(context.Context, string) (Kernel, error)) ([]Kernel, []error) {
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return nil, []error{fmt.Errorf("look for kernels in %s: %w", dir, err)}
	}
	f, errs := walkFolder(ctx, dir)
	var all []Kernel
	for _, image := range f.images {
		all = append(all, f.kernel(image))
	}
	for _, p := range f.packages {
		if role := roleOfFile(p); role == roleModules || role == roleModulesExtra || role == roleConfig {
			continue // parts of another package's kernel
		}
		k, err := fromFile(ctx, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		k.Source = SourceFolder
		f.join(&k, p)
		all = append(all, k)
	}
	if len(all) == 0 && len(errs) == 0 {
		errs = []error{&HintError{fmt.Errorf("look for kernels in %s: %w", dir, ErrNotKernel),
			"want vmlinuz-RELEASE with lib/modules/RELEASE, or .deb or .rpm packages"}}
	}
	Sort(all)
	return all, errs
}

func walkFolder(ctx context.Context, dir string) (*found, []error) {
	f := &found{}
	var errs []error
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if f.seen++; f.seen > maxFolder {
			return fmt.Errorf("more than %d files", maxFolder)
		}
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil:
			errs = append(errs, fmt.Errorf("look for kernels in %s: %w", dir, err))
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir() && isTree(p):
			f.trees = append(f.trees, p)
			if inside := filepath.Join(p, "vmlinuz"); regular(inside) {
				f.images = append(f.images, inside)
			}
			return fs.SkipDir // thousands of modules
		case !d.Type().IsRegular():
		case imageRelease(p) != "":
			f.images = append(f.images, p)
		case filepath.Ext(p) == ".deb" || filepath.Ext(p) == ".rpm":
			f.packages = append(f.packages, p)
		}
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("look for kernels in %s: %w", dir, err))
	}
	return f, errs
}

// isTree reports a folder lib/modules/RELEASE.
func isTree(p string) bool {
	return isRelease(filepath.Base(p)) && strings.HasSuffix(filepath.Dir(p), filepath.Join("lib", "modules"))
}

func regular(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.Mode().IsRegular()
}

// imageRelease is the release in an image's name, "" if it is no image.
func imageRelease(p string) string {
	for _, prefix := range imagePrefixes {
		if r, ok := strings.CutPrefix(filepath.Base(p), prefix); ok && isRelease(r) && filepath.Ext(p) != ".rpm" && filepath.Ext(p) != ".deb" {
			return r
		}
	}
	return ""
}

// kernel is what an image and what lies around it make.
func (f *found) kernel(image string) Kernel {
	release := imageRelease(image)
	if release == "" { // lib/modules/RELEASE/vmlinuz
		release = filepath.Base(filepath.Dir(image))
	}
	k := Kernel{Release: release, Image: image, Source: SourceFolder, Testable: true}
	k.Flavour, k.Arch = FlavourOf(release)
	best := -1
	for _, t := range f.trees {
		if n := shared(t, image); filepath.Base(t) == release && n > best {
			k.Modules, best = t, n
		}
	}
	places := []string{filepath.Join(filepath.Dir(image), "config-"+release)}
	if k.Modules == "" {
		k.refuse("its module tree is not in the folder: lib/modules/%s", release)
	} else {
		places = append(places, filepath.Join(k.Modules, "config"))
	}
	if i := slices.IndexFunc(places, regular); i >= 0 {
		k.Config = places[i]
	}
	return k
}

// shared is how much of their paths two files have in common: the tree that lies
// closest to an image is its own.
func shared(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return strings.Count(a[:n], string(filepath.Separator))
}

// join adds the packages that hold the rest of a kernel whose image is in p.
func (f *found) join(k *Kernel, p string) {
	_, version, arch := splitDebFile(p)
	for _, other := range f.packages {
		name, v, a := splitDebFile(other)
		role, release := roleOf(name)
		if role != roleModules && role != roleModulesExtra && role != roleConfig || release != k.Release || v != version || a != arch {
			continue
		}
		k.Parts = append(k.Parts, Part{Package: name, Version: v, Arch: a, File: other})
	}
}

// splitDebFile splits NAME_VERSION_ARCH.deb; a colon in a version is %3a in the name.
func splitDebFile(p string) (name, version, arch string) {
	f := strings.Split(strings.TrimSuffix(filepath.Base(p), ".deb"), "_")
	if filepath.Ext(p) != ".deb" || len(f) != 3 {
		return "", "", ""
	}
	return f[0], strings.ReplaceAll(f[1], "%3a", ":"), f[2]
}

func roleOfFile(p string) string {
	name, _, _ := splitDebFile(p)
	role, _ := roleOf(name)
	return role
}
