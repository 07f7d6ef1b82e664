package kernels

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// imagePrefixes are the names of kernel images in /boot, before the release.
var imagePrefixes = []string{"vmlinuz-", "vmlinux-", "kernel-", "Image-"}

// moduleRoots are where module trees are; the first is where they are packaged, the
// second a link to it or, on older hosts, the only one.
var moduleRoots = []string{"/usr/lib/modules", "/lib/modules"}

// unifiedFolders are where unified kernel images lie, by the Boot Loader Specification.
var unifiedFolders = []string{"/boot/efi/EFI/Linux", "/efi/EFI/Linux", "/boot/EFI/Linux"}

// inventory gathers what is known of each installed kernel.
type inventory struct {
	root  *sysfs.Root
	by    map[string]*Kernel
	order []string
	errs  []error
}

// Installed lists the kernels that this host has: images in /boot, module trees,
// boot loader entries and unified kernel images, each once. What lacks a part is
// listed with the reason. The errors name what could not be read, so that an
// unreadable /boot is not taken for an empty one.
func Installed(ctx context.Context, root *sysfs.Root) ([]Kernel, []error) {
	in := &inventory{root: root, by: map[string]*Kernel{}}
	in.images(ctx)
	in.moduleTrees(ctx)
	in.entries(ctx)
	family, err := Family(ctx, root)
	if err != nil {
		in.errs = append(in.errs, err)
	}
	packages, err := dpkgKernels(ctx, root)
	if err != nil {
		in.errs = append(in.errs, err)
	}
	var all []Kernel
	for _, r := range in.order {
		k := in.by[r]
		k.Family = family
		if isRelease(r) {
			in.complete(ctx, k)
			packages.label(k)
		}
		all = append(all, *k)
	}
	all = append(all, in.unified(ctx, family)...)
	Sort(all)
	return all, in.errs
}

// kernel is the entry for a release, made at the first mention.
func (in *inventory) kernel(release string) *Kernel {
	if k := in.by[release]; k != nil {
		return k
	}
	k := &Kernel{Release: release, Source: SourceInstalled, Testable: true}
	if isRelease(release) {
		k.Flavour, k.Arch = FlavourOf(release)
	}
	in.by[release] = k
	in.order = append(in.order, release)
	return k
}

// list names what is in a folder; one that is not there is empty.
func (in *inventory) list(ctx context.Context, dir string) []string {
	names, err := in.root.List(ctx, dir)
	if err != nil && !sysfs.Absent(err) {
		in.errs = append(in.errs, err)
	}
	return names
}

// exists is false, with the error kept, where it could not be told.
func (in *inventory) exists(ctx context.Context, name string) bool {
	there, err := in.root.Exists(ctx, name)
	if err != nil {
		in.errs = append(in.errs, err)
	}
	return there
}

func (in *inventory) images(ctx context.Context) {
	for _, n := range in.list(ctx, "/boot") {
		for _, p := range imagePrefixes {
			release, ok := strings.CutPrefix(n, p)
			if !ok || release == "" {
				continue
			}
			k := in.kernel(release)
			if k.Image != "" { // vmlinux-R beside vmlinuz-R: the loader takes the packed one
				k.note("another image is at %s", path.Join("/boot", n))
				if p != "vmlinuz-" {
					continue
				}
			}
			k.Image = path.Join("/boot", n)
			if !isRelease(release) {
				k.refuse("the name does not tell its release; name the file to try it")
			}
		}
	}
}

func (in *inventory) moduleTrees(ctx context.Context) {
	for _, dir := range moduleRoots {
		for _, r := range in.list(ctx, dir) {
			if !isRelease(r) {
				continue
			}
			tree := path.Join(dir, r)
			k := in.kernel(r)
			if k.Modules == "" {
				k.Modules = tree
			}
			in.named(ctx, k, tree)
			if image := path.Join(tree, "vmlinuz"); k.Image == "" && in.exists(ctx, image) {
				k.Image = image
			}
		}
	}
}

// named finds an image that is called after its package: Arch Linux's vmlinuz-linux
// has its name in the tree's pkgbase.
func (in *inventory) named(ctx context.Context, k *Kernel, tree string) {
	base, err := in.root.Attr(ctx, tree, "pkgbase")
	if sysfs.Absent(err) {
		return
	}
	if err != nil {
		in.errs = append(in.errs, err)
		return
	}
	if other := in.by[base]; other != nil && k.Image == "" {
		k.Image = other.Image
		delete(in.by, base)
		in.order = slices.DeleteFunc(in.order, func(r string) bool { return r == base })
	}
}

