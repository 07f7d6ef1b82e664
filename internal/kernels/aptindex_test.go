package kernels

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var someSum = strings.Repeat("0a", 32)

// stanza is one package of an index.
func stanza(name, version, depends string) string {
	if depends != "" {
		depends = "Depends: " + depends + "\n"
	}
	return "Package: " + name + "\nVersion: " + version + "\nArchitecture: amd64\n" + depends + "Description: x\n y\nSize: 100\nSHA256: " + someSum + "\n\n"
}

func offered(t *testing.T, text string) []Kernel {
	t.Helper()
	offers, err := readIndex(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := kernelsIn("suite", offers)
	Sort(all)
	return all
}

func names(parts []Part) string {
	var out []string
	for _, p := range parts {
		out = append(out, p.Package)
	}
	return strings.Join(out, " ")
}

func TestOfferedOneImageForAll(t *testing.T) {
	all := offered(t, stanza("linux-image-6.12.94+deb13-cloud-amd64", "6.12.94-1", "kmod, linux-base (>= 4.3~)")+
		stanza("linux-image-6.12.94+deb13-cloud-amd64-unsigned", "6.12.94-1", "kmod")+
		stanza("linux-image-6.12.94+deb13-cloud-amd64-dbg", "6.12.94-1", "")+
		stanza("linux-image-6.12.95+deb13-rt-amd64-unsigned", "6.12.95-1", "kmod")+
		stanza("linux-image-cloud-amd64", "6.12.94-1", "linux-image-6.12.94+deb13-cloud-amd64 (= 6.12.94-1)")+
		stanza("linux-image-6.12-cloud-amd64", "6.12.94-1", "linux-image-6.12.94+deb13-cloud-amd64 (= 6.12.94-1)")+
		stanza("linux-image-6.12-amd64-signed-template", "6.12.94-1", "")+
		stanza("linux-libc-dev", "6.12.94-1", ""))
	want := []Kernel{{
		Release: "6.12.94+deb13-cloud-amd64", Flavour: "cloud-amd64", Arch: "x86_64", Family: FamilyDebian,
		Package: "linux-image-6.12.94+deb13-cloud-amd64", Version: "6.12.94-1", Suite: "suite", Source: SourcePackage, Testable: true,
		Parts: []Part{{Package: "linux-image-6.12.94+deb13-cloud-amd64", Version: "6.12.94-1", Arch: "amd64", Size: 100, SHA256: someSum}},
	}, {
		Release: "6.12.95+deb13-rt-amd64", Flavour: "rt-amd64", Arch: "x86_64", Family: FamilyDebian,
		Package: "linux-image-6.12.95+deb13-rt-amd64-unsigned", Version: "6.12.95-1", Suite: "suite", Source: SourcePackage, Testable: true,
		Parts: []Part{{Package: "linux-image-6.12.95+deb13-rt-amd64-unsigned", Version: "6.12.95-1", Arch: "amd64", Size: 100, SHA256: someSum}},
		Notes: []string{"unsigned: does not boot under Secure Boot"},
	}}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
}

func TestOfferedSplitPackages(t *testing.T) {
	whole := func(r, v string) string {
		return stanza("linux-image-"+r, v, "linux-base-"+r+" (= "+v+"), linux-binary-"+r+" (= "+v+"), linux-modules-"+r+" (= "+v+")")
	}
	all := offered(t, whole("7.2.13+deb14-amd64", "7.2.13-1")+stanza("linux-binary-7.2.13+deb14-amd64", "7.2.13-1", "")+
		stanza("linux-binary-unsigned-7.2.13+deb14-amd64", "7.2.13-1", "")+stanza("linux-modules-7.2.13+deb14-amd64", "7.2.13-1", "kmod")+
		stanza("linux-base-7.2.13+deb14-amd64", "7.2.13-1", "")+
		stanza("linux-binary-unsigned-7.3.4+deb13-amd64", "7.3.4-1", "")+stanza("linux-modules-7.3.4+deb13-amd64", "7.3.4-1", "")+
		whole("7.0.4+deb13-amd64", "7.0.4-1")+stanza("linux-binary-7.0.4+deb13-amd64", "7.0.4-1", "")+
		whole("7.1.8+deb13-amd64", "7.1.8-1")+stanza("linux-modules-7.1.8+deb13-amd64", "7.1.8-1", ""))
	for _, c := range []struct{ release, parts, reason string }{
		{"7.2.13+deb14-amd64", "linux-binary-7.2.13+deb14-amd64 linux-modules-7.2.13+deb14-amd64 linux-base-7.2.13+deb14-amd64", ""},
		{"7.3.4+deb13-amd64", "linux-binary-unsigned-7.3.4+deb13-amd64 linux-modules-7.3.4+deb13-amd64", ""},
		{"7.0.4+deb13-amd64", "linux-binary-7.0.4+deb13-amd64", "not its modules"},
		{"7.1.8+deb13-amd64", "linux-image-7.1.8+deb13-amd64 linux-modules-7.1.8+deb13-amd64", "does not have its image"},
	} {
		k := byRelease(t, all, c.release)
		if names(k.Parts) != c.parts || k.Testable != (c.reason == "") || !strings.Contains(k.Reason, c.reason) {
			t.Errorf("%s: %s, testable %v, %q", c.release, names(k.Parts), k.Testable, k.Reason)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d kernels, want 4", len(all))
	}
}

func TestOfferedUbuntuAndProxmox(t *testing.T) {
	all := offered(t, stanza("linux-image-6.8.0-45-generic", "6.8.0-45.45", "kmod, linux-modules-6.8.0-45-generic")+
		stanza("linux-image-unsigned-6.8.0-45-generic", "6.8.0-45.45", "kmod, linux-modules-6.8.0-45-generic")+
		stanza("linux-modules-6.8.0-45-generic", "6.8.0-45.45", "")+stanza("linux-modules-extra-6.8.0-45-generic", "6.8.0-45.45", "")+
		stanza("proxmox-kernel-6.8.12-1-pve", "6.8.12-1", "")+stanza("proxmox-kernel-6.8.12-1-pve-signed", "6.8.12-1", "")+
		stanza("proxmox-kernel-6.8", "6.8.12-1", "proxmox-kernel-6.8.12-1-pve-signed"))
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	u := byRelease(t, all, "6.8.0-45-generic")
	if names(u.Parts) != "linux-image-6.8.0-45-generic linux-modules-6.8.0-45-generic linux-modules-extra-6.8.0-45-generic" || !u.Testable {
		t.Errorf("%+v", u)
	}
	if p := byRelease(t, all, "6.8.12-1-pve"); p.Package != "proxmox-kernel-6.8.12-1-pve-signed" || !p.Testable {
		t.Errorf("%+v", p)
	}
}

func TestReadIndexRefusesWhatHasNoChecksum(t *testing.T) {
	bad := strings.Replace(stanza("linux-image-6.1.0-1-amd64", "1", ""), "SHA256", "MD5sum", 1)
	offers, err := readIndex(strings.NewReader(bad + stanza("linux-image-6.1.0-2-amd64", "2", "")))
	if err == nil || len(offers) != 1 {
		t.Errorf("%+v, %v", offers, err)
	}
	if _, err := readIndex(strings.NewReader("Package: linux-image-6.1.0-2-amd64\nDepends: " + strings.Repeat("x", maxIndexLine+1) + "\n")); err == nil {
		t.Error("a line without end was taken")
	}
}

func TestMergeOffersKeepsTheFirstSuite(t *testing.T) {
	a := offered(t, stanza("linux-image-6.1.0-1-amd64", "6.1.1-1", ""))
	b := offered(t, stanza("linux-image-6.1.0-1-amd64", "6.1.1-1", "")+stanza("linux-image-6.1.0-1-amd64", "6.1.1-2", ""))
	a[0].Suite = "first"
	all := mergeOffers([][]Kernel{a, b})
	if len(all) != 2 || all[0].Suite != "first" || all[1].Version != "6.1.1-2" {
		t.Errorf("%+v", all)
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add(stanza("linux-image-6.1.0-1-amd64", "6.1.1-1", "linux-binary-6.1.0-1-amd64 | x (= 1), y"))
	f.Add(stanza("linux-binary-7.3-cloud-amd64", "7.3~rc7-1", "") + stanza("linux-modules-7.3-cloud-amd64", "7.3~rc7-1", ""))
	f.Add("Package: pve-kernel-5.15.1-1-pve\n:\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		offers, _ := readIndex(strings.NewReader(text))
		for _, k := range mergeOffers([][]Kernel{kernelsIn("s", offers)}) {
			if !isRelease(k.Release) || len(k.Parts) == 0 || !isSHA256(k.Parts[0].SHA256) || k.Testable != (k.Reason == "") {
				t.Errorf("%+v", k)
			}
		}
	})
}
