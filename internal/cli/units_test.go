package cli

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lastgood/internal/config"
	"lastgood/internal/gate"
)

// unitsDir are the units of the package.
const unitsDir = "../../deploy/systemd"

// standIns are units of others, with the ordering that theirs have: what is beside
// lastgood on a host must start as without it.
var standIns = map[string]map[string]string{
	"alone": {},
	"kubelet": {
		"kubelet.service": "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nExecStart=/bin/true\nRestart=always\n[Install]\nWantedBy=multi-user.target\n",
		"k3s.service":     "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nType=notify\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
	},
	"cloud-init": {
		"cloud-init-local.service": "[Unit]\nDefaultDependencies=no\nWants=network-pre.target\nAfter=systemd-remount-fs.service\nBefore=network-pre.target shutdown.target sysinit.target\nConflicts=shutdown.target\nRequiresMountsFor=/var/lib/cloud\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=cloud-init.target\n",
		"cloud-init.service":       "[Unit]\nDefaultDependencies=no\nWants=cloud-init-local.service\nAfter=cloud-init-local.service systemd-networkd-wait-online.service\nBefore=network-online.target sysinit.target shutdown.target\nConflicts=shutdown.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=cloud-init.target\n",
		"cloud-config.service":     "[Unit]\nAfter=network-online.target\nWants=network-online.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=cloud-init.target\n",
		"cloud-final.service":      "[Unit]\nAfter=network-online.target cloud-config.service multi-user.target\nBefore=apt-daily.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=cloud-init.target\n",
		"cloud-init.target":        "[Unit]\nAfter=multi-user.target\n[Install]\nWantedBy=multi-user.target\n",
	},
	"systemd-boot that counts": {
		"systemd-bless-boot.service": "[Unit]\nDefaultDependencies=no\nRequires=boot-complete.target\nAfter=local-fs.target boot-complete.target\nConflicts=shutdown.target\nBefore=shutdown.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=basic.target\n",
	},
	"units after boot-complete": {
		"zincati.service":        "[Unit]\nAfter=network.target boot-complete.target\nRequires=boot-complete.target\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"rauc-mark-good.service": "[Unit]\nAfter=boot-complete.target\nRequires=boot-complete.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
	},
	"greenboot of shell": {
		"greenboot-healthcheck.service":       "[Unit]\nBefore=boot-complete.target\nOnFailure=redboot.target\nOnFailureJobMode=fail\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nRequiredBy=boot-complete.target\nWantedBy=multi-user.target\n",
		"greenboot-grub2-set-success.service": "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"greenboot-task-runner.service":       "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\nBefore=greenboot-status.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"greenboot-status.service":            "[Unit]\nAfter=greenboot-healthcheck.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"redboot.target":                      "[Unit]\nConflicts=boot-complete.target\n",
	},
	"greenboot of rust": {
		"greenboot-healthcheck.service":          "[Unit]\nBefore=boot-complete.target\nWants=greenboot-success.target network-online.target\nAfter=network-online.target\nRequiresMountsFor=/boot /etc\nOnFailure=redboot.target\nOnFailureJobMode=fail\n[Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=no\nPrivateMounts=yes\nExecStart=/bin/true\n[Install]\nRequiredBy=boot-complete.target\nWantedBy=multi-user.target\n",
		"greenboot-set-rollback-trigger.service": "[Unit]\nAfter=local-fs.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
		"greenboot-success.target":               "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n",
		"redboot.target":                         "[Unit]\nConflicts=boot-complete.target\n",
	},
}

func systemdAnalyze(t *testing.T) string {
	t.Helper()
	p, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("systemd-analyze is not installed (package systemd)")
		}
		t.Skip("systemd-analyze is not installed (package systemd)")
	}
	return p
}

// offlineRoot is a root file system with this distribution's own units and lastgood's, as
// the package lays them, and its units enabled.
func offlineRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As it is, links too: a target's wants count only as links.
	if out, err := exec.Command("cp", "-a", "/usr/lib/systemd/system", filepath.Join(root, "usr/lib/systemd/system")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, dir := range []string{"etc/systemd/system", "usr/bin", "usr/sbin", "bin", "boot", "var/lib/lastgood"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"usr/bin/lastgood", "bin/true", "usr/bin/true"} {
		if err := os.WriteFile(filepath.Join(root, p), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range ourUnits(t) {
		install(t, root, "usr/lib/systemd/system", name, text)
	}
	return root
}

func ourUnits(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, ext := range []string{"service", "socket", "timer"} {
		names, err := filepath.Glob(filepath.Join(unitsDir, "*."+ext))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(n)] = string(b)
		}
	}
	if len(out) < 10 {
		t.Fatalf("%d units in %s", len(out), unitsDir)
	}
	return out
}

