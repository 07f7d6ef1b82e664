package report

import (
	"bytes"
	"strings"
	"testing"

	"lastgood/internal/snapshot"
)

func mechanismText(t *testing.T, verbose bool, all ...Mechanism) string {
	t.Helper()
	var b bytes.Buffer
	r := &Report{Verdict: snapshot.Good, Summary: "s", Mechanisms: all}
	if err := Write(&b, "table", r, Options{Width: 100, Verbose: verbose}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMechanisms(t *testing.T) {
	worse := Mechanism{Family: "merge_slot", Title: "Slots of the stack", Means: "Programs with many of them get dearer.", Programs: 7, Worse: []string{"a", "b"}, Better: []string{"c"}, Factor: 26.6, Alarming: true}
	refused := Mechanism{Family: "accept_read", Title: "Reads", Means: "Such programs are refused.", Programs: 8, Worse: []string{"x"}, Refused: []string{"x"}, Factor: 1, Alarming: true}
	quiet := Mechanism{Family: "deduce_link", Title: "Links", Means: "Hidden.", Programs: 3, Worse: []string{"y"}, Factor: 7, Alarming: false}
	better := Mechanism{Family: "merge_map_key", Title: "Keys", Means: "Hidden too.", Programs: 8, Better: []string{"z"}, Factor: 1}

	got := mechanismText(t, false, worse, refused, quiet, better)
	for _, want := range []string{
		"What it means", "Slots of the stack (merge_slot: 2 of 7 programs worse, up to ×26.6; 1 better)", "Programs with many of them get dearer.",
		"Reads (accept_read: 1 of 8 programs worse; refused: x)", "also worse: deduce_link", "better: merge_map_key",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "Hidden") {
		t.Errorf("what alarms nobody is explained:\n%s", got)
	}
	if got := mechanismText(t, true, quiet); !strings.Contains(got, "Hidden.") {
		t.Errorf("-v explains no more:\n%s", got)
	}
	if got := mechanismText(t, false, quiet, better); strings.Contains(got, "What it means") || strings.Contains(got, "dearer") {
		t.Errorf("nothing is alarming, and it says\n%s", got)
	}
	hostile := worse
	hostile.Title, hostile.Means, hostile.Family = "a\x1b[31m", "b\nc\x07", "d\r"
	if got := mechanismText(t, false, hostile); strings.ContainsAny(got, "\x1b\x07\r") {
		t.Errorf("control characters reach the terminal: %q", got)
	}
}