func (in *inventory) entries(ctx context.Context) {
	all, errs := bootEntries(ctx, in.root)
	in.errs = append(in.errs, errs...)
	for _, e := range all {
		if e.Linux == "" {
			continue // an EFI program, such as memory test or firmware setup
		}
		release := e.release()
		if release == "" {
			release = path.Base(e.Linux)
			for _, p := range imagePrefixes {
				release = strings.TrimPrefix(release, p)
			}
		}
		k := in.kernel(release)
		k.Entries = append(k.Entries, e.Path)
		image, err := e.locate(ctx, in.root, e.Linux)
		switch {
		case err != nil:
			in.errs = append(in.errs, err)
		case image == "":
			k.note("boot entry %s names an image that is not there: %s", e.Path, e.Linux)
		case k.Image == "" || strings.HasPrefix(k.Image, "/usr/lib/modules/"):
			k.Image = image // what the loader boots
		}
		if !isRelease(release) {
			k.refuse("the boot entry does not tell its release; name the file to try it")
		}
		if len(e.Initrd) > 0 && k.Initramfs == "" {
			// Microcode may come first; the initramfs is the last.
			if p, err := e.locate(ctx, in.root, e.Initrd[len(e.Initrd)-1]); err == nil {
				k.Initramfs = p
			}
		}
	}
}

// complete looks for what goes with an image, and judges what is missing.
func (in *inventory) complete(ctx context.Context, k *Kernel) {
	r := k.Release
	for _, p := range []string{"/boot/config-" + r, "/usr/lib/modules/" + r + "/config", "/lib/modules/" + r + "/config"} {
		if k.Config == "" && in.exists(ctx, p) {
			k.Config = p
		}
	}
	for _, p := range []string{"/boot/initrd.img-" + r, "/boot/initramfs-" + r + ".img", "/boot/initramfs-" + r, "/boot/initrd-" + r} {
		if k.Initramfs == "" && in.exists(ctx, p) {
			k.Initramfs = p
		}
	}
	switch {
	case k.Image == "" && k.Modules == "":
		k.refuse("its boot entry is all there is: neither image nor modules")
	case k.Image == "":
		k.refuse("its modules are in %s, and no image is in /boot or beside them", k.Modules)
	case k.Modules == "":
		k.refuse("its module tree is not there: /lib/modules/%s", r)
	case !in.exists(ctx, path.Join(k.Modules, "modules.dep")):
		k.refuse("its module tree has no modules.dep: %s", k.Modules)
	}
	if k.Image != "" && k.Initramfs == "" {
		k.note("no initramfs is in /boot")
	}
}

// unified lists unified kernel images. They hold kernel, initramfs and command line
// in one signed file that is not taken apart here.
func (in *inventory) unified(ctx context.Context, family string) []Kernel {
	var all []Kernel
	for _, dir := range unifiedFolders {
		for _, n := range in.list(ctx, dir) {
			base, ok := strings.CutSuffix(n, ".efi")
			if !ok {
				continue
			}
			k := Kernel{Family: family, Image: path.Join(dir, n), Source: SourceInstalled}
			base, _, _ = strings.Cut(base, "+") // boot counting appends +LEFT-DONE
			for _, r := range []string{base, afterDash(base)} {
				if k.Release == "" && isRelease(r) {
					k.Release = r
					k.Flavour, k.Arch = FlavourOf(r)
				}
			}
			k.refuse("a unified kernel image is not taken apart: name its kernel's file or package to try it")
			all = append(all, k)
		}
	}
	return all
}

// afterDash drops the machine id or distribution before a release.
func afterDash(s string) string {
	_, rest, _ := strings.Cut(s, "-")
	return rest
}

// Family is the host's package format, FamilyDebian or FamilyRPM, as its os-release
// says, or "" for neither.
func Family(ctx context.Context, root *sysfs.Root) (string, error) {
	m, err := osRelease(ctx, root)
	if err != nil {
		return "", fmt.Errorf("find package format: %w", err)
	}
	for _, id := range strings.Fields(m["ID"] + " " + m["ID_LIKE"]) {
		switch id {
		case "debian", "ubuntu":
			return FamilyDebian, nil
		case "fedora", "rhel", "centos", "suse", "opensuse", "amzn", "rocky", "almalinux", "ol":
			return FamilyRPM, nil
		}
	}
	return "", nil
}
