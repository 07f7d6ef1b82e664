package contract

import (
	"context"
	"encoding/json"
	"path"
	"strings"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// maxStarts bounds how many containers are looked at for whether a boot starts them: one that does is enough.
const maxStarts = 500

// startsByItself reports whether a boot starts at least one container or guest of a runtime, by what the runtime has on disk:
// yes, no, or "" where that could not be told. What somebody started by hand is not missed after a reboot.
func startsByItself(ctx context.Context, h source.Host, runtime string) string {
	switch runtime {
	case "kubernetes":
		return "yes" // kubelet starts what is bound to the node
	case "docker":
		return anyFile(ctx, h.Root, "/var/lib/docker/containers", "hostconfig.json", dockerRestarts)
	case "lxc":
		return anyFile(ctx, h.Root, "/var/lib/lxc", "config", lxcAutostarts)
	case "machine":
		for _, dir := range []string{"/etc/libvirt/qemu/autostart", "/etc/libvirt/lxc/autostart", "/etc/systemd/system/machines.target.wants"} {
			names, err := listDir(ctx, h.Root, dir)
			switch {
			case err != nil:
				return ""
			case len(names) > 0:
				return "yes"
			}
		}
		return "no"
	}
	return "" // podman's are units where they last, and those are looked at as units
}

// anyFile reports whether a file of that name below one of a folder's folders says so. A folder that is not there says nothing: the
// runtime keeps its containers elsewhere.
func anyFile(ctx context.Context, root *sysfs.Root, dir, name string, says func(string) bool) string {
	names, err := root.List(ctx, dir)
	if err != nil || len(names) > maxStarts {
		return ""
	}
	out := "no"
	for _, n := range names {
		text, found, err := readText(ctx, root, maxFile, path.Join(dir, n, name))
		switch {
		case err != nil:
			out = ""
		case found && says(text):
			return "yes"
		}
	}
	return out
}

// dockerRestarts reads a container's hostconfig.json: always and unless-stopped outlive a reboot, on-failure does not.
func dockerRestarts(text string) bool {
	var c struct{ RestartPolicy struct{ Name string } }
	if json.Unmarshal([]byte(text), &c) != nil {
		return false
	}
	return c.RestartPolicy.Name == "always" || c.RestartPolicy.Name == "unless-stopped"
}

// lxcAutostarts reads lxc.container.conf(5).
func lxcAutostarts(text string) bool {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(k) == "lxc.start.auto" && strings.TrimSpace(v) == "1" {
			return true
		}
	}
	return false
}
