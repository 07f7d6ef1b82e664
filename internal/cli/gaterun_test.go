package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/config"
	"lastgood/internal/gate"
	"lastgood/internal/notify"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

const (
	oldRelease = "6.1.0-30-amd64"
	newRelease = "6.1.0-31-amd64"
)

// grubConfig is a grub.cfg that looks at what is saved, as Debian's does.
const grubConfig = `if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
else
   set default="${saved_entry}"
fi
menuentry 'new' --id 'gnulinux-6.1.0-31-amd64' {
	linux	/vmlinuz-6.1.0-31-amd64 ro
	initrd	/initrd.img-6.1.0-31-amd64
}
menuentry 'old' --id 'gnulinux-6.1.0-30-amd64' {
	linux	/vmlinuz-6.1.0-30-amd64 ro
	initrd	/initrd.img-6.1.0-30-amd64
}
`

// gateHost is a host on disk: a loader, a state folder, a systemctl that writes down what
// it is asked, and somebody who is told.
type gateHost struct {
	t    *testing.T
	dir  string
	told *httptest.Server
	got  []string // idempotency keys, without the time at their end
	mute bool     // nobody answers
	cfg  config.Config
}

func newGateHost(t *testing.T) *gateHost {
	t.Helper()
	h := &gateHost{t: t, dir: t.TempDir(), cfg: config.Default()}
	env := "# GRUB Environment Block\nsaved_entry=gnulinux-" + newRelease + "\n"
	files := map[string]string{
		"/boot/grub/grub.cfg": grubConfig, "/boot/grub/grubenv": env + strings.Repeat("#", 1024-len(env)),
		"/proc/1/mountinfo": "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "/proc/cmdline": "ro quiet\n", "/sys/class/block/sda1/dev": "8:1\n",
	}
	for _, r := range []string{oldRelease, newRelease} {
		for _, n := range []string{"/boot/vmlinuz-" + r, "/boot/initrd.img-" + r, "/lib/modules/" + r + "/modules.dep"} {
			files[n] = "x"
		}
	}
	for name, text := range files {
		h.write(name, text)
	}
	for _, link := range [][2]string{{"../../devices/sda/sda1", "/sys/dev/block/8:1"}} {
		name := filepath.Join(h.dir, link[1])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(link[0], name); err != nil {
			t.Fatal(err)
		}
	}
	h.write("/systemctl", "#!/bin/sh\necho \"$@\" >> "+h.dir+"/asked\n")
	if err := os.Chmod(h.dir+"/systemctl", 0o755); err != nil {
		t.Fatal(err)
	}
	h.told = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.mute {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		key := r.Header.Get("Idempotency-Key")
		h.got = append(h.got, key[:max(0, strings.LastIndexByte(key, '-'))])
	}))
	t.Cleanup(h.told.Close)
	h.cfg.Gate.OnRegression = gate.Rollback
	h.cfg.Notify.Webhooks = []notify.Webhook{{URL: h.told.URL}}
	h.learn()
	return h
}

func (h *gateHost) write(name, text string) {
	h.t.Helper()
	name = filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *gateHost) read(name string) string {
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		return ""
	}
	return string(b)
}

func identity(boot, release string) snapshot.Identity {
	return snapshot.Identity{BootID: boot, Kernel: snapshot.KernelIdentity{Release: release, BuildID: "build-of-" + release, Arch: "x86_64"}}
}

