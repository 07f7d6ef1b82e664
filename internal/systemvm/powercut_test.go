package systemvm

import (
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// cutWhen takes the power away as soon as a condition of the guest's shell holds.
func (h *host) cutWhen(condition string) {
	h.Helper()
	h.sh("for i in $(seq 20000); do if " + condition + "; then exit 0; fi; done; exit 1")
	h.cut()
}

// starts gives it power again.
func (h *host) starts(path string) {
	h.Helper()
	disks, err := disksOf(path, "directsync")
	if err != nil {
		h.Fatal(err)
	}
	m, err := start(filepath.Dir(path), disks)
	if err != nil {
		h.Fatal(err)
	}
	*h.machine = *m
	h.comesUp()
}

// whole fails the test where the state folder is not.
func (h *host) whole() {
	h.Helper()
	for _, command := range []string{"lastgood list", "lastgood show current", "lastgood decide --dry-run", "test ! -e /var/lib/lastgood/damaged"} {
		h.sh(command)
	}
	if no, _ := h.doctor(); strings.Contains(strings.Join(no, "\n"), "damaged") || strings.Contains(strings.Join(no, "\n"), "remembers") {
		h.Errorf("doctor: %q", no)
	}
	if s := h.state(); s.Lost != "" {
		h.Errorf("what was remembered is lost: %s", s.Lost)
	}
}

// inUnit is that a unit is being started.
func inUnit(name, state string) string {
	return "[ \"$(systemctl show --value -p ActiveState " + name + ")\" = " + state + " ]"
}

// TestVMDebianPowerCut takes the power away in the midst of each of lastgood's units. The disk
// has no cache that could hold back what was not written through, and none that loses it: what
// the guest had not yet given to the disk is gone, as ext4 leaves it.
func TestVMDebianPowerCut(t *testing.T) {
	t.Parallel()
	img := theDebian(t)
	from, err := learned()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := copyFile(from, path); err != nil {
		t.Fatal(err)
	}
	h := run(t, img, path, "directsync", "-loadvm", savedName)
	h.sh("systemctl --no-block reboot")
	h.comesUp()
	for _, unit := range []string{"lastgood-gate.service", "lastgood-assess.service", "lastgood-bless.service"} {
		h.cutWhen(inUnit(unit, "activating"))
		h.starts(path)
	}
	h.settles()
	h.runs(img.older)
	h.is("kubelet.service", "active")
	h.tells("good")
	h.silent("gate-held", "rollback-armed", "regressed")
	h.whole()
	h.sound()
	// While what is to boot next is written down.
	h.upgrade()
	h.sh("systemctl --no-block reboot")
	h.cutWhen(inUnit("lastgood-intent.service", "deactivating"))
	h.starts(path)
	h.runs(img.newer)
	// While the newer kernel is left: it is remembered that it is, and not done yet.
	h.cutWhen(`[[ "$(< /var/lib/lastgood/gate.json)" == *'"step": "returning"'* ]]`)
	h.starts(path)
	h.afterDecide(img)
}

// afterDecide is a boot after the power went while the newer kernel was being left: GRUB was set,
// or it was not. Either way that was the one rollback.
func (h *host) afterDecide(img *image) {
	h.Helper()
	h.settles()
	h.whole()
	s := h.state()
	if len(s.Bad) != 1 || s.Bad[0].Release != img.newer {
		h.Errorf("state: %+v", s)
	}
	h.silent("rollback-armed")
	switch h.kernel {
	case img.older:
		h.tells("rolled-back-good", img.older)
		h.is("kubelet.service", "active")
	case img.newer:
		h.tells("rollback-missed", img.older, img.newer)
		h.is("kubelet.service", "inactive")
		if s.Verdict != snapshot.Regressed || s.Step == gate.Returning {
			h.Errorf("state: %+v", s)
		}
	}
	h.Logf("after the cut in decide kernel %s runs: %s", h.kernel, s.Describe())
}
