package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FromFile is the kernel of an image or package that a person names. A package is
// not unpacked yet.
func FromFile(ctx context.Context, name string) (Kernel, error) {
	if err := ctx.Err(); err != nil {
		return Kernel{}, err
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return Kernel{}, fmt.Errorf("read kernel: %w", err)
	}
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("no regular file")
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("read kernel %s: %w", name, err)
	}
	switch filepath.Ext(name) {
	case ".deb":
		return fromDeb(name, st.Size())
	case ".rpm":
		return fromRPM(name, st.Size())
	}
	return fromImage(name)
}

// FromFolder lists the kernels in a folder: images with their module trees, and
// packages. What is no kernel there is in the error, beside the kernels that are.
func FromFolder(ctx context.Context, dir string) ([]Kernel, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("look for kernels: %w", err)
	}
	all, errs := fromFolder(ctx, dir, FromFile)
	if len(all) == 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func fromImage(name string) (Kernel, error) {
	img, err := ReadImage(name)
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{Release: img.Release, Arch: img.Arch, Image: name, Source: SourceFile, Testable: true}
	if k.Release == "" {
		k.Release = imageRelease(name)
	}
	k.Flavour, _ = FlavourOf(k.Release)
	if k.Release == "" {
		k.Release = filepath.Base(name)
		k.note("neither the image nor its name says its release")
	}
	// Beside an unpacked image, as the packages lay them out.
	for _, tree := range []string{"../lib/modules", "../usr/lib/modules"} {
		if p := filepath.Join(filepath.Dir(name), tree, k.Release); isFolder(p) {
			k.Modules = p
			break
		}
	}
	if p := filepath.Join(filepath.Dir(name), "config-"+k.Release); regular(p) {
		k.Config = p
	}
	return k, nil
}

func isFolder(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

func fromDeb(name string, size int64) (Kernel, error) {
	info, err := readDeb(name)
	if err != nil {
		return Kernel{}, err
	}
	role, release := roleOf(info.Package)
	switch role {
	case roleImage, roleUnsigned, roleBinary, roleBinaryUnsigned:
	case "":
		return Kernel{}, fmt.Errorf("read package %s: %s is no kernel: %w", name, info.Package, ErrNotKernel)
	default:
		return Kernel{}, &HintError{fmt.Errorf("read package %s: it has no kernel image, only its %s: %w", name, role, ErrNotKernel),
			"name the linux-image or linux-binary package of " + release + ", or a folder with both"}
	}
	k := Kernel{Release: release, Arch: archOf(info.Arch), Family: FamilyDebian, Package: info.Package, Version: info.Version, Source: SourceFile, Testable: true,
		Parts: []Part{{Package: info.Package, Version: info.Version, Arch: info.Arch, File: name, Size: size}}}
	k.Flavour, _ = FlavourOf(release)
	if role == roleBinary || role == roleBinaryUnsigned {
		k.note("its modules are in another package, linux-modules-%s", release)
	}
	return k, nil
}

func fromRPM(name string, size int64) (Kernel, error) {
	info, err := readRPM(name)
	if err != nil {
		return Kernel{}, err
	}
	if info.Name != "kernel" && !strings.HasPrefix(info.Name, "kernel-") {
		return Kernel{}, fmt.Errorf("read package %s: %s is no kernel: %w", name, info.Name, ErrNotKernel)
	}
	release := info.Version + "-" + info.Release + "." + info.Arch
	// kernel-rt-core, kernel-debug-core: the variant is appended to the release.
	if variant := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(info.Name, "kernel"), "-"), "core"); strings.Trim(variant, "-") != "" {
		release += "+" + strings.Trim(variant, "-")
	}
	k := Kernel{Release: release, Arch: archOf(info.Arch), Family: FamilyRPM, Package: info.Name, Version: info.Version + "-" + info.Release, Source: SourceFile, Testable: true,
		Parts: []Part{{Package: info.Name, Version: info.Version + "-" + info.Release, Arch: info.Arch, File: name, Size: size}}}
	k.Flavour, _ = FlavourOf(release)
	return k, nil
}