// learn makes a boot of the old kernel the last good one.
func (h *gateHost) learn() {
	h.t.Helper()
	store, err := baseline.Open(filepath.Join(h.dir, "state"), baseline.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer store.Close()
	if err := store.TryLock(); err != nil {
		h.t.Fatal(err)
	}
	snap := &snapshot.Snapshot{Tool: "test", Taken: time.Now(), Phase: "check", Identity: identity("first", oldRelease)}
	if _, err := store.Save(snap, &baseline.Result{Verdict: snapshot.Good}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := store.Accept("first", "test"); err != nil {
		h.t.Fatal(err)
	}
}

// boot is the gate in a boot of a kernel.
func (h *gateHost) boot(id, release string) *gateRun {
	h.t.Helper()
	h.write("/proc/sys/kernel/random/boot_id", id+"\n")
	h.write("/proc/sys/kernel/osrelease", release+"\n")
	s := &session{env: Env{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Getenv: func(string) string { return "" }},
		stateDir: filepath.Join(h.dir, "state"), config: h.cfg, root: sysfs.New(diskFS(h.dir))}
	g := &gateRun{runDir: filepath.Join(h.dir, "run")}
	if err := g.open(h.t.Context(), s); err != nil {
		h.t.Fatal(err)
	}
	g.live, g.setter.Prefix = true, h.dir
	g.system = gate.Systemctl{Paths: []string{h.dir + "/systemctl"}}
	g.journal = notify.Journal{Socket: h.dir + "/none", Syslog: h.dir + "/none"}
	g.boot.Kernel = gate.Kernel{Release: release, BuildID: "build-of-" + release}
	return g
}

// judge takes a verdict in.
func (g *gateRun) judge(t *testing.T, as gate.EventType, v snapshot.Verdict) {
	t.Helper()
	id := identity(g.boot.ID, g.boot.Kernel.Release)
	g.rep = &report.Report{Verdict: v, Summary: "SUM", Current: &id, Findings: []snapshot.Finding{{Severity: snapshot.Critical, Message: "more insns"}}}
	if _, err := g.conclude(t.Context(), as, nil); err != nil {
		t.Fatal(err)
	}
}

func (g *gateRun) state(t *testing.T) gate.State {
	t.Helper()
	s, err := g.keeper.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// diskFS is a host's tree in a folder, which may change while it is read.
type diskFS string

func (d diskFS) ReadFile(name string, max int) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(string(d), name))
	return b[:min(max, len(b))], err
}

func (d diskFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), name))
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, err
}

func (d diskFS) Readlink(name string) (string, error) {
	return os.Readlink(filepath.Join(string(d), name))
}

func (d diskFS) Exists(name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(string(d), name))
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}

// TestRollbackToTheEnd: a new kernel regresses, the workloads are held, the host goes
// back once, and what comes of it is judged and told, the bad boot's message first.
func TestRollbackToTheEnd(t *testing.T) {
	for verdict, want := range map[snapshot.Verdict]struct {
		step   gate.Step
		notice string
	}{snapshot.Good: {gate.Recovered, "rolled-back-good"}, snapshot.Regressed: {gate.Broken, "rolled-back-still-broken"}} {
		t.Run(string(verdict), func(t *testing.T) {
			h := newGateHost(t)
			h.mute = true // the bad boot has no network
			g := h.boot("bad", newRelease)
			g.judge(t, gate.Checked, snapshot.Regressed)
			if h.read("run/hold") == "" || g.state(t).Held == "" {
				t.Fatalf("not held: %+v", g.state(t))
			}
			if status, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Decided}); status != 0 || err != nil {
				t.Fatal(status, err)
			}
			if env := h.read("boot/grub/grubenv"); !strings.Contains(env, "saved_entry=gnulinux-"+oldRelease+"\n") || len(env) != 1024 {
				t.Fatalf("grubenv %q", env)
			}
			if asked := h.read("asked"); !strings.Contains(asked, "reboot --no-block") || g.state(t).Step != gate.Returning {
				t.Fatalf("asked %q, %+v", asked, g.state(t))
			}
			if _, err := g.spool.Flush(t.Context(), true); err != nil || len(h.got) != 0 {
				t.Fatal(err, h.got)
			}

			back := h.boot("back", oldRelease)
			back.judge(t, gate.Assessed, verdict)
			if st := back.state(t); st.Step != want.step {
				t.Fatalf("%+v", st)
			}
			if _, err := back.byHand(t.Context(), back.s, gate.Event{Type: gate.Decided}); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(h.read("asked"), "reboot"); n != 1 {
				t.Errorf("rebooted %d times", n)
			}
			h.mute = false
			if _, err := back.spool.Flush(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(h.got, " "); !strings.HasPrefix(all, "bad/gate-held/1 bad/rollback-armed/2 back/"+want.notice+"/3") {
				t.Errorf("told %s", all)
			}
		})
	}
}

