package kernels

import (
	"errors"
	"strings"
	"testing"

	"lastgood/internal/sysfs"
)

func deb(release, version string) Kernel {
	k := Kernel{Release: release, Family: FamilyDebian, Package: "linux-image-" + release, Version: version, Source: SourcePackage, Testable: true}
	k.Flavour, k.Arch = FlavourOf(release)
	return k
}

func TestCandidates(t *testing.T) {
	running := deb("6.1.0-50-cloud-amd64", "6.1.176-1")
	running.Source = SourceInstalled
	next := deb("6.1.0-51-cloud-amd64", "6.1.177-1")
	next.Source = SourceInstalled
	broken := deb("6.1.0-52-cloud-amd64", "6.1.180-1")
	broken.Source = SourceInstalled
	broken.refuse("its module tree is not there")
	onSuite := func(k Kernel) Kernel { k.Suite, k.Source = "bookworm-security", SourcePackage; return k }
	whole := onSuite(broken)
	whole.Testable, whole.Reason = true, ""
	offers := []Kernel{
		onSuite(next), whole, deb("6.1.0-47-cloud-amd64", "6.1.170-3"), deb("6.1.0-56-amd64", "6.1.192-2"), deb("6.1.0-56-arm64", "6.1.192-2"), deb("6.1.0-56-cloud-amd64", "6.1.192-2"),
	}
	all := Candidates([]Kernel{running, next, broken}, offers, Kernel{Release: running.Release}, Choice{})
	if len(all) != 8 { // next is listed once; broken twice, for the archive has it whole
		t.Fatalf("%d candidates: %+v", len(all), all)
	}
	for release, reason := range map[string]string{
		"6.1.0-50-cloud-amd64": "running kernel", "6.1.0-47-cloud-amd64": "older", "6.1.0-56-amd64": "flavour is amd64", "6.1.0-56-arm64": "architecture is aarch64",
	} {
		if k := byRelease(t, all, release); k.Testable || !strings.Contains(k.Reason, reason) {
			t.Errorf("%s: testable %v, %q, want %q", release, k.Testable, k.Reason, reason)
		}
	}
	if k := byRelease(t, all, next.Release); !k.Testable || k.Source != SourceInstalled || k.Suite != "bookworm-security" {
		t.Errorf("installed and offered: %+v", k)
	}
	tried := 0
	for _, k := range all {
		if k.Testable != (k.Reason == "") {
			t.Errorf("%s: testable %v with reason %q", k.Release, k.Testable, k.Reason)
		}
		if k.Testable {
			tried++
		}
	}
	if tried != 3 {
		t.Errorf("%d testable, want 3", tried)
	}
	if !offers[2].Testable {
		t.Error("Candidates changed what it was given")
	}
	all = Candidates(nil, offers, running, Choice{Flavours: []string{"*"}, Older: true})
	if k := byRelease(t, all, "6.1.0-47-cloud-amd64"); !k.Testable {
		t.Errorf("older, asked for: %+v", k)
	}
	if k := byRelease(t, all, "6.1.0-56-amd64"); !k.Testable {
		t.Errorf("other flavour, asked for: %+v", k)
	}
	if k := byRelease(t, all, "6.1.0-56-arm64"); k.Testable {
		t.Errorf("another architecture is never tried: %+v", k)
	}
}

func TestNewClientWithoutPackages(t *testing.T) {
	_, err := NewClient(t.Context(), sysfs.New(host(map[string]string{"/etc/os-release": "ID=arch\n"})), t.TempDir(), nil)
	var hint *HintError
	if !errors.Is(err, ErrNoTool) || !errors.As(err, &hint) {
		t.Errorf("%v", err)
	}
}
