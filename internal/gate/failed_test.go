package gate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFailed: a unit that failed is named with the cause; a verdict is none.
func TestFailed(t *testing.T) {
	unit := func(id, state, result, status string) string {
		return "Id=" + id + "\nActiveState=" + state + "\nResult=" + result + "\nExecMainStatus=" + status + "\n"
	}
	tests := map[string]struct {
		text string
		want []string
	}{
		"nothing": {"", nil},
		"well":    {unit(GateUnit, "active", "success", "0") + "\n" + unit("lastgood-decide.service", "inactive", "success", "0"), nil},
		"crash":   {unit(GateUnit, "failed", "signal", "11"), []string{"lastgood-gate.service: signal"}},
		"hang": {unit(GateUnit, "failed", "timeout", "9") + "\n" + unit("lastgood-bless.service", "active", "success", "0"),
			[]string{"lastgood-gate.service: timeout"}},
		"worse":             {unit(AssessUnit, "failed", "exit-code", "1"), nil},
		"no configuration":  {unit(AssessUnit, "failed", "exit-code", "2"), []string{"lastgood-assess.service: exit status 2"}},
		"gate with a 1":     {unit(GateUnit, "failed", "exit-code", "1"), []string{"lastgood-gate.service: exit status 1"}},
		"in an earlier run": {unit(GateUnit, "activating", "timeout", "9"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, failed(tt.text)); d != "" {
				t.Error(d)
			}
		})
	}
}
