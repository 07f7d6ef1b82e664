package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lastgood/internal/config"
	"lastgood/internal/gate"
	"lastgood/internal/notify"
	"lastgood/internal/report"
)

// doctorHost is a host on which all is in place, with the old kernel, which was good.
func doctorHost(t *testing.T) *gateHost {
	t.Helper()
	h := newGateHost(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	h.write("/etc/group", "root:x:0:\nlastgood:x:"+me.Gid+":\n")
	if err := os.Chmod(h.dir+"/state", 0o750); err != nil {
		t.Fatal(err)
	}
	h.write("/run/systemd/system/x", "")
	for _, u := range serviceUnits {
		h.write("/usr/lib/systemd/system/"+u.name, "[Unit]\n")
		if u.wantedBy != "" {
			h.write("/etc/systemd/system/"+u.wantedBy+"/"+u.name, "[Unit]\n")
		}
	}
	h.write("/usr/lib/systemd/system/"+serveSocket, "[Unit]\n")
	h.write("/usr/lib/systemd/system/kubelet.service", "[Unit]\n")
	h.write("/run/systemd/generator/kubelet.service.d/"+gate.DropIn, "[Unit]\n")
	h.write("/proc/sys/kernel/hostname", "node\n")
	h.declare("id: a, file: {path: /etc/group}")
	h.journal("Started a.", "Started b.")
	return h
}

// journal is what systemd said in this boot and in the one before, "" is a boot that the journal does not hold.
func (h *gateHost) journal(here, before string) {
	h.t.Helper()
	script := fmt.Sprintf("#!/bin/sh\ncase $2 in 0) echo %q;; *) [ -n %q ] || { echo 'no such boot' >&2; exit 1; }; echo %q;; esac\n", here, before, before)
	h.write("/journalctl", script)
	if err := os.Chmod(h.dir+"/journalctl", 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// asked are doctor's answers with its exit status, and what it prints.
func (h *gateHost) asked(change func(*gateRun)) (lines []answerLine, status int, text string) {
	h.t.Helper()
	g := h.boot("here", oldRelease)
	g.journalctl = []string{h.dir + "/journalctl"}
	if change != nil {
		change(g)
	}
	lines = g.askAll(h.t.Context())
	return lines, doctorStatus(lines), doctorText(lines, false)
}

// doctorText is what is printed, on lines as long as it takes.
func doctorText(lines []answerLine, quiet bool) string {
	var b strings.Builder
	_ = report.Answers(&b, answerRows(lines), report.Options{Width: 1000, Quiet: quiet}) // a builder takes all
	return b.String()
}

// TestDoctor: on a host where all is in place it says so, and of each thing that is not it says which, why and what to do.
func TestDoctor(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*gateHost)
		change func(*gateRun)
		want   string // a line, "" is none but ok and -
		hint   string
		status int
	}{
		"all in place": {status: exitOK},
		"a unit is not enabled": {spoil: func(h *gateHost) {
			os.Remove(h.dir + "/etc/systemd/system/multi-user.target.wants/lastgood-intent.service")
		}, want: "NO  lastgood-intent.service is enabled", hint: "systemctl enable lastgood-intent.service", status: exitRegressed},
		"a unit is masked": {spoil: func(h *gateHost) {
			if err := os.Symlink("/dev/null", h.dir+"/etc/systemd/system/lastgood-gate.service"); err != nil {
				h.t.Fatal(err)
			}
		}, want: "NO  lastgood-gate.service is enabled: it is masked", hint: "systemctl unmask lastgood-gate.service", status: exitRegressed},
		"units are not installed": {spoil: func(h *gateHost) { os.RemoveAll(h.dir + "/usr/lib/systemd/system") }, want: "NO  the units of the package are installed: lastgood-gate.service", hint: "install the package", status: exitRegressed},
		"no systemd":              {spoil: func(h *gateHost) { os.RemoveAll(h.dir + "/run/systemd/system") }, want: "NO  systemd runs this host", status: exitRegressed},
		"others may read the state": {spoil: func(h *gateHost) {
			if err := os.Chmod(h.dir+"/state", 0o755); err != nil {
				h.t.Fatal(err)
			}
		}, want: "for nobody else: its mode is 0755", hint: "chmod 0750", status: exitRegressed},
		"another group": {spoil: func(h *gateHost) { h.write("/etc/group", "lastgood:x:64999:\n") }, want: "lastgood is 64999: lastgood-serve.service could not read it", hint: "systemd-tmpfiles --create", status: exitRegressed},
		"a cycle in this boot": {spoil: func(h *gateHost) { h.journal("x: Job kubelet.service/start deleted to break ordering cycle", "a") },
			want: "NO  systemd started this boot without breaking an ordering cycle: x: Job kubelet.service/start", hint: "systemd-analyze verify", status: exitRegressed},
		"a cycle in the boot before": {spoil: func(h *gateHost) { h.journal("a", "x: Job b.service/start deleted to break ordering cycle") },
			want: "NO  systemd started the boot before without", hint: "systemd-analyze verify", status: exitRegressed},
		"a journal of one boot": {spoil: func(h *gateHost) { h.journal("a", "") }, want: "?   systemd started the boot before without breaking an ordering cycle: read the journal: exit status 1: no such boot", status: exitOK},
		"no journal":            {spoil: func(h *gateHost) { os.Remove(h.dir + "/journalctl") }, want: "?   systemd started this boot without breaking an ordering cycle: find journalctl", status: exitIncomplete},
		"GRUB cannot write": {spoil: func(h *gateHost) { h.write("/proc/1/mountinfo", "22 1 8:1 / / rw - btrfs /dev/sda1 rw\n") },
			want: "NO  the boot loader can be set", hint: "btrfs", status: exitRegressed},
		"grubenv is damaged": {spoil: func(h *gateHost) { h.write("/boot/grub/grubenv", "x") }, want: "NO  a rollback could be carried out: the boot loader cannot be set", status: exitRegressed},
		"the good kernel is gone": {spoil: func(h *gateHost) { os.RemoveAll(h.dir + "/lib/modules/" + oldRelease) },
			want: "NO  a rollback could be carried out: kernel 6.1.0-30-amd64 was good and is not installed any more", status: exitRegressed},
		"rollback is inhibited": {spoil: func(h *gateHost) { h.write("/run/inhibit", "until six\n") }, want: "could be carried out: " /* the file */, hint: "until six", status: exitRegressed},
		"nothing rolls back":    {change: func(g *gateRun) { g.s.config.Gate.OnRegression = gate.Hold }, want: "-   a regression is rolled back by itself", hint: "gate.on_regression is hold", status: exitOK},
		"a contract is broken": {spoil: func(h *gateHost) { h.write("/etc/lastgood/contract.d/bad.yaml", "checks: [\n") },
			want: "NO  the contracts in /etc/lastgood/contract.d can be read: read contract /etc/lastgood/contract.d/bad.yaml: [", status: exitRegressed},
		"no contract": {spoil: func(h *gateHost) { os.RemoveAll(h.dir + "/etc/lastgood/contract.d") }, want: "-   it is declared what this host must have", hint: "contract learn", status: exitOK},
		"a contract of no host": {spoil: func(h *gateHost) {
			h.write("/etc/lastgood/contract.d/test.yaml", strings.Replace(h.read("/etc/lastgood/contract.d/test.yaml"), "defaults:", "match: {hostname: [other]}\ndefaults:", 1))
		}, want: "-   some of it is for this host", status: exitOK},
		"the clock is of 1970":    {change: func(g *gateRun) { g.spool.Now = func() time.Time { return time.Unix(60, 0).UTC() } }, want: "NO  the clock is set: it says 1970-01-01 00:01, and the last good boot was accepted on 20", status: exitRegressed},
		"lastgood is turned off":  {spoil: func(h *gateHost) { h.write("/proc/cmdline", "ro lastgood.skip\n") }, want: "NO  the gate is on", hint: "take lastgood.skip off", status: exitRegressed},
		"workloads are held":      {spoil: func(h *gateHost) { h.write("/run/hold", "more insns\n") }, want: "NO  workloads may start: held: more insns", hint: "lastgood release", status: exitRegressed},
		"a unit that is not held": {spoil: func(h *gateHost) { os.RemoveAll(h.dir + "/run/systemd/generator") }, want: "NO  kubelet.service waits for the gate", hint: "daemon-reload", status: exitRegressed},
		"greenboot decides too": {spoil: func(h *gateHost) {
			h.write("/usr/lib/systemd/system/greenboot-healthcheck.service", "[Unit]\n")
			h.write("/usr/share/lastgood/greenboot/README.md", "x")
		}, want: "NO  greenboot alone decides about a boot", hint: "/usr/share/lastgood/greenboot/README.md", status: exitRegressed},
		"greenboot does not ask": {spoil: func(h *gateHost) { h.write("/usr/lib/systemd/system/greenboot-healthcheck.service", "[Unit]\n") },
			want: "NO  greenboot asks lastgood", hint: "deploy/greenboot of the source/50-lastgood.sh", status: exitRegressed},
		"something waits to be sent": {change: func(g *gateRun) {
			g.tell(context.Background(), gate.NoticeRegressed, "x")
		}, want: "NO  everything that was to be told was sent: 1 wait", hint: "lastgood notify", status: exitRegressed},
		"nobody is told": {change: func(g *gateRun) { g.s.config.Notify = config.Default().Notify }, want: "-   somebody is told over the network", hint: "notify --test", status: exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			h := doctorHost(t)
			if c.spoil != nil {
				c.spoil(h)
			}
			lines, status, text := h.asked(c.change)
			if os.Getuid() != 0 { // the folder is not root's then
				lines = slices.DeleteFunc(lines, func(l answerLine) bool { return strings.HasPrefix(l.Question, "it is root's") })
				status = doctorStatus(lines)
			}
			if status != c.status || !strings.Contains(text, c.want) || !strings.Contains(text, c.hint) {
				t.Errorf("status %d, want %d; want %q and %q in\n%s", status, c.status, c.want, c.hint, text)
			}
		})
	}
}

