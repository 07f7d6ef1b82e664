package kernels

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

const debianOS = "ID=debian\nVERSION_CODENAME=bookworm\n"

func host(files map[string]string) *sysfstest.FS {
	if files["/etc/os-release"] == "" {
		files["/etc/os-release"] = debianOS
	}
	return &sysfstest.FS{Files: files}
}

func byRelease(t *testing.T, all []Kernel, release string) Kernel {
	t.Helper()
	for _, k := range all {
		if k.Release == release {
			return k
		}
	}
	t.Fatalf("%s is not listed in %+v", release, all)
	return Kernel{}
}

func TestInstalledDebian(t *testing.T) {
	all, errs := Installed(t.Context(), sysfs.New(host(map[string]string{
		"/boot/vmlinuz-6.1.0-56-amd64":                "k",
		"/boot/config-6.1.0-56-amd64":                 "c",
		"/boot/initrd.img-6.1.0-56-amd64":             "i",
		"/usr/lib/modules/6.1.0-56-amd64/modules.dep": "",
		"/boot/vmlinuz-6.1.0-55-amd64":                "k",
		"/usr/lib/modules/6.1.0-54-amd64/modules.dep": "",
		"/boot/vmlinuz-6.1.0-53-amd64":                "k",
		"/usr/lib/modules/6.1.0-53-amd64/updates/x":   "left over",
		"/boot/vmlinuz-old":                           "k",
		"/var/lib/dpkg/status": "Package: linux-image-6.1.0-56-amd64\nStatus: install ok installed\nArchitecture: amd64\nVersion: 6.1.192-2\n\n" +
			"Package: linux-image-6.1.0-55-amd64\nStatus: install ok half-configured\nArchitecture: amd64\nVersion: 6.1.192-1\n\n" +
			"Package: linux-image-6.1.0-54-amd64\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 6.1.190-1\n",
	})))
	if len(errs) > 0 || len(all) != 5 {
		t.Fatalf("%d kernels, %v", len(all), errs)
	}
	want := Kernel{
		Release: "6.1.0-56-amd64", Flavour: "amd64", Arch: "x86_64", Family: FamilyDebian, Package: "linux-image-6.1.0-56-amd64", Version: "6.1.192-2",
		Image: "/boot/vmlinuz-6.1.0-56-amd64", Modules: "/usr/lib/modules/6.1.0-56-amd64", Initramfs: "/boot/initrd.img-6.1.0-56-amd64",
		Config: "/boot/config-6.1.0-56-amd64", Source: SourceInstalled, Testable: true,
	}
	if d := cmp.Diff(want, byRelease(t, all, want.Release)); d != "" {
		t.Error(d)
	}
	for release, reason := range map[string]string{
		"6.1.0-55-amd64": "module tree is not there", "6.1.0-54-amd64": "no image", "6.1.0-53-amd64": "no modules.dep", "old": "does not tell its release",
	} {
		if k := byRelease(t, all, release); k.Testable || !strings.Contains(k.Reason, reason) {
			t.Errorf("%s: testable %v, reason %q, want %q", release, k.Testable, k.Reason, reason)
		}
	}
	if k := byRelease(t, all, "6.1.0-55-amd64"); k.Version != "6.1.192-1" || !strings.Contains(strings.Join(k.Notes, "\n"), "half-configured") {
		t.Errorf("half-configured: %+v", k)
	}
	if k := byRelease(t, all, "6.1.0-54-amd64"); k.Package != "" {
		t.Errorf("a removed package is not installed: %+v", k)
	}
}

func TestInstalledSplitPackages(t *testing.T) {
	const r = "7.2.13+deb14-cloud-amd64"
	all, errs := Installed(t.Context(), sysfs.New(host(map[string]string{
		"/usr/lib/modules/" + r + "/vmlinuz": "k", "/usr/lib/modules/" + r + "/config": "c", "/usr/lib/modules/" + r + "/modules.dep": "",
		"/var/lib/dpkg/status": "Package: linux-image-" + r + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.2.13-1\n\n" +
			"Package: linux-binary-" + r + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.2.13-1\n",
	})))
	if len(errs) > 0 || len(all) != 1 {
		t.Fatalf("%+v, %v", all, errs)
	}
	k := all[0]
	if !k.Testable || k.Image != "/usr/lib/modules/"+r+"/vmlinuz" || k.Config != "/usr/lib/modules/"+r+"/config" || k.Package != "linux-binary-"+r {
		t.Errorf("%+v", k)
	}
}

