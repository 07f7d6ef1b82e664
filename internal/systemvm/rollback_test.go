package systemvm

import (
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// upgrade has the newer kernel boot from now on, as an administrator does it.
func (h *host) upgrade() {
	h.Helper()
	h.sh("grub-set-default '" + entryID(h.img.newer) + "'; sync")
}

// saved is the entry that GRUB boots.
func (h *host) saved() string {
	h.Helper()
	return h.sh("grub-editenv list")
}

// TestVMDebianRollback: the newer kernel lacks what the host is for. It is left by itself, once,
// and the older one is good; booted again, it is not left a second time.
func TestVMDebianRollback(t *testing.T) {
	t.Parallel()
	h := resume(t)
	h.upgrade()
	h.sh("systemctl --no-block reboot")
	h.comesUp() // the newer kernel …
	h.runs(h.img.newer)
	h.comesUp() // … which is left without anybody asking
	h.runs(h.img.older)
	h.settles()
	h.is("kubelet.service", "active")
	h.tells("rolled-back-good", h.img.older)
	h.silent("rollback-armed", "rollback-missed", "rolled-back-still-broken", "gate-held")
	h.sound()
	s := h.state()
	if s.Step != gate.Recovered || s.Strikes != 0 || len(s.Bad) != 1 || s.Bad[0].Release != h.img.newer {
		t.Errorf("state: %+v\n%s", s, h.log())
	}
	if env := h.saved(); !strings.Contains(env, "saved_entry="+entryID(h.img.older)) {
		t.Errorf("grubenv: %s", env)
	}
	before := h.sh("journalctl -b -1 -q --no-pager -o cat LASTGOOD_EVENT=rollback-armed; journalctl -b -1 -q --no-pager -u systemd-logind -o cat")
	if strings.Count(before, "goes back") == 0 || !strings.Contains(before, h.img.newer) {
		t.Errorf("the boot before: %s", before)
	}
	if n := h.sh("journalctl --list-boots -q | wc -l"); n != "5" {
		t.Errorf("%s boots in the journal, want the three of the preparation and two", n)
	}
	// Once more into the bad kernel: it stays, with its workloads held.
	h.upgrade()
	h.sh("systemctl --no-block reboot")
	h.comesUp()
	h.settles()
	h.runs(h.img.newer)
	h.is("kubelet.service", "inactive")
	h.tells("rollback-refused", "rolled back from before")
	h.sound("lastgood-assess.service")
}

// TestVMDebianRollbackInVain: what is wrong came with the newer kernel and is not of it. The host
// goes back once, is still broken, and at the third bad boot in a row stays as it is.
func TestVMDebianRollbackInVain(t *testing.T) {
	t.Parallel()
	h := resume(t)
	h.upgrade()
	h.sh("rm /srv/data; systemctl --no-block reboot")
	h.comesUp()
	h.runs(h.img.newer)
	h.comesUp()
	h.runs(h.img.older)
	h.settles()
	h.tells("rolled-back-still-broken", h.img.older)
	h.silent("rolled-back-good", "rollback-armed")
	h.is("kubelet.service", "inactive")
	h.sound("lastgood-assess.service")
	if s := h.state(); s.Step != gate.Broken || s.Strikes != 2 || s.Verdict != snapshot.Regressed {
		t.Errorf("state: %+v\n%s", s, h.log())
	}
	h.reboot()
	h.runs(h.img.older)
	h.tells("third-strike", "3")
	h.is("kubelet.service", "inactive")
	h.is("systemd-logind.service", "active") // somebody can log in
	h.sound("lastgood-assess.service")
	if s := h.state(); s.Step != gate.Standing || s.Strikes != 3 {
		t.Errorf("state: %+v\n%s", s, h.log())
	}
}
