package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"lastgood/internal/bootloader"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// ComponentKind is the kind of what a boot is made of.
const ComponentKind = "boot.component"

func componentSource(p Prior) source.Source {
	return source.Source{
		Name:  "boot_components",
		Doc:   "What this boot is made of, beside the kernel's identity: firmware, initramfs, loader, modules built here, systemd, container runtimes, policy, live patches.",
		Kinds: []snapshot.Kind{componentKind},
		Read: func(ctx context.Context, host source.Host) ([]snapshot.Subject, error) {
			run := p.Run
			if run == nil {
				run = HostRunner(host.Root)
			}
			return readComponents(ctx, host.Root, run)
		},
	}
}

var componentKind = snapshot.Kind{
	Name: ComponentKind,
	Doc:  "A part of what this host booted, with its version or the hash of its file. No rule weighs it: a report tells what changed since the last good boot.",
	Attrs: []snapshot.Attr{
		{Name: "version", Doc: "versions, as the firmware, the kernel or the package manager give them"},
		{Name: "sha256", Doc: "hash of the file: the initramfs, the loader's configuration, the SELinux policy"},
		{Name: "path", Noise: snapshot.Evidence, Doc: "the file that was hashed"},
	},
}

// groups are the components that are told by their packages.
var groups = []struct {
	id       string
	packages []string
}{
	{"kernel_packages", []string{"linux-image-*", "linux-modules-*", "proxmox-kernel-*", "pve-kernel-*", "kernel", "kernel-core", "kernel-modules*", "kernel-default", "kernel-uek*", "linux", "linux-lts", "linux-zen", "linux-hardened"}},
	{"firmware_packages", []string{"linux-firmware*", "kernel-firmware*", "firmware-*", "*-firmware", "pve-firmware"}},
	{"microcode_packages", []string{"microcode_ctl", "amd64-microcode", "intel-microcode", "intel-ucode", "amd-ucode", "ucode-*"}},
	{"loader_packages", []string{"grub", "grub-*", "grub2", "grub2-*", "shim", "shim-*", "systemd-boot*", "limine", "refind", "sdbootutil"}},
	{"initramfs_packages", []string{"initramfs-tools*", "dracut*", "mkinitcpio*", "kmod"}},
	{"systemd", []string{"systemd", "systemd-sysv"}},
	{"udev", []string{"udev", "systemd-udev"}},
	{"container_runtime", []string{"containerd*", "docker.io", "docker-ce", "docker", "moby-engine", "cri-o*", "podman", "runc", "crun", "k3s", "kubelet"}},
	{"selinux_packages", []string{"selinux-policy*"}},
	{"libbpf", []string{"libbpf*"}},
}

func readComponents(ctx context.Context, root *sysfs.Root, run Runner) ([]snapshot.Subject, error) {
	c := &components{ctx: ctx, root: root}
	c.packages(run)
	c.firmware()
	c.hashed("initramfs", func() (string, error) { return initramfsPath(ctx, root) })
	c.hashed("loader_config", func() (string, error) { return loaderConfig(ctx, root) })
	c.hashed("selinux_policy", func() (string, error) { return selinuxPolicy(ctx, root) })
	c.dkms()
	c.livepatch()
	return c.out, nil
}

type components struct {
	ctx  context.Context
	root *sysfs.Root
	out  []snapshot.Subject
}

// version adds a component that is told by versions; one that is not there is left out.
func (c *components) version(id string, versions []string, err error) {
	s := snapshot.Subject{Kind: ComponentKind, ID: id, Outcome: snapshot.Measured}
	switch {
	case err != nil && !sysfs.Absent(err):
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
	case len(versions) == 0:
		return
	default:
		s.Set("version", snapshot.List(versions...))
	}
	c.out = append(c.out, s)
}

func (c *components) packages(run Runner) {
	all, err := installedPackages(c.ctx, c.root, run)
	if err != nil {
		c.version("packages", nil, err)
		return
	}
	for _, g := range groups {
		var versions []string
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if slices.ContainsFunc(g.packages, func(p string) bool { return match(p, name) }) {
				versions = append(versions, name+" "+all[name])
			}
		}
		c.version(g.id, versions, nil)
	}
}

// installedPackages are the packages that touch the kernel, by name, of the one package manager
// that the host has.
func installedPackages(ctx context.Context, root *sysfs.Root, run Runner) (map[string]string, error) {
	found, err := stream(ctx, root, "/var/lib/dpkg/status", maxStatus, func(r io.Reader) (map[string]string, error) {
		return parseDpkg(r, func(name []byte) bool { return Touches(string(name)) })
	})
	if err == nil || !sysfs.Absent(err) {
		return found, err
	}
	names, err := root.List(ctx, "/var/lib/pacman/local")
	if err == nil {
		out := map[string]string{}
		for _, n := range names {
			if name, version, ok := splitPacman(n); ok && Touches(name) {
				out[name] = version
			}
		}
		return out, nil
	}
	if !sysfs.Absent(err) {
		return nil, err
	}
	for _, dir := range []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm"} {
		if _, err := root.List(ctx, dir); err == nil || !sysfs.Absent(err) {
			return rpmPackages(ctx, run)
		}
	}
	return nil, nil
}

