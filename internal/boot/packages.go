package boot

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// maxStatus bounds dpkg's status file: a large desktop has about 10 MB.
const maxStatus = 128 << 20

// packages are the installed packages that touch the kernel, with their versions:
// the running kernel's own, firmware, microcode, modules built by DKMS, systemd
// and udev, the initramfs makers and the boot loaders. dpkg's and pacman's records
// are read; RPM's database is a binary one that only its own library reads, so
// packages are absent there.
func packages(ctx context.Context, root *sysfs.Root) (map[string]string, error) {
	rel, err := release(ctx, root)
	if err != nil && !sysfs.Absent(err) {
		return nil, err
	}
	found, err := dpkgPackages(ctx, root, rel)
	if err != nil && !sysfs.Absent(err) {
		return nil, err
	}
	pacman, err := pacmanPackages(ctx, root, rel)
	if err != nil && !sysfs.Absent(err) {
		return found, err
	}
	if found == nil {
		found = pacman
	} else {
		maps.Copy(found, pacman)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, nil
}

// kernelParts begin the names of packages that hold a kernel; the release follows.
var kernelParts = []string{"linux-image-", "linux-modules-", "proxmox-kernel-", "pve-kernel-"}

// bootParts are names, and beginnings that end in a hyphen, of packages that the
// boot goes through.
var bootParts = []string{
	"amd-ucode", "amd64-microcode", "bluez-firmware", "dkms", "dracut", "dracut-", "firmware-", "grub", "grub-", "grub2", "grub2-",
	"initramfs-tools", "initramfs-tools-core", "intel-microcode", "intel-ucode", "kmod", "limine", "linux-firmware", "linux-firmware-",
	"mkinitcpio", "pve-firmware", "raspi-firmware", "refind", "shim", "shim-", "systemd", "systemd-boot", "systemd-boot-", "udev",
}

// wanted reports whether a package matters here. Of the kernels only the running
// one's does: that another is installed beside it changes nothing yet.
func wanted(name, release string) bool {
	if strings.HasSuffix(name, "-dkms") {
		return true
	}
	if release != "" && strings.Contains(name, "-"+release) {
		if slices.ContainsFunc(kernelParts, func(p string) bool { return strings.HasPrefix(name, p) }) {
			return true
		}
	}
	return slices.ContainsFunc(bootParts, func(p string) bool {
		return name == p || strings.HasSuffix(p, "-") && strings.HasPrefix(name, p)
	})
}

func dpkgPackages(ctx context.Context, root *sysfs.Root, release string) (map[string]string, error) {
	return stream(ctx, root, "/var/lib/dpkg/status", maxStatus, func(r io.Reader) (map[string]string, error) {
		return parseDpkg(r, func(name []byte) bool { return wanted(string(name), release) })
	})
}

var (
	dpkgPackage = []byte("Package:")
	dpkgStatus  = []byte("Status:")
	dpkgVersion = []byte("Version:")
)

// parseDpkg reads the stanzas of dpkg's status file, one a package, and keeps the
// versions of those that are wanted and unpacked.
func parseDpkg(r io.Reader, want func(name []byte) bool) (map[string]string, error) {
	out := map[string]string{}
	var name, version string
	there := false
	end := func() {
		if name != "" && there && version != "" {
			out[name] = version
		}
		name, version, there = "", "", false
	}
	err := eachLine(r, func(line []byte) {
		switch {
		case len(line) == 0:
			end()
		case bytes.HasPrefix(line, dpkgPackage):
			if v := bytes.TrimSpace(line[len(dpkgPackage):]); want(v) {
				name = string(v)
			}
		case name == "":
		case bytes.HasPrefix(line, dpkgStatus):
			there = onDisk(line[len(dpkgStatus):])
		case bytes.HasPrefix(line, dpkgVersion):
			version = string(bytes.TrimSpace(line[len(dpkgVersion):]))
		}
	})
	end()
	return out, err
}

// onDisk reads a state such as "install ok installed": the third word says
// whether the package's files are there.
func onDisk(status []byte) bool {
	f := bytes.Fields(status)
	return len(f) == 3 && string(f[2]) != "not-installed" && string(f[2]) != "config-files"
}

// pacmanPackages reads the names in pacman's local database, each
// "NAME-VERSION-BUILD". Which of them is the running kernel's is written in its
// module folder.
func pacmanPackages(ctx context.Context, root *sysfs.Root, release string) (map[string]string, error) {
	names, err := root.List(ctx, "/var/lib/pacman/local")
	if err != nil {
		return nil, err
	}
	kernel := ""
	if release != "" && !strings.ContainsRune(release, '/') {
		kernel, err = root.Attr(ctx, "/usr/lib/modules", release, "pkgbase")
		if err != nil && !sysfs.Absent(err) {
			return nil, err
		}
	}
	out := map[string]string{}
	for _, n := range names {
		if name, version, ok := splitPacman(n); ok && (name == kernel || wanted(name, release)) {
			out[name] = version
		}
	}
	return out, nil
}

// splitPacman parts the name from "VERSION-BUILD", neither of which has a hyphen.
func splitPacman(s string) (name, version string, ok bool) {
	build := strings.LastIndexByte(s, '-')
	if build <= 0 {
		return "", "", false
	}
	v := strings.LastIndexByte(s[:build], '-')
	if v <= 0 {
		return "", "", false
	}
	return s[:v], s[v+1:], true
}
