package candidate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func put(t testing.TB, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return p
}

func link(t testing.TB, dir, name, to string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.Symlink(to, p)); err != nil {
		t.Fatal(err)
	}
}

func hostAt(t testing.TB, path string) source.Host {
	t.Helper()
	root, err := sysfs.OpenTree(path)
	if err != nil {
		t.Fatal(err)
	}
	return source.Host{Root: root}
}

// aliasTree is a candidate's module tree as depmod leaves it.
func aliasTree(t testing.TB, aliases, builtin string, modules ...string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "modules.alias", aliases)
	put(t, dir, "modules.builtin", builtin)
	for _, m := range modules {
		put(t, dir, "kernel/"+m+".ko", "")
	}
	return dir
}

// codes lists what was found: code, severity and subject.
func codes(found []snapshot.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.Subject.ID))
	}
	slices.Sort(out)
	return out
}

func gapped(gaps []snapshot.Gap, c Check) bool {
	return slices.ContainsFunc(gaps, func(g snapshot.Gap) bool { return g.ID == c.Code })
}

const (
	inKernel = "kernel/virtio/virtio_pci.ko\nkernel/virtio/virtio.ko\n"
	megas    = "alias pci:v00001000d00000079sv*sd*bc*sc*i* megaraid_sas\n"
	others   = "alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\nalias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci\nalias pci:v00008086d00002922sv*sd*bc*sc*i* ahci\n" +
		"alias usb:v*p*d*dc*dsc*dp*ic08isc06ip62in* uas\nalias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\n"
)

// TestCloudKernelOnRealMachine is the night that this exists for: the cloud flavour on
// a host whose disks hang on a PERC.
func TestCloudKernelOnRealMachine(t *testing.T) {
	host := hostAt(t, "../../testdata/hosts/ord-perc.tar.gz")
	full := aliasTree(t, megas+others, inKernel, "megaraid_sas", "e1000e", "nvme", "xhci_pci", "xhci_hcd", "uas", "usb_storage", "sd_mod")
	found, _ := Read(t.Context(), host, Files{Release: "6.1.0-56-amd64", Modules: full}, nil)
	if len(found) > 0 {
		t.Errorf("a kernel with all drivers: %v", codes(found))
	}
	cloud := aliasTree(t, others, inKernel, "e1000e", "nvme", "xhci_pci", "xhci_hcd", "uas", "usb_storage", "sd_mod")
	found, _ = Read(t.Context(), host, Files{Release: "6.1.0-56-cloud-amd64", Modules: cloud}, nil)
	if diff := cmp.Diff([]string{"driver-missing critical module/megaraid_sas"}, codes(found)); diff != "" {
		t.Fatal(diff)
	}
	for _, want := range []string{"1000:0079", "megaraid_sas is not in that kernel", "6.1.0-56-cloud-amd64", "disk sda (PERC_H730_Mini)"} {
		if !strings.Contains(found[0].Message, want) {
			t.Errorf("no %q in %q", want, found[0].Message)
		}
	}
	if found[0].Hint == "" {
		t.Error("no way out is given")
	}
	// The same driver built in, or the module there without an alias for the device.
	for _, tree := range []string{aliasTree(t, others, inKernel+"kernel/megaraid_sas.ko\n", "e1000e", "nvme", "xhci_pci", "uas", "usb_storage"), aliasTree(t, others, inKernel, "megaraid_sas", "e1000e", "nvme", "xhci_pci", "uas", "usb_storage")} {
		if found, _ := Read(t.Context(), host, Files{Release: "r", Modules: tree}, nil); len(found) > 0 {
			t.Errorf("the driver is there: %v", codes(found))
		}
	}
	// The driver is there and has lost the device, as Red Hat's 5.14 lost the PERC H310.
	lost := aliasTree(t, others+"alias pci:v00001000d000010E2sv*sd*bc*sc*i* megaraid_sas\n", inKernel, "megaraid_sas", "e1000e", "nvme", "xhci_pci", "uas", "usb_storage")
	found, _ = Read(t.Context(), host, Files{Release: "5.14.0", Modules: lost}, nil)
	if diff := cmp.Diff([]string{"driver-missing critical driver/pci/0000:02:00.0"}, codes(found)); diff != "" {
		t.Error(diff)
	}
	// Another module takes the device.
	other := aliasTree(t, others+strings.ReplaceAll(megas, " megaraid_sas", " mpi3mr"), inKernel, "mpi3mr", "e1000e", "nvme", "xhci_pci", "uas", "usb_storage")
	found, _ = Read(t.Context(), host, Files{Release: "r", Modules: other}, nil)
	if diff := cmp.Diff([]string{"driver-other info driver/pci/0000:02:00.0"}, codes(found)); diff != "" {
		t.Error(diff)
	}
}