// TestRollbackThatCannotBe: nothing is rebooted, and somebody is told why.
func TestRollbackThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*gateHost)
		want  string
	}{
		"the good kernel's modules are gone": {func(h *gateHost) { os.RemoveAll(h.dir + "/lib/modules/" + oldRelease) }, "not installed any more"},
		"its image is gone":                  {func(h *gateHost) { os.Remove(h.dir + "/boot/vmlinuz-" + oldRelease) }, "not installed any more"},
		"GRUB cannot write":                  {func(h *gateHost) { h.write("/proc/1/mountinfo", "22 1 8:1 / / rw - btrfs /dev/sda1 rw\n") }, "btrfs"},
		"it cannot be told":                  {func(h *gateHost) { os.Remove(h.dir + "/proc/1/mountinfo") }, "could not be told"},
		"the block is damaged":               {func(h *gateHost) { h.write("/boot/grub/grubenv", "x") }, "boot loader"},
		"inhibited":                          {func(h *gateHost) { h.write("/run/inhibit", "maintenance until six\n") }, "maintenance until six"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newGateHost(t)
			c.spoil(h)
			env := h.read("boot/grub/grubenv")
			g := h.boot("bad", newRelease)
			g.judge(t, gate.Checked, snapshot.Regressed)
			if _, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Decided}); err != nil {
				t.Fatal(err)
			}
			said := g.s.env.Err.(*bytes.Buffer).String()
			if !strings.Contains(said, "This boot is not undone") || !strings.Contains(said, c.want) {
				t.Errorf("said %s", said)
			}
			if h.read("asked") != "" || h.read("boot/grub/grubenv") != env || g.state(t).Step != gate.Idle || h.read("run/hold") == "" {
				t.Errorf("asked %q, %+v", h.read("asked"), g.state(t))
			}
		})
	}
}

// TestRollbackOverAOneShot: somebody had the good kernel, or another one, booted once: the rollback lasts all the same.
func TestRollbackOverAOneShot(t *testing.T) {
	for _, once := range []string{oldRelease, newRelease} {
		h := newGateHost(t)
		env := "# GRUB Environment Block\nnext_entry=gnulinux-" + once + "\nsaved_entry=gnulinux-" + newRelease + "\n"
		h.write("/boot/grub/grubenv", env+strings.Repeat("#", 1024-len(env)))
		g := h.boot("bad", newRelease)
		g.judge(t, gate.Checked, snapshot.Regressed)
		if status, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Decided}); status != 0 || err != nil {
			t.Fatal(status, err)
		}
		env = h.read("boot/grub/grubenv")
		if !strings.Contains(env, "saved_entry=gnulinux-"+oldRelease+"\n") || strings.Contains(env, "next_entry") || !strings.Contains(h.read("asked"), "reboot") {
			t.Errorf("%s once: grubenv %q, asked %q", once, env, h.read("asked"))
		}
	}
}

// TestTryToTheEnd: a kernel is tried once and kept when it is good.
func TestTryToTheEnd(t *testing.T) {
	h := newGateHost(t)
	env := "# GRUB Environment Block\nsaved_entry=gnulinux-" + oldRelease + "\n"
	h.write("/boot/grub/grubenv", env+strings.Repeat("#", 1024-len(env)))
	g := h.boot("good", oldRelease)
	if status, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.TryOnce, To: gate.Kernel{Release: newRelease}}); status != 0 || err != nil {
		t.Fatal(status, err)
	}
	env = h.read("boot/grub/grubenv")
	if !strings.Contains(env, "next_entry=gnulinux-"+newRelease+"\n") || !strings.Contains(env, "saved_entry=gnulinux-"+oldRelease+"\n") {
		t.Fatalf("grubenv %q", env)
	}
	h.write("/boot/grub/grubenv", strings.Replace(env, "next_entry=gnulinux-"+newRelease+"\n", "", 1)+strings.Repeat("#", len("next_entry=gnulinux-"+newRelease+"\n"))) // GRUB clears it
	trial := h.boot("trial", newRelease)
	trial.judge(t, gate.Assessed, snapshot.Good)
	if status, err := trial.byHand(t.Context(), trial.s, gate.Event{Type: gate.Blessed}); status != 0 || err != nil {
		t.Fatal(status, err)
	}
	if env := h.read("boot/grub/grubenv"); !strings.Contains(env, "saved_entry=gnulinux-"+newRelease+"\n") || trial.state(t).Step != gate.Idle {
		t.Errorf("grubenv %q, %+v", env, trial.state(t))
	}
}

// TestNoticesAreEvents: whatever the gate tells has its place in the catalogue.
func TestNoticesAreEvents(t *testing.T) {
	for _, n := range gate.Notices() {
		if _, ok := notify.EventNamed(string(n)); !ok {
			t.Errorf("no event is named %s", n)
		}
	}
	if _, err := notify.New("nothing", ""); err == nil {
		t.Error("a message of no event")
	}
}
