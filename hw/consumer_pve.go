package hw

import (
	"context"
	"errors"
	"path"
	"strings"

	"lastgood/internal/sysfs"
)

// readPVE reads the configuration of Proxmox VE: guests, storages, backup jobs. It is a
// file system of a daemon's (pmxcfs); without the daemon it is empty.
func readPVE(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	guests, err := inFolder(ctx, root, pveGuest, ".conf", "/etc/pve/qemu-server", "/etc/pve/lxc")
	rest, err2 := inFiles(ctx, root, pveSection, "/etc/pve/storage.cfg", "/etc/pve/jobs.cfg", "/etc/pve/vzdump.cron")
	return append(guests, rest...), errors.Join(err, err2)
}

// pveGuest reads lines "key: value" of a guest (qm.conf(5), pct.conf(5)) up to its first
// snapshot. A guest that starts with the host needs its devices at boot.
func pveGuest(file, text string) []mention {
	var out []mention
	what, need, ended := "VM ", needLater, false
	if path.Base(path.Dir(file)) == "lxc" {
		what = "container "
	}
	what += strings.TrimSuffix(path.Base(file), ".conf")
	eachLine(text, func(n int, line string) {
		if ended = ended || strings.HasPrefix(line, "["); ended {
			return
		}
		key, value, found := strings.Cut(line, ":")
		if !found {
			return
		}
		if value = strings.TrimSpace(value); key == "onboot" && value == "1" {
			need = needBoot
		}
		for _, name := range movable(value) {
			out = append(out, mention{line: n, name: name, purpose: key + " of " + what})
		}
	})
	for i := range out {
		out[i].need = need
	}
	return out
}

// pveSection reads files of sections, "zfspool: local" with lines beneath, or of lines
// alone: whatever device they name.
func pveSection(file, text string) []mention {
	var out []mention
	section := path.Base(file)
	n := 0
	for line := range strings.Lines(text) {
		n++
		body := strings.TrimSpace(line)
		if body == "" || strings.HasPrefix(body, "#") {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' && strings.Contains(body, ": ") {
			section = body
		}
		for _, name := range movable(body) {
			out = append(out, mention{line: n, name: name, purpose: section, need: needLater})
		}
	}
	return out
}
