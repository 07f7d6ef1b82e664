package contract

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/sysfs/sysfstest"
)

// TestHostName: where a host's name leads by /etc/hosts, and whether Proxmox's cluster file system would mind. A recording does not
// say what addresses the host has: but for loopback it cannot be told whose they are.
func TestHostName(t *testing.T) {
	for name, c := range map[string]struct{ hosts, want string }{
		"loopback only":    {"127.0.0.1 localhost\n127.0.1.1 pve1.lan pve1\n", "host.name/host pmxcfs=yes addresses=127.0.1.1 leads_to=loopback from=hosts"},
		"an address":       {"192.0.2.7 pve1.lan pve1\n", "host.name/host pmxcfs=yes addresses=192.0.2.7 from=hosts"},
		"loopback and one": {"127.0.1.1 pve1\n192.0.2.7 pve1\n", "host.name/host pmxcfs=yes addresses=127.0.1.1, 192.0.2.7 from=hosts"},
		"not in hosts":     {"127.0.0.1 localhost\n", "host.name/host pmxcfs=yes"}, // and no resolver is asked
	} {
		f := &sysfstest.FS{Files: map[string]string{"/proc/sys/kernel/hostname": "pve1\n", "/etc/hosts": c.hosts, "/usr/bin/pmxcfs": ""}}
		subjects, err := readHostName(t.Context(), host(f))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{c.want}, told(subjects, "pmxcfs", "addresses", "leads_to", "from")); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