func TestNoTree(t *testing.T) {
	host := hostAt(t, "../../testdata/hosts/ord-perc.tar.gz")
	for _, dir := range []string{"", t.TempDir(), "/nonexistent"} {
		found, gaps := Read(t.Context(), host, Files{Release: "r", Modules: dir}, nil)
		if len(found) > 0 || !gapped(gaps, driverMissing) {
			t.Errorf("tree %q: %v, %v", dir, codes(found), gaps)
		}
	}
}

// machine is a host with its root on LVM over a partition of a disk on a controller.
func machine(t testing.TB) string {
	t.Helper()
	d := t.TempDir()
	disk := "sys/devices/pci0000:00/0000:00:03.0/host0/target0:0:0/0:0:0:0/block/sda"
	put(t, d, disk+"/sda1/partition", "1\n")
	put(t, d, disk+"/size", "1\n")
	put(t, d, "sys/devices/virtual/block/dm-0/size", "1\n")
	link(t, d, "sys/devices/virtual/block/dm-0/slaves/sda1", "../../../../pci0000:00/0000:00:03.0/host0/target0:0:0/0:0:0:0/block/sda/sda1")
	link(t, d, "sys/dev/block/253:0", "../../devices/virtual/block/dm-0")
	link(t, d, "sys/block/sda", "../devices/pci0000:00/0000:00:03.0/host0/target0:0:0/0:0:0:0/block/sda")
	link(t, d, "sys/devices/pci0000:00/0000:00:03.0/driver", "../../../bus/pci/drivers/megaraid_sas")
	link(t, d, "sys/bus/pci/drivers/megaraid_sas/module", "../../../../module/megaraid_sas")
	put(t, d, "sys/module/megaraid_sas/version", "1\n")
	put(t, d, "proc/self/mountinfo", "22 1 253:0 / / rw,relatime - ext4 /dev/mapper/root rw\n30 22 0:25 / /run rw - tmpfs tmpfs rw\n")
	put(t, d, "proc/sys/kernel/osrelease", "6.1.0-50-amd64\n")
	put(t, d, "proc/mounts", "/dev/mapper/root / ext4 rw 0 0\n/dev/sdb1 /srv xfs rw 0 0\nsshfs /mnt fuse.sshfs rw 0 0\n")
	put(t, d, "proc/modules", "megaraid_sas 200704 2 - Live 0x0\nxt_comment 16384 0 - Live 0x0\nzfs 4000000 6 - Live 0x0 (POE)\n")
	put(t, d, "boot/config-6.1.0-50-amd64", config("BPF=y", "BPF_SYSCALL=y", "VXLAN=m", "EXT4_FS=y", "XFS_FS=m", "FUSE_FS=m", "CRYPTO_SHA1=y"))
	return d
}

func config(set ...string) string {
	return "#\n# Automatically generated\n#\nCONFIG_" + strings.Join(set, "\nCONFIG_") + "\n# CONFIG_OTHER is not set\n"
}

