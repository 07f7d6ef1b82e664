package preflight

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

const (
	newKernel = "6.1.0-31-amd64"
	oldKernel = "6.1.0-30-amd64"
)

// bzImage is an image whose header gives its own size.
func bzImage() string {
	b := make([]byte, 1024)
	copy(b, "MZ")
	b[0x1f1] = 1
	copy(b[0x202:], "HdrS")
	return string(b)
}

const soundConfig = `load_env
if [ "${next_entry}" ] ; then
  set default="${next_entry}"
else
  set default="0"
fi
menuentry 'Debian' --class os --id 'gnulinux-simple' {
  linux /boot/vmlinuz-6.1.0-31-amd64 root=UUID=aa ro quiet
  initrd /boot/initrd.img-6.1.0-31-amd64
}
menuentry 'Debian old' --id 'gnulinux-old' {
  linux /boot/vmlinuz-6.1.0-30-amd64 root=UUID=aa
  initrd /boot/initrd.img-6.1.0-30-amd64
}
`

func grubenv(lines string) string {
	s := "# GRUB Environment Block\n" + lines
	return s + strings.Repeat("#", 1024-len(s))
}

// soundHost is a host on which no check finds anything. A link is "-> target".
func soundHost() map[string]string {
	return map[string]string{
		"/boot/grub/grub.cfg": soundConfig, "/boot/grub/grubenv": grubenv(""),
		"/boot/vmlinuz-" + newKernel: bzImage(), "/boot/vmlinuz-" + oldKernel: bzImage(),
		"/boot/initrd.img-" + newKernel: "070701", "/boot/initrd.img-" + oldKernel: "\x28\xb5\x2f\xfd",
		"/usr/lib/modules/" + newKernel + "/modules.dep": "a.ko:\n", "/usr/lib/modules/" + oldKernel + "/modules.dep": "a.ko:\n",
		"/proc/sys/kernel/osrelease": oldKernel + "\n",
		"/proc/self/mountinfo":       "26 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 26 8:17 / /srv/usb rw - ext4 /dev/sdb1 rw\n",
		"/sys/dev/block/8:1":         "-> ../../devices/pci/sda/sda1",
		"/sys/class/block/sda1":      "-> ../../devices/pci/sda/sda1", "/sys/devices/pci/sda/sda1/partition": "1", "/sys/devices/pci/sda/removable": "0",
		"/sys/class/block/sdb1": "-> ../../devices/usb1/sdb/sdb1", "/sys/devices/usb1/sdb/sdb1/partition": "1", "/sys/devices/usb1/sdb/removable": "0",
		"/dev/disk/by-uuid/aa": "-> ../../sda1", "/dev/disk/by-uuid/bb": "-> ../../sdb1", "/dev/sda1": "", "/dev/sdb1": "",
		"/etc/fstab":     "# / was on /dev/sda1 during installation\nUUID=aa / ext4 errors=remount-ro 0 1\nUUID=bb /srv/usb ext4 nofail 0 2\ntmpfs /tmp tmpfs defaults 0 0\n",
		"/etc/hostname":  "node1\n",
		"/etc/hosts":     "127.0.0.1 localhost\n192.0.2.7 node1.example.org node1\n",
		"/etc/pve/.mark": "", "/proc/net/fib_trie": "Local:\n  |-- 192.0.2.7\n     /32 host LOCAL\n",
		"/proc/mdstat":  "Personalities : [raid1]\nmd0 : active raid1 sdb1[1] sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n\nunused devices: <none>\n",
		"/proc/modules": "zfs 100 0 - Live 0x0\n",
		"/var/lib/dkms/zfs/2.1/" + oldKernel + "/x86_64/module/zfs.ko": "x", "/var/lib/dkms/zfs/2.1/" + newKernel + "/x86_64/module/zfs.ko.xz": "x",
		"/var/lib/dkms/zfs/2.1/source": "-> /usr/src/zfs-2.1",
		"/var/lib/dpkg/status":         "Package: linux-image-" + oldKernel + "\nStatus: install ok installed\nDescription: x\n more\n\n",
		"/var/lib/apt/extended_states": "Package: linux-image-" + oldKernel + "\nAuto-Installed: 1\n\n",
	}
}

