package contract

import (
	"strings"
	"testing"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs/sysfstest"
)

// TestStartsByItself: what a boot starts again is missed after it, what somebody started by hand is not.
func TestStartsByItself(t *testing.T) {
	docker, lxc := "/var/lib/docker/containers/", "/var/lib/lxc/"
	for name, c := range map[string]struct {
		runtime string
		files   map[string]string
		want    string
	}{
		"kubelet does":         {"kubernetes", nil, "yes"},
		"docker, always":       {"docker", map[string]string{docker + "a/hostconfig.json": `{"RestartPolicy":{"Name":"no"}}`, docker + "b/hostconfig.json": `{"RestartPolicy":{"Name":"always","MaximumRetryCount":0}}`}, "yes"},
		"docker, unless":       {"docker", map[string]string{docker + "a/hostconfig.json": `{"RestartPolicy":{"Name":"unless-stopped"}}`}, "yes"},
		"docker, by hand":      {"docker", map[string]string{docker + "a/hostconfig.json": `{"RestartPolicy":{"Name":"on-failure"}}`, docker + "b/x": "", docker + "c/hostconfig.json": "{"}, "no"},
		"docker elsewhere":     {"docker", map[string]string{"/srv/docker/x": ""}, ""},
		"lxc":                  {"lxc", map[string]string{lxc + "a/config": "lxc.start.auto = 0\n", lxc + "b/config": "# x\nlxc.start.auto = 1\n"}, "yes"},
		"lxc by hand":          {"lxc", map[string]string{lxc + "a/config": "#lxc.start.auto = 1\n"}, "no"},
		"libvirt":              {"machine", map[string]string{"/etc/libvirt/qemu/autostart/a.xml": ""}, "yes"},
		"libvirt by hand":      {"machine", map[string]string{"/etc/libvirt/qemu/a.xml": ""}, "no"},
		"podman is not looked": {"podman", nil, ""},
	} {
		if have := startsByItself(t.Context(), host(&sysfstest.FS{Files: c.files}), c.runtime); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
	before, now := counted(t, "yes", ""), counted(t, "no", "the host is up for 40s only")
	now.Subjects[0].Attrs["autostart"] = snapshot.Text("no")
	if have := StillToCome(before, now); have != nil {
		t.Errorf("waits for what somebody started by hand: %v", have)
	}
}

func FuzzStarts(f *testing.F) {
	f.Add(`{"RestartPolicy":{"Name":"always"}}`)
	f.Add("lxc.start.auto = 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		named := strings.Contains(text, "always") || strings.Contains(text, "unless-stopped") || strings.Contains(text, `\`)
		if dockerRestarts(text) && !named || lxcAutostarts(text) && !strings.Contains(text, "lxc.start.auto") {
			t.Errorf("%q starts by itself", text)
		}
	})
}
