package systemvm

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lastgood/internal/snapshot"
)

// answers are doctor's, by question.
func (h *host) doctor() (no []string, status int) {
	h.Helper()
	out, status := h.status("lastgood doctor -o json")
	var lines []struct {
		Question, Answer, Detail string
		Wanted                   bool
	}
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		h.Fatalf("doctor: %v\n%s", err, out)
	}
	for _, l := range lines {
		if l.Wanted && l.Answer != "yes" {
			no = append(no, l.Answer+": "+l.Question+": "+l.Detail)
		}
	}
	return no, status
}

// serves has the results served, and asks for them: by a server without privilege, of files that
// the gate and the assessment wrote in their sandboxes.
func (h *host) serves() {
	h.Helper()
	h.sh("systemctl enable --now lastgood-serve.socket")
	for path, want := range map[string]string{"/-/ready": "ready", "/metrics": `lastgood_verdict{verdict="good"} 1`, "/": "</html>"} {
		out := h.sh("exec 3<> /dev/tcp/127.0.0.1/9878; printf 'GET " + path + " HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3")
		if !strings.Contains(out, " 200 OK") || !strings.Contains(out, want) || strings.Contains(out, "Lastgood-Faults") {
			h.Errorf("%s: %.2000s\n%s", path, out, h.sh("ls -lR /var/lib/lastgood; journalctl -b -q --no-pager -u lastgood-serve | tail -n 20"))
		}
	}
	if got := h.unit("lastgood-serve.service", "User"); got != "lastgood" {
		h.Errorf("results are served by %q", got)
	}
}

// probeSources are those whose time is that of the probes.
var probeSources = []string{"bpf_probes", "bpf_attach", "bpf_behaviour", "bpf_speed", "census", "workloads"}

// gateTook is how long the gate kept this boot, and how much of it the probes of a check took,
// in seconds of the guest's clock.
func (h *host) gateTook() (gate, probes float64) {
	h.Helper()
	at := func(property string) float64 {
		us, err := strconv.ParseFloat(h.unit("lastgood-gate.service", property), 64)
		if err != nil {
			h.Fatal(err)
		}
		return us / 1e6
	}
	gate = at("ActiveEnterTimestampMonotonic") - at("InactiveExitTimestampMonotonic")
	var snap snapshot.Snapshot
	if err := json.Unmarshal([]byte(h.sh("lastgood show current -o json")), &snap); err != nil {
		h.Fatal(err)
	}
	for _, name := range probeSources {
		if s := snap.Subject(snapshot.Key{Kind: "tool.source", ID: name}); s != nil {
			took, _ := s.Attrs["took_seconds"].Number()
			probes += took
		}
	}
	return gate, probes
}

// gateBeside is what the gate may take beside the probes on the machine of these tests: one
// processor of a billion instructions a second. That is about 2 s of a processor of today's.
const gateBeside = 6.0

// TestVMDebianGoodBoot: the package as it is shipped, with the settings that it comes with. The
// first boot learns, the next one is good, and kubelet starts in both.
func TestVMDebianGoodBoot(t *testing.T) {
	t.Parallel()
	img := theDebian(t)
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	if _, err := command("", "qemu-img", "create", "-q", "-f", "qcow2", "-b", img.path, "-F", "qcow2", path); err != nil {
		t.Fatal(err)
	}
	h := run(t, img, careless(path), filepath.Dir(path))
	h.comesUp()
	h.runs(img.older)
	h.sh(install)
	no, status := h.doctor()
	if len(no) != 1 || !strings.Contains(no[0], "there is a last good boot") || status != 1 {
		t.Errorf("doctor after the installation: exit status %d, %q", status, no)
	}
	h.reboot()
	h.is("kubelet.service", "active")
	h.sound()
	h.silent("gate-held", "tool-failed", "regressed", "invalid", "action-failed")
	h.reboot()
	h.runs(img.older)
	h.is("kubelet.service", "active")
	h.tells("good")
	h.silent("gate-held", "tool-failed", "regressed", "invalid", "incomplete", "action-failed")
	h.sound()
	if no, status := h.doctor(); len(no) != 0 || status != 0 {
		t.Errorf("doctor: exit status %d, %q", status, no)
	}
	if n := h.sh("systemctl show --value -p After kubelet.service | tr ' ' '\\n' | grep -c '^lastgood-gate.service$'"); n != "1" {
		t.Errorf("kubelet is not ordered after the gate: %s", n)
	}
	for _, unit := range []string{"lastgood-gate", "lastgood-assess", "lastgood-bless", "lastgood-intent"} {
		h.is(unit+".service", "active")
	}
	if out := h.sh("journalctl -b -q --no-pager -x MESSAGE_ID=1e0bd62484d74491881bd07f772867c8"); !strings.Contains(out, "Nothing is worse than at the last good boot") {
		t.Errorf("the journal's catalogue does not explain it: %s", out)
	}
	h.serves()
	took, probes := h.gateTook()
	t.Logf("the gate took %.1f s by the guest's clock, the probes of one check %.1f s; %s", took, probes, h.sh("systemd-analyze | head -n 1"))
	if took > probes+gateBeside {
		t.Errorf("the gate took %.1f s, of which the probes %.1f s: more than %.0f s beside them", took, probes, gateBeside)
	}
}