// fakeCalls answers as a live host with room, and files of one age, would.
func fakeCalls(free uint64, initrdAge time.Duration, size int64) calls {
	base := time.Unix(1_700_000_000, 0)
	return calls{
		stat: func(_ context.Context, _ *sysfs.Root, name string) (facts, error) {
			if strings.Contains(name, "initrd") {
				return facts{size, base.Add(initrdAge)}, nil
			}
			return facts{size, base}, nil
		},
		free: func(context.Context, *sysfs.Root, string) (uint64, error) { return free, nil },
	}
}

func hostOf(files map[string]string, errs map[string]error, gone ...string) source.Host {
	f := &sysfstest.FS{Files: map[string]string{}, Links: map[string]string{}, Errs: errs, Removed: gone}
	for name, text := range files {
		if target, link := strings.CutPrefix(text, "-> "); link {
			f.Links[name] = target
		} else {
			f.Files[name] = text
		}
	}
	return source.Host{Root: sysfs.New(f)}
}

type hostCase struct {
	name   string
	set    map[string]string // laid over the sound host
	gone   []string
	errs   map[string]error
	target *Target
	sys    *calls
	want   []string // code severity
	gaps   []string // codes
}

func target() Target { return Target{Release: newKernel, Running: oldKernel, LastGood: oldKernel} }

