package systemvm

import (
	"strings"
	"testing"
)

// replace puts a program in the place of lastgood that does as a line of shell says for the given
// commands, and is lastgood for all others.
func (h *host) replace(commands, line string) {
	h.Helper()
	h.sh(`set -e
[ -e /usr/bin/lastgood.real ] || mv /usr/bin/lastgood /usr/bin/lastgood.real
cat > /usr/bin/lastgood <<'END'
#!/bin/bash
case $1 in ` + commands + `) ` + line + ` ;; esac
exec /usr/bin/lastgood.real "$@"
END
chmod 755 /usr/bin/lastgood
sync`)
}

// TestVMDebianOwnFaults: whatever becomes of lastgood itself, the workloads start.
func TestVMDebianOwnFaults(t *testing.T) {
	t.Parallel()
	h := resume(t)
	// It crashes in all that a boot has of it.
	h.replace("gate | __assess | bless | decide | __intent", "kill -SEGV $$")
	h.reboot()
	h.is("kubelet.service", "active")
	h.sound("lastgood-gate.service", "lastgood-assess.service", "lastgood-bless.service", "lastgood-decide.service", "lastgood-intent.service")
	h.is("lastgood-gate.service", "failed")
	if texts := strings.Join(h.told("tool-failed"), "\n"); !strings.Contains(texts, "lastgood-gate.service") || !strings.Contains(texts, "lastgood-assess.service") {
		t.Errorf("told: %q\n%s", texts, h.log())
	}
	h.silent("gate-held", "rollback-armed")
	// A loader that counts boots must not fall back for that.
	h.is("boot-complete.target", "active")
	// It is not there at all.
	h.sh("rm /usr/bin/lastgood; sync")
	h.reboot()
	h.is("kubelet.service", "active")
	if result := h.unit("lastgood-gate.service", "Result"); result != "exit-code" {
		t.Errorf("the gate ended with %q", result)
	}
	// It hangs before the workloads and at shutdown, and takes no signal but the last.
	h.replace("gate | __intent", "trap '' TERM INT HUP; while :; do sleep 1000; done")
	h.sh("systemctl daemon-reload")
	h.reboot()
	h.is("kubelet.service", "active")
	if result := h.unit("lastgood-gate.service", "Result"); result != "timeout" {
		t.Errorf("the gate ended with %q\n%s", result, h.log())
	}
	h.silent("gate-held", "rollback-armed")
	// What is seen to be right again is right again.
	h.sh("mv /usr/bin/lastgood.real /usr/bin/lastgood; sync")
	h.reboot()
	h.is("kubelet.service", "active")
	h.is("lastgood-gate.service", "active")
	h.tells("good")
	h.sound()
}
