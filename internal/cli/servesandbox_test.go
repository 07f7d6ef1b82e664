package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Numbers of the user and the group that serve, in the place of those of the package.
const (
	servingUser  = 65534
	servingGroup = 65533
)

// confined is `lastgood serve` as lastgood-serve.service runs it, as far as that can be had
// without systemd: a user with no capability and no way to one, in the group of the state
// folder, with a view of files that is read-only and a /proc of processes alone. before is
// what is done in that view first.
func confined(t *testing.T, program, state, before string, env ...string) *exec.Cmd {
	t.Helper()
	for _, p := range []string{"unshare", "setpriv", "mount"} {
		if _, err := exec.LookPath(p); err != nil || os.Getuid() != 0 {
			if os.Getenv("LASTGOOD_REQUIRE") != "" {
				t.Fatalf("needs root and %s: %v", p, err)
			}
			t.Skipf("needs root and %s", p)
		}
	}
	script := `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc -o subset=pid,hidepid=invisible proc /proc
` + before + `
exec setpriv --reuid=` + strconv.Itoa(servingUser) + ` --regid=` + strconv.Itoa(servingGroup) + ` --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$0" serve --state-dir "$1" --web.listen-address 127.0.0.1:0`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script, program, state)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// servedState is a state folder as the package's tmpfiles makes it: root's, and its group's to
// read. What is made in it takes its group.
func servedState(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(openTo(t, t.TempDir()), "state")
	if err := errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, 0, servingGroup), os.Chmod(dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	keep(t, dir)
	return dir
}

// The server does all that it is for without a privilege, and cannot write where it reads.
func TestServeWithoutPrivilege(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("LASTGOOD_REQUIRE") == "" {
		t.Skip("needs root, to be somebody else")
	}
	program, state := programForAll(t), servedState(t)
	before := contents(t, state)
	s := startServer(t, confined(t, program, state, "", bootIDVariable+"=0123456789abcdef0123456789abcdef"))
	for path, holds := range map[string]string{
		"/": "regressed", "/-/healthy": "healthy", "/-/ready": "ready", "/api/v1/report": `"regressed"`, "/api/v1/snapshots": `"boot-1"`,
		"/api/v1/snapshots/last-good": `"boot-1"`, "/api/v1/diff?from=boot-1&to=boot-2": "lastgood.report/v1",
	} {
		if code, body := s.get(t, path); code != 200 || !strings.Contains(body, holds) {
			t.Errorf("%s: status %d: %.300s", path, code, body)
		}
	}
	_, body := s.get(t, "/metrics")
	lintMetrics(t, []byte(body))
	// That this is another boot is known by its id, though /proc/sys is hidden.
	for _, line := range []string{`lastgood_verdict{verdict="regressed"} 1`, "lastgood_serve_faults 0", "lastgood_result_of_this_boot 0", "lastgood_notifications_waiting 0"} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is not there: %.3000s", line, body)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65533\t65533\t65533\t65533", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("it is not confined: %s is not in %s", line, status)
		}
	}
	s.stop(t)
	if after := contents(t, state); after != before {
		t.Errorf("the state folder was %s\nis %s", before, after)
	}
}

// contents lists what is in a folder, with sizes and times.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, i os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintf(&b, "%s %v %d %v\n", path, i.Mode(), i.Size(), i.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// eventually asks until the answer holds something.
func (s *servedProcess) eventually(t *testing.T, path, holds string) string {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var body string
	for range 200 {
		if _, body = s.get(t, path); strings.Contains(body, holds) {
			return body
		}
		<-tick.C
	}
	t.Fatalf("%s never held %s: %.2000s", path, holds, body)
	return ""
}

// A user who may not read is told so, serves what was read before, and reads again once that
// may be.
func TestServeLosesPermission(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("LASTGOOD_REQUIRE") == "" {
		t.Skip("needs root, to be somebody else")
	}
	program, state := programForAll(t), servedState(t)
	s := startServer(t, confined(t, program, state, ""))
	s.eventually(t, "/metrics", "lastgood_serve_stale 0\n")
	chmod := func(name string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Join(state, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"report.json", "boots", ""} {
		chmod(name, 0)
		body := s.eventually(t, "/metrics", "lastgood_serve_stale 1\n")
		if !strings.Contains(body, `lastgood_verdict{verdict="regressed"} 1`) {
			t.Errorf("%q may not be read, and what was read before is gone: %.2000s", name, body)
		}
		if code, body := s.get(t, "/"); code != 200 || !strings.Contains(body, "permission denied") {
			t.Errorf("the page does not say why: status %d: %.1000s", code, body)
		}
		if code, _ := s.get(t, "/-/ready"); code != 200 {
			t.Errorf("it is not ready: status %d", code)
		}
		if code, body := s.get(t, "/api/v1/snapshots/boot-1"); name != "report.json" && (code != 500 || !strings.Contains(body, "permission denied")) {
			t.Errorf("a snapshot that may not be read: status %d: %s", code, body)
		}
		chmod(name, map[bool]os.FileMode{true: 0o640, false: 0o750}[name == "report.json"])
		s.eventually(t, "/metrics", "lastgood_serve_stale 0\n")
	}
}

// What the server's user may not read is said, with its name, before anything is listened for.
func TestServeMayNotReadItsConfig(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("LASTGOOD_REQUIRE") == "" {
		t.Skip("needs root, to be somebody else")
	}
	program, state := programForAll(t), servedState(t)
	secret := filepath.Join(openTo(t, t.TempDir()), "web.yml")
	if err := os.WriteFile(secret, []byte("basic_auth_users: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := confined(t, program, state, `set -- "$1"`)
	cmd.Args[len(cmd.Args)-3] += ` --web.config.file ` + secret
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), secret) || !strings.Contains(string(out), "permission denied") {
		t.Errorf("%v: %s", err, out)
	}
}

var exposure = regexp.MustCompile(`Overall exposure level for lastgood-serve.service: ([0-9.]+)`)

// The unit gives the server no more than it needs, by systemd's own measure (0 to 10); the
// network, which it is there for, is most of what is left.
func TestServeUnitExposure(t *testing.T) {
	out, err := exec.Command(systemdAnalyze(t), "security", "--offline=true", "--no-pager", "../../deploy/systemd/lastgood-serve.service").CombinedOutput()
	m := exposure.FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > 1.5 {
		t.Errorf("exposure %s, want 1.5 at most: %s", m[1], out)
	}
}
