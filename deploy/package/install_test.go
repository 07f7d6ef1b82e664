package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// system is a root file system of its own for dpkg --root: the maintainer scripts run with this
// host's programs and DPKG_ROOT, and touch nothing outside.
type system struct {
	root string
	path string // $PATH
}

func newSystem(t *testing.T) *system {
	t.Helper()
	needs(t, "dpkg")
	if os.Geteuid() != 0 {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("dpkg --root needs root")
		}
		t.Skip("dpkg --root needs root")
	}
	s := &system{root: t.TempDir(), path: os.Getenv("PATH")}
	for _, d := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "etc/systemd/system", "usr/lib/systemd/system", "boot"} {
		if err := os.MkdirAll(s.at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "var/lib/dpkg/status", "")
	s.write(t, "var/lib/dpkg/available", "")
	return s
}

func (s *system) at(p string) string { return filepath.Join(s.root, p) }

func (s *system) has(p string) bool {
	_, err := os.Lstat(s.at(p))
	return err == nil
}

func (s *system) write(t *testing.T, p, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.at(p)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.at(p), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *system) dpkg(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("dpkg", append([]string{"--root=" + s.root, "--force-script-chrootless", "--force-unsafe-io", "--force-confold", "--no-triggers"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+s.path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// enabled are the links that a unit's [Install] makes.
var enabled = map[string]string{
	"lastgood-gate.service":    "multi-user.target.wants",
	"lastgood-intent.service":  "multi-user.target.wants",
	"lastgood-assess.service":  "boot-complete.target.wants",
	"lastgood-verdict.service": "boot-complete.target.requires",
	"lastgood-bless.service":   "basic.target.wants",
	"lastgood-notify.timer":    "timers.target.wants",
	"lastgood-watch.timer":     "timers.target.wants",
}

func (s *system) enabled(unit string) bool {
	return s.has("etc/systemd/system/" + enabled[unit] + "/" + unit)
}

// TestInstalled: the package on a system of its own, upgraded, removed and purged.
func TestInstalled(t *testing.T) {
	helper := needs(t, "deb-systemd-helper")
	s := newSystem(t)
	first, _ := built(t, "", "v1.0.0")
	second, _ := built(t, "", "v1.1.0")
	s.dpkg(t, "-i", first)
	for unit := range enabled {
		if !s.enabled(unit) {
			t.Errorf("%s is not enabled (%s)", unit, helper)
		}
	}
	if passwd, err := os.ReadFile(s.at("etc/passwd")); needs(t, "systemd-sysusers") != "" && !strings.Contains(string(passwd), "lastgood:") {
		t.Errorf("there is no user lastgood: %s, %v", passwd, err)
	}
	if s.has("run/lastgood") || s.has("var/lib/lastgood/boots") {
		t.Error("something of lastgood's ran")
	}
	if info, err := os.Stat(s.at("var/lib/lastgood")); needs(t, "systemd-tmpfiles") != "" && (err != nil || info.Mode().Perm() != 0o750) {
		t.Errorf("the state folder: %v, %v", info, err)
	}
	if s.has("etc/systemd/system/sockets.target.wants/lastgood-serve.socket") {
		t.Error("something listens that nobody asked for")
	}
	// What an administrator did stays.
	s.write(t, "etc/lastgood/lastgood.yaml", "keep: 7\n")
	s.write(t, "etc/lastgood/contract.d/mine.yaml", "mine\n")
	s.write(t, "var/lib/lastgood/boots/a.json", "{}")
	if err := os.Remove(s.at("etc/systemd/system/timers.target.wants/lastgood-watch.timer")); err != nil {
		t.Fatal(err)
	}
	s.dpkg(t, "-i", second)
	if b, err := os.ReadFile(s.at("etc/lastgood/lastgood.yaml")); err != nil || string(b) != "keep: 7\n" {
		t.Errorf("the configuration was replaced: %s, %v", b, err)
	}
	if s.enabled("lastgood-watch.timer") || !s.enabled("lastgood-gate.service") {
		t.Error("an upgrade enabled what was disabled, or disabled what was enabled")
	}
	s.dpkg(t, "-r", "lastgood")
	if s.has("usr/bin/lastgood") || !s.has("etc/lastgood/lastgood.yaml") || !s.has("var/lib/lastgood/boots/a.json") {
		t.Error("a removal left the binary, or took configuration or state")
	}
	s.dpkg(t, "-P", "lastgood")
	if s.has("var/lib/lastgood") || s.has("etc/lastgood/lastgood.yaml") || s.enabled("lastgood-gate.service") || !s.has("etc/lastgood/contract.d/mine.yaml") {
		t.Error("a purge left state, configuration or links, or took what somebody wrote")
	}
}

// TestInstalledBesideGreenboot: one decider only.
func TestInstalledBesideGreenboot(t *testing.T) {
	needs(t, "deb-systemd-helper")
	s := newSystem(t)
	s.write(t, "usr/lib/systemd/system/greenboot-healthcheck.service", "[Service]\nExecStart=/bin/true\n")
	first, _ := built(t, "", "v1.0.0")
	said := s.dpkg(t, "-i", first)
	if s.enabled("lastgood-assess.service") || s.enabled("lastgood-bless.service") || !s.enabled("lastgood-gate.service") {
		t.Error("both decide, or nobody holds")
	}
	if !strings.Contains(said, "/usr/share/lastgood/greenboot/README.md") {
		t.Errorf("nobody is told: %s", said)
	}
}

// TestInstalledWithoutSystemd: an image without it, a container: nothing fails.
func TestInstalledWithoutSystemd(t *testing.T) {
	s := newSystem(t)
	s.path = t.TempDir()
	for _, p := range []string{"sh", "rm", "dpkg-deb", "dpkg-split", "tar", "diff", "ldconfig", "start-stop-daemon", "dpkg", "dpkg-query"} {
		if at, err := exec.LookPath(p); err == nil {
			if err := os.Symlink(at, filepath.Join(s.path, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// dpkg itself asks for these two, which stand in sbin.
	for _, p := range []string{"ldconfig", "start-stop-daemon"} {
		if _, err := os.Lstat(filepath.Join(s.path, p)); err != nil {
			if err := os.Symlink("/sbin/"+p, filepath.Join(s.path, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, _ := built(t, "", "v1.0.0")
	s.dpkg(t, "-i", first)
	s.dpkg(t, "-P", "lastgood")
}

// TestRPMScriptletsAsk runs rpm's scriptlets with a systemctl that writes down how it is called.
func TestRPMScriptletsAsk(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	record := "#!/bin/sh\necho \"${0##*/} $*\" >>\"" + log + "\"\nexit 1\n" // what fails must not fail the transaction
	for _, p := range []string{"systemctl", "systemd-sysusers", "journalctl", "rm"} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte(record), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh := needs(t, "sh")
	for _, c := range []struct{ script, count, asks, never string }{
		{"post.rpm", "1", "systemctl --no-reload preset lastgood-gate.service", "disable"},
		{"post.rpm", "2", "systemd-sysusers lastgood.conf", "preset"},
		{"preun.rpm", "0", "systemctl --no-reload disable lastgood-gate.service", "start"},
		{"preun.rpm", "1", "", "disable"},
		{"postun.rpm", "0", "rm -f /run/motd.d/lastgood", "/var/lib/lastgood"},
		{"postun.rpm", "1", "", "rm "},
	} {
		os.Remove(log)
		cmd := exec.Command(sh, filepath.Join("scripts", c.script), c.count)
		cmd.Env = []string{"PATH=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v %s", c.script, c.count, err, out)
		}
		b, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if said := string(b); !strings.Contains(said, c.asks) || strings.Contains(said, c.never) || strings.Contains(said, " start lastgood-gate") {
			t.Errorf("%s %s asked for\n%s", c.script, c.count, said)
		}
	}
}

// TestTheBinaryOfThePackage builds lastgood, installs it and asks it, and systemd, about what is there.
func TestTheBinaryOfThePackage(t *testing.T) {
	s := newSystem(t)
	binary := filepath.Join(t.TempDir(), "lastgood")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/lastgood")
	build.Dir = top
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deb, _ := built(t, binary, "v1.0.0")
	s.dpkg(t, "-i", deb)
	// In the new root there is nothing else: the binary is static.
	if out, err := exec.Command("chroot", s.root, "/usr/bin/lastgood", "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "lastgood ") {
		t.Errorf("lastgood version: %v: %s", err, out)
	}
	if out, err := exec.Command(s.at("usr/bin/lastgood"), "list", "--config", s.at("etc/lastgood/lastgood.yaml"), "--state-dir", t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("its configuration is not read: %v: %s", err, out)
	}
	analyze := needs(t, "systemd-analyze")
	if out, err := exec.Command("cp", "-a", "--update", "/usr/lib/systemd/system", s.at("usr/lib/systemd/")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"bin/true", "usr/bin/true"} {
		s.write(t, name, "")
		if err := os.Chmod(s.at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	units := []string{"multi-user.target", "boot-complete.target", "lastgood-decide.service", "lastgood-notify.service", "lastgood-watch.service", "lastgood-notify@lastgood-gate.service"}
	for unit := range enabled {
		units = append(units, unit)
	}
	verify := func(units ...string) string {
		out, _ := exec.Command(analyze, append([]string{"verify", "--root=" + s.root, "--man=no", "--generators=no", "--recursive-errors=yes"}, units...)...).CombinedOutput() // what it says counts
		return string(out)
	}
	if said := verify("lastgood-none.service"); !strings.Contains(said, "lastgood-none.service") {
		t.Errorf("systemd-analyze says nothing of a unit that is not there: %s", said)
	}
	out := verify(units...)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "cycle") || strings.Contains(line, "deleted") || strings.Contains(line, "lastgood") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
}