// install writes a unit and enables it as its [Install] says.
func install(t *testing.T, root, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		for key, suffix := range map[string]string{"WantedBy=": ".wants", "RequiredBy=": ".requires"} {
			targets, found := strings.CutPrefix(strings.TrimSpace(line), key)
			if !found {
				continue
			}
			for target := range strings.FieldsSeq(targets) {
				d := filepath.Join(root, "etc/systemd/system", target+suffix)
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("/"+dir+"/"+name, filepath.Join(d, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// verify runs systemd's own look at the boot transaction.
func verify(t *testing.T, analyze, root string, units ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append([]string{"verify", "--root=" + root, "--man=no", "--generators=no", "--recursive-errors=yes"}, units...)
	out, _ := exec.CommandContext(ctx, analyze, args...).CombinedOutput() // what it says counts: other units have faults of their own
	if ctx.Err() != nil {
		t.Fatalf("systemd-analyze: %v", ctx.Err())
	}
	return string(out)
}

// TestUnits: no cycle, no job deleted, and nothing said about a unit of lastgood's, alone
// and beside the units of others.
func TestUnits(t *testing.T) {
	analyze := systemdAnalyze(t)
	root := offlineRoot(t)
	if err := gate.Generate(filepath.Join(root, "etc/systemd/system"), []string{"kubelet.service", "k3s.service"}); err != nil {
		t.Fatal(err)
	}
	everything := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(standIns)) {
		if name == "greenboot of rust" {
			continue // not beside the other greenboot
		}
		maps.Copy(everything, standIns[name])
	}
	cases := maps.Clone(standIns)
	cases["all but one greenboot"] = everything
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			here := filepath.Join(t.TempDir(), "root")
			if err := exec.Command("cp", "-a", root, here).Run(); err != nil {
				t.Fatal(err)
			}
			for unit, text := range cases[name] {
				install(t, here, "etc/systemd/system", unit, text)
			}
			if strings.HasPrefix(name, "greenboot") || name == "all but one greenboot" {
				addGreenboot(t, here)
			}
			units := append(slices.Sorted(maps.Keys(ourUnits(t))), "multi-user.target", "graphical.target", "boot-complete.target")
			units = slices.DeleteFunc(units, func(u string) bool { return strings.Contains(u, "@") })
			units = append(units, "lastgood-notify@lastgood-gate.service")
			complain(t, verify(t, analyze, here, units...))
		})
	}
}

// addGreenboot lays the drop-in for greenboot's own check.
func addGreenboot(t *testing.T, root string) {
	t.Helper()
	b, err := os.ReadFile("../../deploy/greenboot/greenboot-healthcheck.conf")
	if err != nil {
		t.Fatal(err)
	}
	d := filepath.Join(root, "etc/systemd/system/greenboot-healthcheck.service.d")
	if err := os.MkdirAll(d, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d, "50-lastgood.conf"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func complain(t *testing.T, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "is not a symlink") {
			t.Fatalf("this distribution's own units are not as they are: %s", line)
		}
		bad := strings.Contains(line, "cycle") || strings.Contains(line, "deleted") || strings.Contains(line, "lastgood")
		// The package makes this user; the root of the test has none.
		if bad && !strings.Contains(line, "User lookup") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
}

// TestNaiveUnitsWouldCycle: the test sees a cycle where there is one.
func TestNaiveUnitsWouldCycle(t *testing.T) {
	analyze := systemdAnalyze(t)
	root := offlineRoot(t)
	name := filepath.Join(root, "usr/lib/systemd/system/lastgood-assess.service")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	naive := strings.Replace(string(b), "After=sysinit.target", "After=multi-user.target sysinit.target", 1)
	if err := os.WriteFile(name, []byte(naive), 0o644); err != nil {
		t.Fatal(err)
	}
	for unit, text := range standIns["units after boot-complete"] {
		install(t, root, "etc/systemd/system", unit, text)
	}
	if said := verify(t, analyze, root, "multi-user.target"); !strings.Contains(said, "ordering cycle") {
		t.Errorf("systemd-analyze says nothing of a cycle: %s", said)
	}
}

// TestUnitRules: what each unit must have, whatever else is in it.
func TestUnitRules(t *testing.T) {
	for name, text := range ourUnits(t) {
		if strings.Contains(text, "After=multi-user.target") || strings.Contains(text, "After=default.target") {
			t.Errorf("%s is ordered after the target that waits for it", name)
		}
		if strings.Contains(text, "\nType=oneshot") && !strings.Contains(text, "\nTimeoutStartSec=") {
			t.Errorf("%s has no start timeout, and a oneshot unit has none by itself", name)
		}
		for _, hold := range heldByDefault(t) {
			for _, key := range []string{"RequiredBy=", "BindsTo=", "PartOf=", "Requires=", "Conflicts="} {
				if strings.Contains(text, key+hold) {
					t.Errorf("%s has %s%s: stopping it would stop the workload", name, key, hold)
				}
			}
		}
	}
	for _, u := range heldByDefault(t) {
		for _, p := range neverHeld {
			if strings.HasPrefix(u, p) {
				t.Errorf("%s is held by default", u)
			}
		}
		if !strings.Contains(ourUnits(t)[gate.GateUnit], " "+u) && !strings.Contains(ourUnits(t)[gate.GateUnit], "="+u) {
			t.Errorf("%s is not ordered before %s, which is held by default", gate.GateUnit, u)
		}
	}
}

func heldByDefault(t *testing.T) []string {
	t.Helper()
	c := config.Default()
	return c.Gate.Units()
}
