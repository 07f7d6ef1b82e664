package cli

import (
	"testing"

	"lastgood/internal/snapshot"
	"lastgood/probes"
)

// TestUnattached: a candidate without modules is not called worse for what could not be
// tried on it, and what it is compared with stays as it was.
func TestUnattached(t *testing.T) {
	base := probedWorld(probed("a/b", "accepted", "1", 10), snapshot.Subject{Kind: probes.AttachKind, ID: "tc/clsact_ingress", Outcome: snapshot.Measured},
		snapshot.Subject{Kind: snapshot.SourceKind, ID: probes.AttachSource, Outcome: snapshot.Measured})
	got := unattached(base)
	if len(got.Subjects) != 2 || len(base.Subjects) != 4 {
		t.Errorf("%d subjects are left of %d", len(got.Subjects), len(base.Subjects))
	}
	for _, s := range got.Subjects {
		if s.Kind == probes.AttachKind || s.ID == probes.AttachSource {
			t.Errorf("%s/%s is left", s.Kind, s.ID)
		}
	}
}