func TestInstalledFedoraEntries(t *testing.T) {
	const r, id = "6.11.4-301.fc41.x86_64", "0123456789abcdef0123456789abcdef"
	all, errs := Installed(t.Context(), sysfs.New(host(map[string]string{
		"/etc/os-release":    "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n",
		"/boot/vmlinuz-" + r: "k", "/boot/initramfs-" + r + ".img": "i", "/usr/lib/modules/" + r + "/modules.dep": "",
		"/boot/loader/entries/" + id + "-" + r + ".conf": "title Fedora\nversion " + r + "\nlinux /vmlinuz-" + r + "\ninitrd /initramfs-" + r + ".img\n",
		"/boot/loader/entries/gone.conf":                 "title Gone\nversion 6.10.1-1.fc41.x86_64\nlinux /vmlinuz-6.10.1-1.fc41.x86_64\n",
		"/boot/loader/entries/memtest.conf":              "title Memory\nefi /memtest.efi\n",
		"/efi/" + id + "/6.12.1/linux":                   "k",
		"/efi/loader/entries/x.conf":                     "linux /" + id + "/6.12.1/linux\n",
		"/boot/efi/EFI/Linux/" + id + "-6.11.9.efi":      "u",
	})))
	if len(errs) > 0 || len(all) != 4 {
		t.Fatalf("%+v, %v", all, errs)
	}
	k := byRelease(t, all, r)
	if !k.Testable || k.Family != FamilyRPM || k.Arch != "x86_64" || k.Flavour != "" || len(k.Entries) != 1 || k.Initramfs != "/boot/initramfs-"+r+".img" {
		t.Errorf("%+v", k)
	}
	if k := byRelease(t, all, "6.10.1-1.fc41.x86_64"); k.Testable || !strings.Contains(k.Reason, "neither image nor modules") || len(k.Notes) == 0 {
		t.Errorf("an entry without an image: %+v", k)
	}
	if k := byRelease(t, all, "6.12.1"); k.Testable || k.Image != "/efi/"+id+"/6.12.1/linux" {
		t.Errorf("kernel-install's layout: %+v", k)
	}
	if k := byRelease(t, all, "6.11.9"); k.Testable || !strings.Contains(k.Reason, "unified kernel image") {
		t.Errorf("unified kernel image: %+v", k)
	}
}

func TestInstalledArchLinux(t *testing.T) {
	all, errs := Installed(t.Context(), sysfs.New(host(map[string]string{
		"/etc/os-release": "ID=arch\n", "/boot/vmlinuz-linux": "k",
		"/usr/lib/modules/6.11.1-arch1-1/pkgbase": "linux\n", "/usr/lib/modules/6.11.1-arch1-1/modules.dep": "",
	})))
	if len(errs) > 0 || len(all) != 1 || all[0].Image != "/boot/vmlinuz-linux" || !all[0].Testable || all[0].Family != "" {
		t.Errorf("%+v, %v", all, errs)
	}
}

func TestInstalledUnreadableBootIsNoEmptyBoot(t *testing.T) {
	f := host(map[string]string{"/usr/lib/modules/6.1.0-56-amd64/modules.dep": ""})
	f.Errs = map[string]error{"/boot": unix.EIO, "/var/lib/dpkg/status": unix.EACCES}
	all, errs := Installed(t.Context(), sysfs.New(f))
	if err := errors.Join(errs...); !errors.Is(err, unix.EIO) || !errors.Is(err, unix.EACCES) {
		t.Errorf("errors: %v", errs)
	}
	if len(all) != 1 || all[0].Testable {
		t.Errorf("%+v", all)
	}
}

func TestParseBootEntry(t *testing.T) {
	got := parseBootEntry("# made by hand\ntitle  A b\r\nversion\t6.1\nlinux /a\ninitrd /u /b\ninitrd /c\noptions root=x\noptions quiet\nlonely\nefi /e\n")
	want := BootEntry{Title: "A b", Version: "6.1", Linux: "/a", Initrd: []string{"/u", "/b", "/c"}, Options: []string{"root=x", "quiet"}, EFI: "/e"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzParseBootEntry(f *testing.F) {
	f.Add("title x\nlinux /vmlinuz-6.1\ninitrd /i\noptions a b\n")
	f.Add("linux\t/\n\x00 \n")
	f.Fuzz(func(t *testing.T, text string) {
		e := parseBootEntry(text)
		if r := e.release(); r != "" && !isRelease(r) {
			t.Errorf("%q is no release", r)
		}
	})
}

func FuzzParseDpkgStatus(f *testing.F) {
	f.Add("Package: linux-image-6.1.0-56-amd64\nStatus: install ok installed\nVersion: 1\n\nPackage: x\n")
	f.Fuzz(func(t *testing.T, text string) {
		for release, by := range parseDpkgStatus(text) {
			for role, p := range by {
				if !isRelease(release) || role == "" || p.state == "" {
					t.Errorf("%q %q %+v", release, role, p)
				}
			}
		}
	})
}
