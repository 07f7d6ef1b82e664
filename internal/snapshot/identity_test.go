package snapshot

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChangesOfTheCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		want     []IdentityChange
	}{
		"another kernel booted by GRUB": {
			old: "BOOT_IMAGE=/boot/vmlinuz-6.1.0-40-amd64 root=/dev/vda1 ro quiet",
			new: "BOOT_IMAGE=/boot/vmlinuz-6.12.9-amd64 root=/dev/vda1 ro quiet",
		},
		"another kernel booted by systemd-boot": {
			old: `initrd=\a\6.1\initrd root=UUID=1 rw`,
			new: `initrd=\a\6.12\initrd root=UUID=1 rw`,
		},
		"another deployment": {
			old: "ostree=/ostree/boot.0/fedora/1/0 root=UUID=1 rw",
			new: "ostree=/ostree/boot.1/fedora/2/0 root=UUID=1 rw",
		},
		"a setting more": {
			old:  "BOOT_IMAGE=/a root=/dev/vda1 ro",
			new:  "BOOT_IMAGE=/b root=/dev/vda1 ro mitigations=off",
			want: []IdentityChange{{"cmdline", ClassConfig, "root=/dev/vda1 ro", "root=/dev/vda1 ro mitigations=off"}},
		},
		"the order": {
			old:  "console=tty0 console=ttyS0",
			new:  "console=ttyS0 console=tty0",
			want: []IdentityChange{{"cmdline", ClassConfig, "console=tty0 console=ttyS0", "console=ttyS0 console=tty0"}},
		},
		"words of init": {
			old:  "ro -- initrd=1",
			new:  "ro -- initrd=2",
			want: []IdentityChange{{"cmdline", ClassConfig, "ro -- initrd=1", "ro -- initrd=2"}},
		},
		"a word that only looks alike": {
			old:  "rd.initrd=1",
			new:  "rd.initrd=2",
			want: []IdentityChange{{"cmdline", ClassConfig, "rd.initrd=1", "rd.initrd=2"}},
		},
	} {
		a, b := Identity{Kernel: KernelIdentity{Cmdline: test.old}}, Identity{Kernel: KernelIdentity{Cmdline: test.new}}
		if d := cmp.Diff(test.want, a.Changes(&b)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestChangesOfPackages(t *testing.T) {
	old := Identity{Packages: map[string]string{"linux-image-6.1.0-40-amd64": "6.1.153-1", "systemd": "252.38", "firmware-bnx2": "1"}}
	kernel := Identity{Packages: map[string]string{"linux-image-6.12.9-amd64": "6.12.9-1", "systemd": "252.38", "firmware-bnx2": "1"}}
	system := Identity{Packages: map[string]string{"linux-image-6.1.0-40-amd64": "6.1.153-1", "systemd": "252.39", "firmware-bnx2": "1"}}
	want := []IdentityChange{{"packages", ClassKernel, "linux-image-6.1.0-40-amd64=6.1.153-1", "linux-image-6.12.9-amd64=6.12.9-1"}}
	if d := cmp.Diff(want, old.Changes(&kernel)); d != "" {
		t.Errorf("another kernel (-want +got):\n%s", d)
	}
	want = []IdentityChange{{"packages", ClassConfig, "firmware-bnx2=1; systemd=252.38", "firmware-bnx2=1; systemd=252.39"}}
	if d := cmp.Diff(want, old.Changes(&system)); d != "" {
		t.Errorf("another systemd (-want +got):\n%s", d)
	}
	system.Errs = map[string]string{"packages": "read /var/lib/dpkg/status: input/output error"}
	if got := old.Changes(&system); got != nil {
		t.Errorf("packages that could not be read changed: %v", got)
	}
}

func TestKernelPackages(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-40-amd64": true, "linux-modules-extra-6.8.0-51-generic": true, "proxmox-kernel-6.8.12-4-pve-signed": true,
		"kernel-core": true, "linux": true, "linux-lts": true, "linux-firmware": false, "linux-firmware-whence": false,
		"systemd": false, "zfs-linux-dkms": false, "linux-x-dkms": false, "kernelshark": false,
	} {
		if got := holdsKernel(name); got != want {
			t.Errorf("%s: holds a kernel %v, want %v", name, got, want)
		}
	}
}