// rpmPackages asks rpm, whose database only its own library reads.
func rpmPackages(ctx context.Context, run Runner) (map[string]string, error) {
	out, err := run(ctx, maxDnf, "rpm", "--query", "--all", "--queryformat", `%{NAME} %{EVR}\n`)
	if err != nil {
		return nil, err
	}
	return parseRPMList(string(out)), nil
}

// parseRPMList reads "NAME VERSION" lines; of a package that is installed several times, as
// kernels are, all versions are kept.
func parseRPMList(text string) map[string]string {
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		name, version, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && Touches(name) {
			all[name] = append(all[name], flatText(version))
		}
	}
	out := map[string]string{}
	for name, versions := range all {
		slices.Sort(versions)
		out[name] = strings.Join(versions, ", ")
	}
	return out
}

// firmware is what DMI says of it.
func (c *components) firmware() {
	var parts []string
	var errs []error
	for _, f := range []string{"bios_vendor", "bios_version", "bios_date", "ec_firmware_release"} {
		v, err := c.root.Attr(c.ctx, "/sys/class/dmi/id", f)
		switch {
		case err == nil && v != "":
			parts = append(parts, f+"="+flatText(v))
		case err != nil && !sysfs.Absent(err):
			errs = append(errs, err)
		}
	}
	c.version("firmware", parts, errors.Join(errs...))
}

// hashed adds a component that is one file; path "" leaves it out.
func (c *components) hashed(id string, find func() (string, error)) {
	name, err := find()
	if name == "" && (err == nil || sysfs.Absent(err)) {
		return
	}
	s := snapshot.Subject{Kind: ComponentKind, ID: id, Outcome: snapshot.Measured}
	var sum string
	if err == nil {
		sum, err = stream(c.ctx, c.root, name, maxHashed, sha256Of)
	}
	if err != nil {
		s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
	} else {
		s.Set("sha256", snapshot.Text(sum))
		s.Set("path", snapshot.Text(name))
	}
	c.out = append(c.out, s)
}

// maxHashed bounds a file that is hashed: an initramfs with all drivers and firmware has 600 MB.
const maxHashed = 1 << 30

func sha256Of(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// initramfsPath is the last initrd of the running kernel's entry (microcode may come first), or
// where distributions put it.
func initramfsPath(ctx context.Context, root *sysfs.Root) (string, error) {
	rel, err := release(ctx, root)
	if err != nil || strings.ContainsRune(rel, '/') {
		return "", err
	}
	names := []string{"/boot/initrd.img-" + rel, "/boot/initramfs-" + rel + ".img", "/boot/initrd-" + rel}
	st, _ := readLoader(ctx, root) // what cannot be read of it is told by boot_entries
	for _, e := range st.Entries {
		if n := len(e.Initrd); e.Release == rel && n > 0 {
			names = append([]string{e.Initrd[n-1]}, names...)
			break
		}
	}
	for _, n := range names {
		if ok, err := root.Exists(ctx, n); err != nil || ok {
			return n, err
		}
	}
	return "", nil
}

func loaderConfig(ctx context.Context, root *sysfs.Root) (string, error) {
	st, _ := bootloader.Read(ctx, root)
	switch st.Loader {
	case bootloader.GRUB:
		return path.Join(st.Dir, "grub.cfg"), nil
	case bootloader.SystemdBoot:
		name := path.Join(st.Dir, "loader/loader.conf")
		ok, err := root.Exists(ctx, name)
		if err != nil || ok {
			return name, err
		}
	}
	return "", nil
}

// selinuxPolicy is the newest policy file of the configured type; "" where SELinux is not in use.
func selinuxPolicy(ctx context.Context, root *sysfs.Root) (string, error) {
	if ok, err := root.Exists(ctx, "/sys/fs/selinux/enforce"); err != nil || !ok {
		return "", err
	}
	config, err := text(ctx, root, "/etc/selinux/config")
	if err != nil {
		return "", err
	}
	kind := ""
	for line := range strings.Lines(config) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "SELINUXTYPE="); ok {
			kind = strings.TrimSpace(v)
		}
	}
	if kind == "" || strings.ContainsRune(kind, '/') {
		return "", fmt.Errorf("read /etc/selinux/config: no SELINUXTYPE")
	}
	dir := path.Join("/etc/selinux", kind, "policy")
	names, err := root.List(ctx, dir)
	if err != nil || len(names) == 0 {
		return "", err
	}
	return path.Join(dir, names[len(names)-1]), nil
}
