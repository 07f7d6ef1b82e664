package systemvm

import (
	"flag"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bootsAnyhow reboots in order and waits for the workload's unit to be over with its start. What
// of lastgood's hangs beside the boot is not waited for.
func (h *host) bootsAnyhow() {
	h.Helper()
	h.sh("sync; systemctl --no-block reboot")
	h.comesUp()
	h.sh(`for i in $(seq 1200); do
  [ "$(systemctl is-active multi-user.target)" = active ] && [ "$(systemctl show --value -p Job kubelet.service)" = "" ] && exit 0
  sleep 0.2
done
systemctl list-jobs; exit 1`)
}

// seconds is a time of a unit's since the kernel started, or of the manager's where unit is "".
func (h *host) seconds(unit, property string) float64 {
	h.Helper()
	us, err := strconv.ParseFloat(h.unit(unit, property+"Monotonic"), 64)
	if err != nil {
		h.Fatalf("%s of %q: %v", property, unit, err)
	}
	return us / float64(time.Second/time.Microsecond)
}

// open fails the test where anything is held, undone or about to be.
func (h *host) open(fault, kernel string) {
	h.Helper()
	h.runs(kernel)
	h.is("kubelet.service", "active")
	h.is("multi-user.target", "active")
	if out, status := h.status("cat /run/lastgood/hold"); status == 0 {
		h.Errorf("%s: workloads are held: %s", fault, out)
	}
	h.silent("gate-held", "rollback-armed", "third-strike")
	if env := h.saved(); env != "saved_entry="+entryID(h.img.older) {
		h.Errorf("%s: grubenv: %s", fault, env)
	}
	h.Logf("%s: gate from %.1f to %.1f s, kubelet at %.1f s, multi-user at %.1f s, by the guest's clock", fault,
		h.seconds("lastgood-gate.service", "InactiveExitTimestamp"), max(h.seconds("lastgood-gate.service", "ActiveEnterTimestamp"), h.seconds("lastgood-gate.service", "InactiveEnterTimestamp")),
		h.seconds("kubelet.service", "ActiveEnterTimestamp"), h.seconds("multi-user.target", "ActiveEnterTimestamp"))
}

// onceMore has the gate and the workload started as one transaction, in the order of a boot, and
// the generator before them.
func (h *host) onceMore(fault, result string) {
	h.Helper()
	h.status("systemctl stop kubelet.service lastgood-gate.service; systemctl reset-failed; systemctl daemon-reload; systemctl start lastgood-gate.service kubelet.service")
	h.open(fault, h.img.older)
	if got := h.unit("lastgood-gate.service", "Result"); got != result {
		h.Errorf("%s: the gate ended with %q, want %q\n%s", fault, got, result, h.log())
	}
}

// The bounds of docs/gate.md and of the units, and what an emulated machine takes beside them.
const (
	generatorBound = 10.0
	gateBound      = 90.0
	beside         = 8.0
)

var long = flag.Bool("long", false, "run TestVMDebianFailsOpen too")

// TestVMDebianFailsOpen: whatever lastgood cannot do, the workloads start, within the bounds of its
// units; nothing is held or undone for it, and it is told. TestVMDebianOwnFaults has the crashes.
func TestVMDebianFailsOpen(t *testing.T) {
	if !*long {
		t.Skip("ten minutes of timeouts that run out: asked for with -long, as `make test-cuts` does; TestVMDebianOwnFaults has the shorter ones")
	}
	t.Parallel()
	h := resume(t)
	h.hangsAll()
	h.noConfiguration()
	h.badStateFolder()
}

// hangsAll: every command of lastgood's hangs and takes no signal but the last, from the generator
// before the first unit to what is written down at shutdown.
func (h *host) hangsAll() {
	h.Helper()
	h.replace("*", "trap '' TERM INT HUP; while :; do sleep 1000; done")
	h.bootsAnyhow()
	h.open("hangs", h.img.older)
	if got := h.unit("lastgood-gate.service", "Result"); got != "timeout" {
		h.Errorf("the gate ended with %q\n%s", got, h.log())
	}
	generators := h.seconds("", "GeneratorsFinishTimestamp") - h.seconds("", "GeneratorsStartTimestamp")
	if generators > generatorBound+beside {
		h.Errorf("the generators took %.1f s", generators)
	}
	began := h.seconds("lastgood-gate.service", "InactiveExitTimestamp")
	if took := h.seconds("lastgood-gate.service", "InactiveEnterTimestamp") - began; took > gateBound+beside {
		h.Errorf("the gate took %.1f s", took)
	}
	if late := h.seconds("kubelet.service", "ActiveEnterTimestamp") - began; late > gateBound+2*beside {
		h.Errorf("kubelet came %.1f s after the gate began", late)
	}
	if out := h.sh("journalctl -b -q --no-pager -o cat -u lastgood-gate.service"); !strings.Contains(out, "timed out") {
		h.Errorf("the journal does not tell that the gate hung: %s", out)
	}
	h.Logf("hangs: the generators took %.1f s", generators)
	h.sh("mv /usr/bin/lastgood.real /usr/bin/lastgood")
	if no, status := h.doctor(); status != 1 || !strings.Contains(strings.Join(no, "\n"), "lastgood-gate.service: timeout") {
		h.Errorf("doctor: exit status %d, %q", status, no)
	}
}

// noConfiguration: the configuration cannot be read, and then the program cannot be run.
func (h *host) noConfiguration() {
	h.Helper()
	h.sh("cp /etc/lastgood/lastgood.yaml /root/; printf 'gate:\\n  on_regression: rollback\\n  hold: [kubelet.service\\n' > /etc/lastgood/lastgood.yaml")
	h.bootsAnyhow()
	h.settles()
	h.open("broken configuration", h.img.older)
	h.is("lastgood-gate.service", "failed")
	for _, ask := range []string{"journalctl -b -q --no-pager -o cat -u lastgood-gate.service; true", "lastgood doctor; true", "lastgood check; true"} {
		if out := h.sh(ask); !strings.Contains(out, "/etc/lastgood/lastgood.yaml: [3:9]") {
			h.Errorf("%s does not tell where the configuration is broken: %s", ask, out)
		}
	}
	h.sh("mv /root/lastgood.yaml /etc/lastgood/; chmod 644 /usr/bin/lastgood")
	h.onceMore("not executable", "exit-code")
	h.sh("chmod 755 /usr/bin/lastgood")
	h.onceMore("as before", "success")
}

// badStateFolder: it is a small file system of its own, damaged in every file and full to the last
// block, then damaged only, then read-only.
func (h *host) badStateFolder() {
	h.Helper()
	h.sh(`set -e
truncate -s 12M /srv/state.img
mke2fs -q -t ext4 -O ^has_journal /srv/state.img
mkdir -p /mnt/state
mount -o loop /srv/state.img /mnt/state
cp -a /var/lib/lastgood/. /mnt/state/
find /mnt/state -type f -name '*.json*' -size +0 > /root/documents
[ "$(wc -l < /root/documents)" -ge 3 ]
while read -r f; do printf 'not what was written' | dd of="$f" bs=1 seek=$(($(stat -c %s "$f") / 3)) conv=notrunc status=none; done < /root/documents
dd if=/dev/zero of=/mnt/state/filler bs=4k status=none || true
umount /mnt/state
echo '/srv/state.img /var/lib/lastgood ext4 loop 0 0' >> /etc/fstab`)
	h.bootsAnyhow()
	h.settles()
	h.open("state folder full and damaged", h.img.older)
	h.is("lastgood-gate.service", "active")
	if out := h.sh("df --output=avail /var/lib/lastgood | tail -n 1; findmnt -n -o SOURCE /var/lib/lastgood"); !strings.HasPrefix(strings.TrimSpace(out), "0\n") || !strings.Contains(out, "/dev/loop") {
		h.Errorf("the state folder was to be full: %s", out)
	}
	if texts := strings.Join(h.told("incomplete"), "\n"); !strings.Contains(texts, "the last good boot is lost") {
		h.Errorf("told: %q\n%s", texts, h.log())
	}
	if out := h.sh("journalctl -b -q --no-pager -o cat -u lastgood-gate.service"); !strings.Contains(out, "damaged") || !strings.Contains(out, "no space left") {
		h.Errorf("the journal does not tell what the state folder suffers from: %s", out)
	}
	h.silent("good")
	if _, status := h.doctor(); status == 0 {
		h.Error("doctor finds nothing with a state folder that is full and damaged")
	}
	h.sh("rm /var/lib/lastgood/filler")
	h.onceMore("state folder damaged", "success")
	h.sh("mount -o remount,ro /var/lib/lastgood")
	h.onceMore("state folder read-only", "success")
	no, status := h.doctor()
	if status != 1 || !strings.Contains(strings.Join(no, "\n"), "can be written") {
		h.Errorf("doctor: exit status %d, %q", status, no)
	}
}
