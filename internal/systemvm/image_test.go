package systemvm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The Debian that is made: its suite, what is in it besides the essential, and its two kernels,
// stock ones of 6.1 and 6.12 that need no more than a virtual machine has.
const (
	suite    = "bookworm"
	rootUUID = "5b0ea1d0-17f9-4c6b-8a7c-6b5e2f3f3c11"
	sizeMiB  = 1536
	startLBA = 2048
)

var (
	packages = []string{
		"systemd", "systemd-sysv", "dbus", "udev", "kmod", "initramfs-tools", "lz4", "busybox", "e2fsprogs", "logsave",
		"grub-pc", "systemd-boot", "procps", "iproute2", "jq", "linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64",
	}
	// masked is what this machine has no use for and would wait for, or start in the midst of a test.
	masked = []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
		"getty@tty1.service", "serial-getty@ttyS0.service", "modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service",
		"modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service", "dev-hugepages.mount", "dev-mqueue.mount",
		"sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "systemd-networkd-wait-online.service",
		"systemd-boot-update.service",
	}
	enabled = []string{"agent.service", "kubelet.service"}
)

// image is a disk with a Debian that boots, and its kernels.
type image struct {
	path         string
	older, newer string // releases: the older one is the default
	// efi is the same Debian with systemd-boot in GRUB's place, for a machine with EFI.
	efi string
}

