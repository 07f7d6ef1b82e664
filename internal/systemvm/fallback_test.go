package systemvm

import (
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// TestVMDebianFallback: the newer kernel is to boot once and cannot, for its initramfs is broken;
// it panics, and GRUB boots the older one without a word. That is told, with both kernels named.
func TestVMDebianFallback(t *testing.T) {
	t.Parallel()
	h := resume(t)
	h.sh("head -c 65536 /dev/urandom > /boot/initrd.img-" + h.img.newer + "; grub-reboot '" + entryID(h.img.newer) + "'; sync")
	h.reboot()
	h.runs(h.img.older)
	h.fellBack()
	h.tells("invalid", h.img.newer, h.img.older)
	h.is("kubelet.service", "active") // it is no regression
	h.silent("gate-held", "rollback-armed", "regressed", "good")
	h.sound()
	if s := h.state(); s.Step != gate.Idle || s.Verdict != snapshot.Invalid || s.Strikes != 0 {
		t.Errorf("state: %+v", s)
	}
	// The same by lastgood's own try: it knows that it was one, and the older kernel stays the default.
	h.sh("lastgood try '" + h.img.newer + "'")
	h.tells("try-armed", h.img.newer)
	h.reboot()
	h.runs(h.img.older)
	h.tells("try-fell-back", h.img.newer, h.img.older)
	h.fellBack()
	if env := h.saved(); !strings.Contains(env, "saved_entry="+entryID(h.img.older)) {
		t.Errorf("grubenv: %s", env)
	}
	// An orderly reboot after it is as meant, and good.
	h.reboot()
	h.runs(h.img.older)
	h.tells("good")
	if out, status := h.status("lastgood check"); status != 0 {
		t.Errorf("check: exit status %d\n%s", status, out)
	}
}

// fellBack fails the test where a check does not say that this boot is not the one that was meant.
func (h *host) fellBack() {
	h.Helper()
	out, status := h.status("lastgood check")
	if status != 4 || !strings.Contains(out, h.img.newer) || !strings.Contains(out, h.img.older) {
		h.Errorf("check: exit status %d, want 4 and both kernels named\n%s\n%s", status, out, h.log())
	}
}

// TestVMDebianTry: a kernel that is tried and good becomes the default.
func TestVMDebianTry(t *testing.T) {
	t.Parallel()
	h := resume(t)
	h.sh("rm /etc/lastgood/contract.d/node.yaml; lastgood try '" + h.img.newer + "'")
	h.reboot()
	h.runs(h.img.newer)
	h.is("kubelet.service", "active")
	h.tells("try-committed", h.img.newer)
	h.silent("gate-held", "rollback-armed", "try-fell-back")
	h.sound()
	if env := h.saved(); !strings.Contains(env, "saved_entry="+entryID(h.img.newer)) {
		t.Errorf("grubenv: %s", env)
	}
}
