package cli

import (
	"os"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// TestUnitThatFailed: by its verdict is no fault; by a crash or by time is one, though the gate before it came to a verdict.
func TestUnitThatFailed(t *testing.T) {
	for _, c := range []struct {
		name, unit, said string
		verdict          snapshot.Verdict
		judged           bool
	}{
		{"verdict", gate.AssessUnit, "ActiveState=failed\nResult=exit-code\nExecMainStatus=1", snapshot.Regressed, true},
		{"assessment hung", gate.AssessUnit, "ActiveState=failed\nResult=timeout\nExecMainStatus=9", snapshot.Good, false},
		{"assessment crashed", gate.AssessUnit, "ActiveState=failed\nResult=exit-code\nExecMainStatus=2", snapshot.Good, false},
		{"bless was killed", "lastgood-bless.service", "ActiveState=failed\nResult=oom-kill\nExecMainStatus=9", snapshot.Good, false},
		{"no verdict", gate.GateUnit, "ActiveState=failed\nResult=exit-code\nExecMainStatus=1", "", false},
		{"systemd is not asked", gate.AssessUnit, "", snapshot.Regressed, true},
	} {
		h := newGateHost(t)
		h.write("/systemctl", "#!/bin/sh\ncat <<E\nId="+c.unit+"\n"+c.said+"\nE\n")
		if c.said == "" {
			h.write("/systemctl", "#!/bin/sh\nexit 1\n")
		}
		if err := os.Chmod(h.dir+"/systemctl", 0o755); err != nil {
			t.Fatal(err)
		}
		g := h.boot("boot", newRelease)
		if c.verdict != "" {
			g.judge(t, gate.Checked, c.verdict)
		}
		n := &notifyRun{gateRun: g, failed: c.unit}
		if have := n.judged(t.Context()); have != c.judged {
			t.Errorf("%s: judged %v, want %v", c.name, have, c.judged)
		}
		if c.name == "assessment hung" && n.fault() != gate.AssessUnit+" failed (timeout); workloads start as without it" {
			t.Errorf("told %q", n.fault())
		}
	}
}