// debian is that image, from the cache where it was made before. What it is made by is in its
// name; a newer kernel in the archive makes no new one.
var debian = sync.OnceValues(func() (*image, error) {
	cache := filepath.Join(os.TempDir(), "lastgood-system-images")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	key, err := recipe()
	if err != nil {
		return nil, err
	}
	i := &image{path: filepath.Join(cache, "debian-"+key+".qcow2"), efi: filepath.Join(cache, "debian-"+key+"-efi.qcow2")}
	kernels := i.path + ".kernels"
	b, err := os.ReadFile(kernels) // written when the image is whole
	if errors.Is(err, fs.ErrNotExist) {
		var dir string
		if dir, err = os.MkdirTemp(cache, "making-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if b, err = build(dir, i); err == nil {
			err = os.WriteFile(kernels, b, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return nil, fmt.Errorf("%s: want two kernels, got %q", kernels, b)
	}
	i.older, i.newer = f[0], f[1]
	return i, nil
})

// recipe is the digest of all that an image is made by.
func recipe() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, suite, rootUUID, sizeMiB, packages, masked, enabled)
	for _, name := range []string{"image_test.go", "imageefi_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	err := filepath.WalkDir("testdata/root", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// build makes both disks of the image, in a folder of its own, and gives the kernels' releases.
func build(dir string, i *image) ([]byte, error) {
	root, raw := filepath.Join(dir, "root"), filepath.Join(dir, "raw")
	for _, step := range []func() error{
		func() error { return unpack(dir, root) },
		func() error { return furnish(root) },
		func() error { return format(root, raw) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	older, newer, err := kernelsOf(root)
	if err != nil {
		return nil, err
	}
	if err := installGRUB(dir, root, raw, older); err != nil {
		return nil, fmt.Errorf("install GRUB: %w", err)
	}
	if err := pack(dir, raw, i.path); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return toSystemdBoot(root, older, newer) },
		func() error { return formatEFI(root, raw) },
		func() error { return pack(dir, raw, i.efi) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("make the disk with systemd-boot: %w", err)
		}
	}
	return []byte(older + " " + newer + "\n"), nil
}

// pack makes a disk as small as what is in it, at its place when it is whole.
func pack(dir, raw, path string) error {
	made := filepath.Join(dir, "qcow2")
	if _, err := command(dir, "qemu-img", "convert", "-O", "qcow2", raw, made); err != nil {
		return err
	}
	return os.Rename(made, path)
}

// sources are the lines of this machine's own mirror of Debian: where it fetches from is its own
// business. A fresh machine has no indexes yet.
func sources() (string, error) {
	list := func() (string, error) {
		out, err := exec.Command("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages", "Origin: Debian").Output()
		return string(out), err
	}
	out, err := list()
	if err == nil && strings.TrimSpace(out) == "" {
		if _, err = command("", "apt-get", "update", "-qq"); err == nil {
			out, err = list()
		}
	}
	if err != nil {
		return "", fmt.Errorf("ask apt for this machine's mirror: %w", err)
	}
	var lines []string
	for line := range strings.Lines(out) {
		label, uri, _ := strings.Cut(strings.TrimSpace(line), " ")
		s := map[string]string{"Debian": suite, "Debian-Security": suite + "-security"}[label]
		if line := "deb " + uri + " " + s + " main"; s != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "", errors.New("apt knows no mirror of Debian on this machine")
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// unpack fetches the packages and unpacks them. How initramfs are made is said before the first
// kernel is configured.
func unpack(dir, root string) error {
	from, err := sources()
	if err != nil {
		return err
	}
	here, err := filepath.Abs("testdata/root/etc/initramfs-tools")
	if err != nil {
		return err
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, []byte(from), 0o600); err != nil {
		return err
	}
	args := []string{"--mode=root", "--variant=minbase", "--format=directory", "--quiet", "--aptopt=APT::Install-Recommends \"false\"",
		"--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--include=" + strings.Join(packages, ","), "--essential-hook=mkdir -p \"$1/etc/initramfs-tools\" && cp -r '" + here + "/.' \"$1/etc/initramfs-tools/\""}
	if keys := "/usr/share/keyrings/debian-archive-keyring.gpg"; exists(keys) {
		args = append(args, "--keyring="+keys)
	}
	_, err = command(dir, "mmdebstrap", append(args, suite, root, list)...)
	return err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// furnish makes a host of it.
func furnish(root string) error {
	if _, err := command("", "cp", "-r", "testdata/root/.", root); err != nil {
		return err
	}
	files := map[string]string{
		"etc/hostname": "node1\n", "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 node1\n", "etc/machine-id": "",
		"etc/fstab": "UUID=" + rootUUID + " / ext4 errors=remount-ro 0 1\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// mmdebstrap's own settings, and what is fetched again when it is wanted.
	for _, name := range []string{"etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list", "var/lib/apt/lists", "var/cache/apt", "etc/resolv.conf"} {
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "var/lib/apt/lists"), 0o755), os.MkdirAll(filepath.Join(root, "var/log/journal"), 0o755)); err != nil {
		return err
	}
	for verb, units := range map[string][]string{"enable": enabled, "mask": masked} {
		if _, err := command("", "chroot", append([]string{root, "systemctl", verb}, units...)...); err != nil {
			return err
		}
	}
	return nil
}

// format writes a disk of one partition with the folder's files in it. Nothing is mounted. Of
// newer e2fsprogs' features GRUB 2.06 knows two not.
func format(root, raw string) error {
	if err := divide(raw, sizeMiB, fmt.Sprintf("label: dos\nstart=%d, type=83, bootable\n", startLBA)); err != nil {
		return err
	}
	return fill(root, raw, startLBA, sizeMiB<<20-startLBA*512)
}

// divide makes an empty disk with a table of partitions, in sfdisk's words.
func divide(raw string, mib int64, table string) error {
	f, err := os.Create(raw)
	if err == nil {
		err = errors.Join(f.Truncate(mib<<20), f.Close())
	}
	if err != nil {
		return err
	}
	sfdisk, err := find("sfdisk")
	if err != nil {
		return err
	}
	cmd := exec.Command(sfdisk, "--quiet", raw)
	cmd.Stdin = strings.NewReader(table)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run sfdisk: %w\n%s", err, out)
	}
	return nil
}

// fill writes the root file system, of so many bytes, from a sector on.
func fill(root, raw string, lba, size int64) error {
	_, err := command("", "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum_seed,^orphan_file", "-U", rootUUID,
		"-E", fmt.Sprintf("offset=%d,root_owner=0:0", lba*512), "-d", root, raw, fmt.Sprint(size/4096))
	return err
}

var imageName = regexp.MustCompile(`vmlinuz-(.+)$`)

// kernelsOf are the releases of the two kernels, of 6.1 and of a later series.
func kernelsOf(root string) (older, newer string, err error) {
	found, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(found) != 2 {
		return "", "", fmt.Errorf("want two kernels, found %v: %w", found, err)
	}
	for _, name := range found {
		release := imageName.FindStringSubmatch(name)[1]
		if strings.HasPrefix(release, "6.1.") {
			older = release
		} else {
			newer = release
		}
	}
	if older == "" || newer == "" {
		return "", "", fmt.Errorf("want kernels of two series, found %v", found)
	}
	return older, newer, nil
}

// entryID is how GRUB's menu of Debian names a kernel's entry.
func entryID(release string) string {
	return "gnulinux-advanced-" + rootUUID + ">gnulinux-" + release + "-advanced-" + rootUUID
}

// installGRUB boots the system once without a loader, for it to install its own.
func installGRUB(dir, root, raw, release string) error {
	m, err := start(dir, []disk{{path: raw, format: "raw", cache: "unsafe"}},
		"-kernel", filepath.Join(root, "boot/vmlinuz-"+release), "-initrd", filepath.Join(root, "boot/initrd.img-"+release),
		"-append", "root=/dev/vda1 rw console=ttyS0,115200 loglevel=5 panic=-1 no_timer_check tsc=reliable mitigations=off nokaslr apparmor=0 selinux=0 random.trust_cpu=on systemd.show_status=0", "-no-reboot")
	if err != nil {
		return err
	}
	defer m.cut()
	if err := m.up(); err != nil {
		return err
	}
	out, status, err := m.run("set -e; grub-install /dev/vda; update-grub; grub-set-default '" + entryID(release) + "'; sync; systemctl --no-block poweroff")
	if err != nil || status != 0 {
		return fmt.Errorf("status %d: %w\n%s", status, err, out)
	}
	return m.off()
}
