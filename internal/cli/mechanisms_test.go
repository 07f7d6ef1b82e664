package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/probes"
)

func probed(id, verdict, program string, insns int) snapshot.Subject {
	s := snapshot.Subject{Kind: probes.ProbeKind, ID: id, Outcome: snapshot.Measured}
	s.Set("verdict", snapshot.Text(verdict))
	s.Set("program", snapshot.Text(program))
	s.Set("insns_processed", snapshot.Int(insns))
	return s
}

func probedWorld(subjects ...snapshot.Subject) *snapshot.Snapshot {
	source := snapshot.Subject{Kind: snapshot.SourceKind, ID: "bpf_probes", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(probes.ProbeKind)}}
	return &snapshot.Snapshot{Tool: "test", Subjects: append(subjects, source)}
}

func TestMovements(t *testing.T) {
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	old := probedWorld(
		probed("a/dearer", "accepted", "1", 100), probed("a/much_dearer", "accepted", "2", 100), probed("a/same", "accepted", "3", 100),
		probed("b/cheaper", "accepted", "4", 100), probed("b/other_program", "accepted", "5", 100),
		probed("c/refused", "accepted", "6", 100), probed("d/accepted", "rejected", "7", 4))
	now := probedWorld(
		probed("a/dearer", "accepted", "1", 150), probed("a/much_dearer", "accepted", "2", 2600), probed("a/same", "accepted", "3", 100),
		probed("b/cheaper", "accepted", "4", 20), probed("b/other_program", "accepted", "55", 900),
		probed("c/refused", "rejected", "6", 7), probed("d/accepted", "accepted", "7", 5000))
	want := map[string]*movement{
		"a": {up: []string{"dearer", "much_dearer"}, factor: 26},
		"b": {down: []string{"cheaper"}, factor: 1},
		"c": {up: []string{"refused"}, refused: []string{"refused"}, factor: 1},
		"d": {down: []string{"accepted"}, factor: 1},
	}
	if d := cmp.Diff(want, movements(old, now, all), cmp.AllowUnexported(movement{})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := movements(old, old, all); len(got) != 0 {
		t.Errorf("nothing moved, and it gives %v", got)
	}
}

// TestMechanisms: what is refused comes first, then what grew most; a family is explained
// by its own documentation.
func TestMechanisms(t *testing.T) {
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	old := probedWorld(probed("accept_stack_read/padding", "accepted", "1", 9), probed("merge_callee/never_reads", "accepted", "2", 300), probed("merge_map_key/array_high_half", "accepted", "3", 300))
	now := probedWorld(probed("accept_stack_read/padding", "rejected", "1", 3), probed("merge_callee/never_reads", "accepted", "2", 900), probed("merge_map_key/array_high_half", "accepted", "3", 9000))
	got := mechanisms(old, now, all, []snapshot.Finding{{Severity: snapshot.Warning, Subject: snapshot.SubjectRef{Kind: probes.ProbeKind, ID: "merge_callee/never_reads"}}})
	if len(got) != 3 || got[0].Family != "accept_stack_read" || got[1].Family != "merge_map_key" || got[2].Family != "merge_callee" {
		t.Fatalf("%+v", got)
	}
	for _, m := range got {
		if m.Title == "" || m.Means == "" || m.Programs == 0 || m.Alarming != (m.Family == "merge_callee") {
			t.Errorf("%+v", m)
		}
	}
}
