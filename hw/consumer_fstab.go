package hw

import (
	"context"
	"slices"
	"strings"

	"lastgood/internal/fstab"
	"lastgood/internal/sysfs"
)

func readFstabUses(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFiles(ctx, root, fstabUses, "/etc/fstab")
}

func fstabUses(_, text string) []mention {
	var out []mention
	for _, l := range fstab.Parse(text) {
		if l.Commented {
			continue
		}
		purpose, need := l.Point, needBoot
		if l.Type == "swap" {
			purpose, need = "swap", needLater // swap.target only wants its devices
		}
		if l.Has("noauto") || l.Has("nofail") {
			need = needLater
		}
		if named(l.Spec) {
			out = append(out, mention{line: l.Number, name: l.Spec, purpose: purpose, need: need})
		}
		for _, o := range l.Options { // logdev=, device=, journal_path=
			key, value, _ := strings.Cut(o, "=")
			for _, name := range movable(value) {
				out = append(out, mention{line: l.Number, name: name, purpose: key + " of " + purpose, need: need})
			}
		}
	}
	return out
}

// named reports whether a field is the name of a block device that may move, or a tag.
func named(spec string) bool {
	_, _, tag := tagOf(spec)
	return tag || slices.Equal(movable(spec), []string{spec})
}

func readCrypttab(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFiles(ctx, root, crypttabUses, "/etc/crypttab")
}

// crypttabUses reads crypttab(5): name, device, key, options. A key may lie on a
// device, and the header too.
func crypttabUses(_, text string) []mention {
	var out []mention
	eachLine(text, func(n int, line string) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return
		}
		need := needBoot
		if len(f) > 3 {
			if o := strings.Split(f[3], ","); slices.Contains(o, "noauto") || slices.Contains(o, "nofail") {
				need = needLater
			}
		}
		for i, what := range []string{"encrypted volume ", "key of ", "options of "} {
			if i+1 >= len(f) {
				return
			}
			if i == 0 && named(f[1]) {
				out = append(out, mention{line: n, name: f[1], purpose: what + f[0], need: need})
				continue
			}
			for _, name := range movable(f[i+1]) {
				out = append(out, mention{line: n, name: name, purpose: what + f[0], need: need})
			}
		}
	})
	return out
}

func readCmdlineUses(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFiles(ctx, root, cmdlineUses, "/proc/cmdline")
}

// cmdlineUses reads the kernel's command line: root=, resume=, cryptdevice= and the like,
// and the interface of ip= (Documentation/admin-guide/nfs/nfsroot.rst).
func cmdlineUses(_, text string) []mention {
	var out []mention
	for _, word := range strings.Fields(text) {
		key, value, found := strings.Cut(word, "=")
		if !found {
			continue
		}
		need := needBoot
		if key == "resume" { // without an image there is nothing to resume from
			need = needLater
		}
		if named(value) && (key == "root" || key == "resume") {
			out = append(out, mention{name: value, purpose: key + "=", need: need})
			continue
		}
		for _, name := range movable(value) {
			out = append(out, mention{name: name, purpose: key + "=", need: need})
		}
		if f := strings.Split(value, ":"); key == "ip" && len(f) > 5 && f[5] != "" {
			out = append(out, mention{name: port(f[5]), purpose: "ip=", need: needBoot})
		}
	}
	return out
}

func readDeviceMap(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	return inFiles(ctx, root, deviceMapUses, "/boot/grub/device.map", "/boot/grub2/device.map")
}

// deviceMapUses reads GRUB's "(hd0) /dev/sda", which grub-install asks.
func deviceMapUses(_, text string) []mention {
	var out []mention
	eachLine(text, func(n int, line string) {
		drive, dev, _ := strings.Cut(line, ")")
		for _, name := range movable(dev) {
			out = append(out, mention{line: n, name: name, purpose: "GRUB's drive " + strings.TrimPrefix(drive, "("), need: needWatch})
		}
	})
	return out
}