// TestDoctorDelivered: a target that never took a message is told of, and one that did with when.
func TestDoctorDelivered(t *testing.T) {
	h := doctorHost(t)
	_, _, text := h.asked(nil)
	if !strings.Contains(text, "-   webhook 127.0.0.1") || !strings.Contains(text, "`lastgood notify --test` sends one") {
		t.Errorf("it was not told who never took a message:\n%s", text)
	}
	g := h.boot("here", oldRelease)
	if err := (&notifyRun{gateRun: g}).say(t.Context(), notify.EventTest, "a test"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.spool.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	_, _, text = h.asked(nil)
	if want := "took a message: test, " + time.Now().UTC().Format("2006-01-02"); !strings.Contains(text, want) {
		t.Errorf("want %q in\n%s", want, text)
	}
}

// TestDoctorPrints: --quiet shows only what wants a hand, and JSON has all of it.
func TestDoctorPrints(t *testing.T) {
	h := doctorHost(t)
	h.write("/proc/cmdline", "ro lastgood.skip\n")
	lines, _, _ := h.asked(nil)
	if os.Getuid() != 0 {
		lines = slices.DeleteFunc(lines, func(l answerLine) bool { return strings.HasPrefix(l.Question, "it is root's") })
	}
	quiet := doctorText(lines, true)
	for _, line := range strings.Split(strings.TrimSpace(quiet), "\n") {
		if strings.HasPrefix(line, "  ok") || strings.HasPrefix(line, "  -") {
			t.Errorf("--quiet prints %q", line)
		}
	}
	if !strings.HasPrefix(quiet, "NOT IN PLACE: ") || !strings.Contains(strings.SplitN(quiet, "\n", 2)[0], " to see to, 0 could not be told") {
		t.Error(quiet)
	}
	g := h.boot("here", oldRelease)
	g.journalctl = []string{filepath.Join(h.dir, "journalctl")}
	out := g.s.env.Out.(*bytes.Buffer)
	g.s.output = "json"
	s := g.s
	if _, err := g.doctor(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var have []answerLine
	if err := json.Unmarshal(out.Bytes(), &have); err != nil || len(have) < 20 || have[0].Group == "" {
		t.Errorf("%v: %s", err, out)
	}
}