func hostCases() []hostCase {
	old := fakeCalls(1<<30, -time.Hour, 1<<20)
	full := fakeCalls(1<<20, time.Hour, 64<<20)
	live := liveCalls()
	fstab := func(s string) map[string]string { return map[string]string{"/etc/fstab": s} }
	conf := func(s string) map[string]string { return map[string]string{"/boot/grub/grub.cfg": s} }
	return []hostCase{
		{name: "a sound host"},
		{name: "a default that is gone", set: conf(strings.Replace(soundConfig, `"0"`, `"gone"`, 1)), want: []string{"boot-entry-missing warning"}},
		{name: "an empty menu", set: conf("set default=0\n"), want: []string{"boot-entry-missing critical"}},
		{name: "the other kernel boots next", set: map[string]string{"/boot/grub/grubenv": grubenv("next_entry=gnulinux-old\n")}, want: []string{"boot-not-candidate info"}},
		{name: "no image", gone: []string{"/boot/vmlinuz-" + newKernel}, want: []string{"boot-image-bad critical"}},
		{name: "an empty image", set: map[string]string{"/boot/vmlinuz-" + newKernel: ""}, want: []string{"boot-image-bad critical"}},
		{name: "an image cut off", set: map[string]string{"/boot/vmlinuz-" + newKernel: bzImage()[:1000]}, want: []string{"boot-image-bad critical"}},
		{name: "an image that cannot be read", errs: map[string]error{"/boot/vmlinuz-" + newKernel: unix.EIO}, gaps: []string{"boot-image-bad"}},
		{name: "no initramfs", gone: []string{"/boot/initrd.img-" + newKernel}, want: []string{"boot-initramfs-bad critical"}},
		{name: "an initramfs of zeros", set: map[string]string{"/boot/initrd.img-" + newKernel: "\x00\x00\x00\x00\x00\x00"}, want: []string{"boot-initramfs-bad critical"}},
		{name: "an entry without initramfs", set: conf(strings.Replace(soundConfig, "  initrd /boot/initrd.img-6.1.0-31-amd64\n", "", 1)), want: []string{"boot-initramfs-bad critical"}},
		{name: "no modules", gone: []string{"/usr/lib/modules/" + newKernel}, want: []string{"boot-modules-missing critical"}},
		{name: "modules that cannot be read", errs: map[string]error{"/usr/lib/modules/" + newKernel: unix.EIO}, gaps: []string{"boot-modules-missing"}},
		{name: "an old initramfs", sys: &old, want: []string{"boot-initramfs-stale warning"}},
		{name: "a full /boot", sys: &full, want: []string{"boot-space-low warning"}},
		{name: "a recorded host", sys: &live, gaps: []string{"boot-initramfs-stale", "boot-space-low"}},
		{name: "no grubenv", gone: []string{"/boot/grub/grubenv"}, want: []string{"grubenv-bad warning"}},
		{name: "a short grubenv", set: map[string]string{"/boot/grub/grubenv": "# GRUB Environment Block\n"}, want: []string{"grubenv-bad warning"}, gaps: []string{"boot-entry-missing"}},
		{name: "boot on md", set: map[string]string{"/sys/dev/block/8:1": "-> ../../devices/virtual/block/md0"}, want: []string{"grubenv-unwritable warning"}},
		{name: "boot on LVM", set: map[string]string{"/sys/dev/block/8:1": "-> ../../devices/virtual/block/dm-0", "/sys/class/block/dm-0/dm/uuid": "LVM-x"}, want: []string{"grubenv-unwritable warning"}},
		{name: "a one-shot boot on btrfs", set: map[string]string{"/proc/self/mountinfo": "26 1 0:30 / / rw - btrfs /dev/sda1 rw\n", "/boot/grub/grubenv": grubenv("next_entry=gnulinux-simple\n")}, want: []string{"grubenv-unwritable critical"}},
		{name: "no mountinfo", gone: []string{"/proc/self/mountinfo"}, gaps: []string{"grubenv-unwritable"}},
		{name: "loopback on Proxmox", set: map[string]string{"/etc/hosts": "127.0.1.1 node1\n"}, want: []string{"hostname-loopback critical"}},
		{name: "loopback elsewhere", set: map[string]string{"/etc/hosts": "127.0.1.1 node1\n"}, gone: []string{"/etc/pve"}, want: []string{"hostname-loopback info"}},
		{name: "not in hosts", set: map[string]string{"/etc/hosts": "127.0.0.1 localhost\n"}, want: []string{"hostname-unresolved warning"}},
		{name: "hosts cannot be read", errs: map[string]error{"/etc/hosts": unix.EIO}, gaps: []string{"hostname-loopback"}},
		{name: "an address of nobody", set: map[string]string{"/etc/hosts": "192.0.2.8 node1\n"}, want: []string{"hostname-foreign critical"}},
		{name: "an address that is configured", set: map[string]string{"/etc/hosts": "192.0.2.8 node1\n", "/etc/network/interfaces": "iface vmbr0 inet static\n address 192.0.2.8/24\n"}},
		{name: "no addresses known", gone: []string{"/proc/net/fib_trie"}, gaps: []string{"hostname-foreign"}},
		{name: "a kernel name", set: fstab("/dev/sda1 / ext4 defaults 0 1\n"), want: []string{"fstab-unstable-name warning"}},
		{name: "a UUID that is gone", set: fstab("UUID=cc /srv ext4 defaults 0 1\n"), want: []string{"fstab-unresolved critical"}, gaps: []string{"fstab-no-nofail"}},
		{name: "a UUID that is gone and may be", set: fstab("UUID=cc /srv ext4 nofail 0 1\n"), want: []string{"fstab-unresolved warning"}},
		{name: "no by-label folder", set: fstab("LABEL=x / ext4 defaults 0 1\n"), gaps: []string{"fstab-unresolved"}},
		{name: "USB without nofail", set: fstab("UUID=bb /srv/usb ext4 defaults 0 1\n"), want: []string{"fstab-no-nofail warning"}},
		{name: "NFS without nofail", set: fstab("nas:/a /srv/nas nfs defaults 0 0\n"), want: []string{"fstab-no-nofail warning"}},
		{name: "commented out", set: fstab("#UUID=bb /srv/usb ext4 nofail 0 2\n"), want: []string{"fstab-commented warning"}},
		{name: "no fstab", gone: []string{"/etc/fstab"}, gaps: []string{"fstab-unstable-name", "fstab-unresolved", "fstab-no-nofail", "fstab-commented"}},
		{name: "degraded", set: map[string]string{"/proc/mdstat": "md0 : active raid1 sdb1[1](F) sda1[0]\n      1 blocks [2/1] [U_]\n"}, want: []string{"md-degraded warning"}},
		{name: "not started", set: map[string]string{"/proc/mdstat": "md127 : inactive sda[0](S)\n"}, want: []string{"md-degraded warning"}},
		{name: "no md", gone: []string{"/proc/mdstat"}},
		{name: "mdstat cannot be read", errs: map[string]error{"/proc/mdstat": unix.EIO}, gaps: []string{"md-degraded"}},
		{name: "DKMS not built, in use", gone: []string{"/var/lib/dkms/zfs/2.1/" + newKernel}, want: []string{"dkms-not-built critical"}},
		{name: "DKMS not built, not in use", gone: []string{"/var/lib/dkms/zfs/2.1/" + newKernel}, set: map[string]string{"/proc/modules": "x 1 0 - Live\n"}, want: []string{"dkms-not-built warning"}},
		{name: "DKMS and no candidate", target: &Target{Running: oldKernel}, gaps: []string{"dkms-not-built"}},
		{name: "last good is gone", gone: []string{"/boot/vmlinuz-" + oldKernel}, want: []string{"last-good-missing warning"}},
		{name: "last good is third", set: map[string]string{"/boot/vmlinuz-6.1.0-32-amd64": "x"}, want: []string{"last-good-unprotected warning"}},
		{name: "last good is third and kept", set: map[string]string{"/boot/vmlinuz-6.1.0-32-amd64": "x", "/etc/apt/apt.conf.d/01autoremove-kernels": "APT::NeverAutoRemove\n{\n // x\n   \"^linux-image-6\\.1\\.0-30-amd64$\";\n};\n"}},
		{name: "no dpkg", gone: []string{"/var/lib/dpkg"}, gaps: []string{"last-good-unprotected"}},
	}
}

