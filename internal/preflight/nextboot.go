package preflight

import (
	"context"
	"slices"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// nextBootChecks are the questions of the catalogue that a boot depends on, whatever it is of.
var nextBootChecks = []string{"boot-image-bad", "boot-initramfs-bad", "boot-modules-missing"}

// NextBoot asks the few questions about what boots next that cost nothing: is there an entry, and
// has it its image, initramfs and modules? faults say why that boot would fail, gaps what could
// not be told.
func NextBoot(ctx context.Context, h source.Host) (faults, gaps []string) {
	checks := slices.DeleteFunc(bootChecks(liveCalls()), func(c Check) bool {
		return c.Code != "boot-entry-missing" && !slices.Contains(nextBootChecks, c.Code)
	})
	found, left := runChecks(ctx, checks, h, Target{})
	for _, f := range found {
		// A default that is gone makes the loader boot another entry; none at all stops it.
		if f.Severity == snapshot.Critical {
			faults = append(faults, f.Message)
		}
	}
	for _, g := range left {
		if g.Counts {
			gaps = append(gaps, g.Reason)
		}
	}
	return faults, gaps
}
