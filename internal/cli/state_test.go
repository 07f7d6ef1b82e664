package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/collect"
)

func TestNamedGroupsAreFree(t *testing.T) {
	for named, want := range map[string]string{
		"":                 "* agent.o agent.o (1 of 2) agent.o (2 of 2) merge_callee other.o (1 of 2)",
		"merge_callee/one": "agent.o agent.o (1 of 2) agent.o (2 of 2) other.o (1 of 2)",
		"agent.o":          "merge_callee other.o (1 of 2)",
		"agent":            "agent.o agent.o (1 of 2) agent.o (2 of 2) merge_callee other.o (1 of 2)",
	} {
		blocked := map[string]string{collect.AnyGroup: "x", "merge_callee": "x", "agent.o": "x", "agent.o (1 of 2)": "x", "agent.o (2 of 2)": "x", "other.o (1 of 2)": "x"}
		if got := strings.Join(slices.Sorted(maps.Keys(freed(blocked, strings.Fields(named)))), " "); got != want {
			t.Errorf("%q: %s, want %s", named, got, want)
		}
	}
}