// TestRootDisk: the driver behind LVM, partition and disk must be in the initramfs.
func TestRootDisk(t *testing.T) {
	host := hostAt(t, machine(t))
	tree := aliasTree(t, "", "kernel/x.ko\n", "megaraid_sas", "xt_comment")
	microcode := append(cpio("kernel/x86/microcode/GenuineIntel.bin"), make([]byte, 512)...)
	const module = "usr/lib/modules/6.1.0-56-amd64/kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz"
	for name, c := range map[string]struct {
		initramfs []byte
		tree      string
		want      []string
		gap       bool
	}{
		"there, packed with zstd": {append(bytes.Clone(microcode), zstded(t, cpio("init", module))...), tree, nil, false},
		"there, packed with gzip": {gzipped(t, cpio("init", module)), tree, nil, false},
		"there, not packed":       {append(bytes.Clone(microcode), cpio("init", module)...), tree, nil, false},
		"not there":               {append(bytes.Clone(microcode), zstded(t, cpio("init", "bin/sh"))...), tree, []string{"initramfs-lacks-driver critical initramfs/megaraid_sas"}, false},
		"built in":                {zstded(t, cpio("init")), aliasTree(t, "", "kernel/megaraid_sas.ko\n", "xt_comment"), nil, false},
		"cut off":                 {zstded(t, cpio("init", module))[:60], tree, nil, true},
		"no archive":              {[]byte("nothing of the kind, and long enough"), tree, nil, true},
	} {
		initramfs := put(t, t.TempDir(), "initrd.img", string(c.initramfs))
		found, gaps := Read(t.Context(), host, Files{Release: "6.1.0-56-amd64", Modules: c.tree, Initramfs: initramfs}, nil)
		if diff := cmp.Diff(c.want, codes(found)); diff != "" || gapped(gaps, rootDriver) != c.gap {
			t.Errorf("%s: gaps %v\n%s", name, gaps, diff)
		}
	}
	if _, gaps := Read(t.Context(), host, Files{Release: "r", Modules: tree}, nil); !gapped(gaps, rootDriver) {
		t.Error("no initramfs, and it is not said")
	}
}

func TestOptions(t *testing.T) {
	host := hostAt(t, machine(t))
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"all there":                  {config("BPF=y", "BPF_SYSCALL=y", "VXLAN=y", "EXT4_FS=m", "XFS_FS=y", "FUSE_FS=y", "CRYPTO_SHA1=m"), nil},
		"a file system in use":       {config("BPF=y", "BPF_SYSCALL=y", "VXLAN=m", "EXT4_FS=y", "FUSE_FS=y", "CRYPTO_SHA1=y"), []string{"option-lost critical option/XFS_FS"}},
		"what agents cannot lack":    {config("BPF=y", "BPF_SYSCALL=n", "VXLAN=m", "EXT4_FS=y", "XFS_FS=y", "FUSE_FS=y", "CRYPTO_SHA1=y"), []string{"option-lost critical option/BPF_SYSCALL"}},
		"what they may live without": {config("BPF=y", "BPF_SYSCALL=y", "EXT4_FS=y", "XFS_FS=y", "FUSE_FS=y"), []string{"option-lost warning option/CRYPTO_SHA1", "option-lost warning option/VXLAN"}},
	} {
		found, gaps := Read(t.Context(), host, Files{Release: "r", Config: put(t, t.TempDir(), "config", c.config)}, nil)
		if diff := cmp.Diff(c.want, codes(found)); diff != "" || gapped(gaps, optionLost) {
			t.Errorf("%s: gaps %v\n%s", name, gaps, diff)
		}
	}
	for name, file := range map[string]string{"none": "", "gone": "/nonexistent", "not one": put(t, t.TempDir(), "config", "hello\n")} {
		if found, gaps := Read(t.Context(), host, Files{Release: "r", Config: file}, nil); len(found) > 0 || !gapped(gaps, optionLost) {
			t.Errorf("configuration %s: %v, %v", name, codes(found), gaps)
		}
	}
}

// TestRunningConfigPacked: the running kernel's own word comes first.
func TestRunningConfigPacked(t *testing.T) {
	d := machine(t)
	put(t, d, "proc/config.gz", string(gzipped(t, []byte(config("GENEVE=m")))))
	found, _ := Read(t.Context(), hostAt(t, d), Files{Release: "r", Config: put(t, t.TempDir(), "config", config("BPF=y"))}, nil)
	if diff := cmp.Diff([]string{"option-lost warning option/GENEVE"}, codes(found)); diff != "" {
		t.Error(diff)
	}
}

// TestLoadedModules: modules from elsewhere are DKMS's business.
func TestLoadedModules(t *testing.T) {
	host := hostAt(t, machine(t))
	found, _ := Read(t.Context(), host, Files{Release: "r", Modules: aliasTree(t, "", "kernel/megaraid_sas.ko\n", "other")}, nil)
	if diff := cmp.Diff([]string{"module-missing warning module/xt_comment"}, codes(found)); diff != "" {
		t.Error(diff)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(config("BPF=y", "A=\"text\""))
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parseConfig(text) {
			if !strings.HasPrefix(name, "CONFIG_") || value == "" || value == "n" {
				t.Fatalf("%q=%q", name, value)
			}
		}
	})
}
