package systemvm

import (
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// TestVMDebianHoldAndRelease: on the same kernel something is gone that the host had. Kubelet is
// skipped, not failed, until somebody lets it go, and no other kernel is tried for it.
func TestVMDebianHoldAndRelease(t *testing.T) {
	t.Parallel()
	h := resume(t)
	h.runs(h.img.older)
	h.sh("rm /srv/data; sync")
	h.reboot()
	h.runs(h.img.older)
	h.is("kubelet.service", "inactive")
	if got := h.unit("kubelet.service", "ConditionResult"); got != "no" {
		t.Errorf("kubelet's condition: %s\n%s", got, h.log())
	}
	h.tells("gate-held", "data")
	h.silent("rollback-armed", "tool-failed", "action-failed", "good")
	h.sound("lastgood-assess.service")
	h.is("boot-complete.target", "inactive")
	s := h.state()
	if s.Verdict != snapshot.Regressed || s.Held == "" || s.Wants != gate.Hold || s.Strikes != 1 {
		t.Errorf("state: %+v\n%s", s, h.log())
	}
	if out, status := h.status("lastgood check"); status != 1 || !strings.Contains(out, "contract-broken") {
		t.Errorf("check: exit status %d\n%s", status, out)
	}
	// Restarting the gate lets nothing go and stops nothing.
	h.sh("systemctl restart lastgood-gate.service")
	if out, _ := h.status("systemctl start kubelet.service; systemctl is-active kubelet.service"); !strings.Contains(out, "inactive") {
		t.Errorf("kubelet started by hand while held: %s", out)
	}
	h.sh("lastgood release")
	h.is("kubelet.service", "active")
	h.tells("gate-released")
	if _, status := h.status("test -e /run/lastgood/hold"); status == 0 {
		t.Error("the hold file is still there")
	}
	// What was released stays so, and what comes back is good again.
	h.sh("systemctl restart lastgood-gate.service")
	h.is("kubelet.service", "active")
	h.sh("echo here > /srv/data; sync")
	h.reboot()
	h.is("kubelet.service", "active")
	h.tells("good")
	h.sound()
	if s := h.state(); s.Strikes != 0 || s.Verdict != snapshot.Good {
		t.Errorf("state: %+v\n%s", s, h.log())
	}
}