func TestHostChecks(t *testing.T) {
	for _, c := range hostCases() {
		t.Run(c.name, func(t *testing.T) {
			fs, gaps := c.run(t.Context())
			var have, open []string
			for _, f := range fs {
				have = append(have, f.Code+" "+string(f.Severity))
				if f.Message == "" || f.Hint == "" || f.Class == "" || f.Subject.ID == "" {
					t.Errorf("%s says too little: %+v", f.Code, f)
				}
			}
			for _, g := range gaps {
				open = append(open, g.ID)
				if g.Kind != CheckKind || g.Reason == "" {
					t.Errorf("gap %+v", g)
				}
			}
			if !slices.Equal(have, c.want) {
				t.Errorf("findings %q, want %q: %+v", have, c.want, fs)
			}
			if !slices.Equal(slices.Compact(open), c.gaps) {
				t.Errorf("gaps %+v, want %q", gaps, c.gaps)
			}
		})
	}
}

func (c *hostCase) run(ctx context.Context) ([]snapshot.Finding, []snapshot.Gap) {
	files := soundHost()
	maps.Copy(files, c.set)
	tgt, sys := target(), fakeCalls(1<<30, time.Hour, 1<<20)
	if c.target != nil {
		tgt = *c.target
	}
	if c.sys != nil {
		sys = *c.sys
	}
	return runChecks(ctx, hostChecks(sys), hostOf(files, c.errs, c.gone...), tgt)
}

func TestEveryCodeIsProduced(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range hostCases() {
		fs, _ := c.run(t.Context())
		for _, f := range fs {
			seen[f.Code] = true
		}
	}
	declared := map[string]bool{}
	for _, c := range HostChecks() {
		if declared[c.Code] || c.Title == "" || c.Doc == "" || c.Severity == "" || c.Class == "" || c.Run == nil {
			t.Errorf("check %q is declared twice or in part", c.Code)
		}
		declared[c.Code] = true
		if !seen[c.Code] {
			t.Errorf("no case gives %s", c.Code)
		}
	}
}

func TestBzImageSize(t *testing.T) {
	b := []byte(bzImage())
	binary.LittleEndian.PutUint32(b[0x1f4:], 100)
	if n := bzImageSize(b); n != 1024+1600 {
		t.Errorf("size %d", n)
	}
	if n := bzImageSize(bytes.Repeat([]byte{1}, 4096)); n != 0 {
		t.Errorf("no bzImage has size %d", n)
	}
}

func FuzzHostParsers(f *testing.F) {
	f.Add(soundHost()["/etc/fstab"])
	f.Add(soundHost()["/proc/mdstat"])
	f.Add(soundHost()["/proc/self/mountinfo"])
	f.Add("APT::NeverAutoRemove { \"^a\"; };\nAPT::NeverAutoRemove:: \"b\";")
	f.Add("00000000000000000000000000000001 01 80 10 80 lo\n  |-- 1.2.3.4\n /32 host LOCAL")
	f.Fuzz(func(t *testing.T, s string) {
		for _, l := range parseFstab(s) {
			if l.Spec == "" || l.Type == "" || l.Number < 1 {
				t.Errorf("line %+v", l)
			}
		}
		for _, a := range parseMdstat(s) {
			if !strings.HasPrefix(a.name, "md") {
				t.Errorf("array %+v", a)
			}
		}
		for _, m := range parseMountinfo(s) {
			if m.point == "" {
				t.Errorf("mount %+v", m)
			}
		}
		for _, a := range append(append(parseFibTrie(s), parseIfInet6(s)...), append(addressesIn(s), lookup(s, "a")...)...) {
			if !a.IsValid() {
				t.Error("an address that is none")
			}
		}
		for _, p := range parseNeverRemove(s) {
			if p == "" {
				t.Error("an empty pattern")
			}
		}
		for _, m := range stanzas(s) {
			if len(m) == 0 {
				t.Error("an empty stanza")
			}
		}
	})
}
