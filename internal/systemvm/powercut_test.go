package systemvm

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// fragile is a host on a disk with a cache that forgets.
type fragile struct {
	*host
	dir, path string
	disk      *volatileDisk
	cuts      int
	seed      uint64
}

// powered gives it power: its first time as it was saved, then from its disk.
func (f *fragile) powered(more ...string) {
	f.Helper()
	socket := filepath.Join(f.dir, "nbd")
	d, err := serveVolatile(f.path, socket)
	if err != nil {
		f.Fatal(err)
	}
	f.disk = d
	disks, err := withParcel(disk{socket: socket, format: "qcow2", cache: "writeback"})
	if err != nil {
		f.Fatal(err)
	}
	m, err := start(f.dir, disks, more...)
	if err != nil {
		f.Fatal(err)
	}
	f.machine = m
}

// cutWhen takes the power away as soon as a condition of the guest's shell holds, and gives it again.
func (f *fragile) cutWhen(condition string) {
	f.Helper()
	// It leaves the one processor to what is waited for: the shortest of these takes a third of a second.
	f.sh("for i in $(seq 10000); do if " + condition + "; then exit 0; fi; sleep 0.02; done; exit 1")
	f.cutNow("when " + condition)
}

// cutNow takes the power away and gives it again. What the disk had not been told to keep may be lost.
func (f *fragile) cutNow(when string) {
	f.Helper()
	f.cut()
	f.cuts++
	n, err := f.disk.cut(rand.New(rand.NewPCG(f.seed, uint64(f.cuts))))
	if err != nil {
		f.Fatal(err)
	}
	f.Logf("cut %d, %s: %d blocks were in the disk's cache", f.cuts, when, n)
	f.powered()
	f.comesUp()
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

// fragileHost is the learned machine on such a disk, for one test.
func fragileHost(t *testing.T, seed uint64) *fragile {
	t.Helper()
	img := theDebian(t)
	from, err := learned()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fragile{host: &host{T: t, img: img}, dir: dir, seed: seed, path: filepath.Join(dir, "disk.qcow2")}
	if err := copyFile(from, f.path); err != nil {
		t.Fatal(err)
	}
	f.powered("-loadvm", savedName)
	t.Cleanup(func() {
		f.cut()
		if t.Failed() {
			t.Logf("console:\n%s", f.tail())
		}
	})
	return f
}

// TestVMDebianPowerCut takes the power away in the midst of each unit that a boot has of lastgood's.
func TestVMDebianPowerCut(t *testing.T) {
	t.Parallel()
	f := fragileHost(t, 7)
	img := f.img
	f.sh("systemctl --no-block reboot")
	f.comesUp()
	for _, unit := range []string{"lastgood-gate.service", "lastgood-assess.service", "lastgood-bless.service"} {
		f.cutWhen(inUnit(unit, "activating"))
	}
	f.settles()
	f.runs(img.older)
	f.is("kubelet.service", "active")
	f.tells("good")
	f.silent("gate-held", "rollback-armed", "regressed")
	f.whole()
	f.sound()
}

// TestVMDebianPowerCutInRollback takes it away while what is to boot next is written down, and while
// a worse kernel is left.
func TestVMDebianPowerCutInRollback(t *testing.T) {
	t.Parallel()
	f := fragileHost(t, 11)
	img := f.img
	f.upgrade()
	f.sh("systemctl --no-block reboot")
	f.cutWhen(inUnit("lastgood-intent.service", "deactivating"))
	f.runs(img.newer)
	// While the newer kernel is left: it is remembered that it is, and perhaps not done yet.
	f.cutWhen(`[[ "$(< /var/lib/lastgood/gate.json)" == *'"step": "returning"'* ]]`)
	f.afterDecide()
}

// afterDecide is a boot after the power went while the newer kernel was being left: GRUB was set,
// or it was not. Either way that was the one rollback.
func (h *host) afterDecide() {
	h.Helper()
	img := h.img
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
