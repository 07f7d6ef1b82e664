package kernels

import (
	"os"
	"testing"

	"lastgood/internal/sysfs"
)

// TestAptRealArchive asks the archive itself; it needs the network and is run by
// hand: LASTGOOD_ARCHIVE=folder go test -run AptRealArchive -v.
func TestAptRealArchive(t *testing.T) {
	dir := os.Getenv("LASTGOOD_ARCHIVE")
	if dir == "" {
		t.Skip("LASTGOOD_ARCHIVE names no folder: this test reads package archives over the network")
	}
	a, err := NewApt(dir, AptOptions{Root: sysfs.Live(), Suites: DebianSuites})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Problems() {
		t.Log("problem:", p)
	}
	all, err := a.Offered(t.Context())
	if err != nil || len(all) == 0 {
		t.Fatalf("offered: %d kernels, %v", len(all), err)
	}
	for _, k := range all {
		t.Logf("%-34s %-22s %-20s %d parts %v %s", k.Release, k.Version, k.Suite, len(k.Parts), k.Testable, k.Reason)
		if k.Flavour == "" || k.Arch == "" || len(k.Parts) == 0 {
			t.Errorf("incomplete: %+v", k)
		}
	}
}
