package hw_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// names lists what the subjects of a kind are called today.
func names(snap *snapshot.Snapshot, kind, attr string) []string {
	out := []string{}
	for i := range snap.Subjects {
		if s := &snap.Subjects[i]; s.Kind == kind {
			out = append(out, s.Text(attr))
		}
	}
	slices.Sort(out)
	return out
}

// listing is a folder of this host without those that have no device behind them
// and those whose names are in the reader's list of exclusions.
func listing(t *testing.T, folder string, except *regexp.Regexp, withDevice bool) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		_, err := os.Stat(filepath.Join(folder, e.Name(), "device"))
		if (withDevice && err != nil) || (except != nil && except.MatchString(e.Name())) {
			continue
		}
		out = append(out, e.Name())
	}
	return out
}

func TestThisHost(t *testing.T) {
	began := time.Now()
	snap := take(t.Context(), t, sysfs.Live())
	t.Logf("%d subjects in %v", len(snap.Subjects), time.Since(began))
	excluded := regexp.MustCompile(`^(sr|fd|rbd)[0-9]|^mmcblk[0-9]+(boot|rpmb|gp)|^nvme[0-9]+c[0-9]+n`)
	checks := []struct {
		kind, attr string
		want       []string
	}{
		{"hw.disk", "name", listing(t, "/sys/block", excluded, true)},
		{"net.interface", "name", listing(t, "/sys/class/net", nil, true)},
		{"hw.pci", "address", listing(t, "/sys/bus/pci/devices", nil, false)},
	}
	for _, c := range checks {
		if d := cmp.Diff(c.want, names(snap, c.kind, c.attr)); d != "" {
			t.Errorf("%s (-listed +read):\n%s", c.kind, d)
		}
	}
	j := judge(t, snap, take(t.Context(), t, sysfs.Live()))
	if len(j.Findings) > 0 || j.Verdict != snapshot.Good {
		t.Errorf("two readings of this host: %s, %v", j.Verdict, brief(j.Findings))
	}
}

func TestDoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, src := range hw.Sources() {
		if subjects, err := src.Read(ctx, hostOf(sysfs.Live())); err == nil {
			t.Errorf("%s: read %d subjects without time and without an error", src.Name, len(subjects))
		}
	}
}
