package compare

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// A symptom goes behind the cause above it, whichever of that subject's findings came
// first, and stands by itself where nothing above explains it.
func TestFoldSymptoms(t *testing.T) {
	of := func(id string, s snapshot.Severity, f found) found {
		f.Finding = snapshot.Finding{Code: "c-" + id, Severity: s, Subject: snapshot.SubjectRef{Kind: "k", ID: id}}
		return f
	}
	up := map[string]string{"k/disk": "k/bus", "k/said": "k/disk", "k/bus": "k/card", "k/alone": "k/other"}
	got := fold([]found{
		of("said", snapshot.Critical, found{symptom: true}),
		of("bus", snapshot.Info, found{}),
		of("bus", snapshot.Warning, found{cause: true, symptom: true}),
		of("disk", snapshot.Info, found{gone: true}),
		of("alone", snapshot.Warning, found{symptom: true}),
	}, up)
	type told struct {
		ID       string
		Severity snapshot.Severity
		Behind   int
	}
	var have []told
	for _, f := range got {
		have = append(have, told{f.Subject.ID, f.Severity, len(f.Behind)})
	}
	want := []told{{"bus", snapshot.Info, 0}, {"bus", snapshot.Critical, 2}, {"alone", snapshot.Warning, 0}}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}
