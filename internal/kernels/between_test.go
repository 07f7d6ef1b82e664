package kernels

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// debian is a kernel of Debian's that could be booted.
func debian(version string) Kernel {
	return Kernel{Release: version + "-amd64", Version: version, Flavour: "amd64", Arch: "x86_64", Family: FamilyDebian, Testable: true}
}

func versions(all []Kernel) []string {
	var out []string
	for _, k := range all {
		out = append(out, k.Version)
	}
	return out
}

func TestBetween(t *testing.T) {
	cloud, arm, rpm, dead := debian("6.1.5-1"), debian("6.1.5-2"), debian("6.1.5-3"), debian("6.1.5-4")
	cloud.Flavour, arm.Arch, rpm.Family, dead.Testable = "cloud-amd64", "aarch64", FamilyRPM, false
	twice := debian("6.1.10-1")
	twice.Source = SourcePackage
	all := []Kernel{
		debian("6.1.20-1"), debian("6.1.10-1"), debian("6.1.4-1"), debian("6.1.30-1"), debian("6.1.9-1"), debian("6.1.3-1"), debian("6.1.20-1~bpo11+1"),
		cloud, arm, rpm, dead, twice,
	}
	given := slices.Clone(all)
	want := []string{"6.1.4-1", "6.1.9-1", "6.1.10-1", "6.1.20-1~bpo11+1", "6.1.20-1"}
	got, err := Between(debian("6.1.4-1"), debian("6.1.20-1"), all)
	if diff := cmp.Diff(want, versions(got)); err != nil || diff != "" {
		t.Errorf("older to newer: %v (-want +got):\n%s", err, diff)
	}
	for _, k := range got {
		if k.Source == SourcePackage {
			t.Errorf("%s: the first of two sources should be taken", k.Version)
		}
	}
	slices.Reverse(want)
	got, err = Between(debian("6.1.20-1"), debian("6.1.4-1"), all)
	if diff := cmp.Diff(want, versions(got)); err != nil || diff != "" {
		t.Errorf("newer to older: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(given, all); diff != "" {
		t.Errorf("the caller's list was changed:\n%s", diff)
	}
}

// TestBetweenKeepsTheEnds: these two are what was asked about, whatever else is known
// of them and whether they are among the others or not.
func TestBetweenKeepsTheEnds(t *testing.T) {
	good, bad := debian("6.1.4-1"), debian("6.1.20-1")
	good.Testable, good.Tree = false, "good's own"
	got, err := Between(good, bad, nil)
	if diff := cmp.Diff([]Kernel{good, bad}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, err = Between(good, bad, []Kernel{debian("6.1.4-1"), debian("6.1.20-1"), debian("6.1.1-1"), debian("6.2-1")})
	if diff := cmp.Diff([]Kernel{good, bad}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestBetweenRefuses(t *testing.T) {
	good := debian("6.1.4-1")
	same := good
	same.Source = SourcePackage
	if got, err := Between(good, same, []Kernel{good}); err == nil || got != nil {
		t.Errorf("one kernel at both ends: %v, %v", versions(got), err)
	}
	cloud := debian("6.1.20-1")
	cloud.Flavour = "cloud-amd64"
	if got, err := Between(good, cloud, nil); !errors.Is(err, ErrMixed) || got != nil {
		t.Errorf("two flavours: %v, %v", versions(got), err)
	}
}
