package contract

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// example reads a shipped contract, with the places of this test for those of a real host.
func example(t *testing.T, name string, replace ...string) []Contract {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy/contract.d", name))
	if err != nil {
		t.Fatal(err)
	}
	all, err := Parse([]byte(strings.NewReplacer(replace...).Replace(string(b))), name)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// states runs all checks but units, which need systemd, once and gives them by id.
func states(t *testing.T, r *Runner, all []Contract) map[string]string {
	t.Helper()
	out := map[string]string{}
	for i := range all {
		all[i].Checks = append([]Check{}, all[i].Checks...)
	}
	for _, res := range r.Once(t.Context(), all) {
		if res.Types != "unit" {
			out[res.ID] = strings.TrimSpace(string(res.State) + " " + res.Why)
		}
	}
	return out
}

// want compares the beginnings of results.
func want(t *testing.T, have, want map[string]string) {
	t.Helper()
	for id, w := range want {
		if h, has := have[id]; !has || w == "pass" && h != w || !strings.HasPrefix(h, w) {
			t.Errorf("%s: have %q, want %q", id, h, w)
		}
	}
	if len(have) != len(want) {
		t.Errorf("have %d results, want %d: %v", len(have), len(want), have)
	}
}

func TestExamplesAreOneContract(t *testing.T) {
	files := map[string]string{}
	for _, name := range examples(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[Folder+"/"+filepath.Base(name)] = string(b)
	}
	all, err := Load(t.Context(), sysfs.New(&sysfstest.FS{Files: files}), Folder)
	if err != nil || len(all) != 7 { // that of Kubernetes is three
		t.Errorf("have %d contracts, %v", len(all), err)
	}
}

func TestExampleStorage(t *testing.T) {
	dir := t.TempDir()
	block := filepath.Join(dir, "block")
	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	osds := func(links ...string) *Runner {
		f := &sysfstest.FS{Files: map[string]string{"/proc/uptime": "200 1", "/sys/class/block/sda/dev": "8:0"}, Links: map[string]string{}}
		for i, l := range links {
			f.Links["/var/lib/ceph/osd/ceph-"+string(rune('1'+i))+"/block"] = l
		}
		return &Runner{Host: source.Host{Root: sysfs.New(f)}, live: true}
	}
	script(t, "ceph", `echo '{"osds":[{"osd":1,"up":1,"in":1},{"osd":2,"up":0,"in":1}]}'`)
	all := example(t, "storage.yaml")
	// The nodes themselves are opened on this machine, where there are none.
	want(t, states(t, osds(block), all), map[string]string{"osd-up-in": "pass", "osd-block-openable": "fail /var/lib/ceph/osd/ceph-1/block cannot be opened: ENOENT, it leads nowhere", "osd-volumes": "pass"})
	r := osds(block, block)
	r.Baseline = map[string][]string{"osd-volumes": {"ceph-osd"}}
	want(t, states(t, r, all), map[string]string{"osd-up-in": "fail osd.2 is down", "osd-block-openable": "fail", "osd-volumes": "fail ceph-osd of the last good boot is missing"})
	script(t, "ceph", "echo 'no monitor' >&2; exit 1\n")
	want(t, states(t, osds(block), all), map[string]string{"osd-up-in": "unknown ceph_osd: run ceph: it ended with 1: no monitor", "osd-block-openable": "fail", "osd-volumes": "pass"})
}

func TestExampleKVM(t *testing.T) {
	files := map[string]string{"/proc/uptime": "200 1", "/dev/kvm": "", "/sys/class/net/bridge0/brif/eth0/x": "", "/sys/class/net/bridge0/carrier": "1",
		"/proc/net/route": "bridge0\t00000000\t00000000\t0001\t0\t0\t100\t00000000\t0\t0\t0\n"}
	script(t, "virsh", "echo vm1\n")
	all := example(t, "kvm.yaml")
	want(t, states(t, runnerOn(files), all), map[string]string{"libvirt-answers": "pass", "default-route-on-bridge0": "pass", "kvm-device": "pass"})
	files["/proc/net/route"] = strings.Replace(files["/proc/net/route"], "bridge0", "eth0", 1)
	files["/sys/class/net/bridge0/carrier"] = "0"
	delete(files, "/dev/kvm")
	script(t, "virsh", "echo 'error: Failed to connect socket' >&2; exit 1\n")
	want(t, states(t, runnerOn(files), all), map[string]string{
		"libvirt-answers":          "fail libvirt does not answer at qemu:///system: error: Failed to connect socket",
		"default-route-on-bridge0": "fail the default route leaves by eth0, want bridge0; bridge0 has no link", "kvm-device": "fail /dev/kvm is not there"})
}

func TestExampleDNS(t *testing.T) {
	files := map[string]string{"/proc/uptime": "200 1"}
	good := dnsServerOn(t, "ns.example.org", "192.0.2.53", true)
	want(t, states(t, runnerOn(files), example(t, "dns.yaml", "127.0.0.1", good)), map[string]string{"canonical-a": "pass"})
	other := dnsServerOn(t, "ns.example.org", "192.0.2.99", true)
	want(t, states(t, runnerOn(files), example(t, "dns.yaml", "127.0.0.1", other)), map[string]string{"canonical-a": "fail " + other + " over udp: ns.example.org is 192.0.2.99, want 192.0.2.53; " + other + " over tcp"})
}

func TestExampleProxmox(t *testing.T) {
	own, err := ownAddresses()
	if err != nil || len(own) == 0 {
		t.Fatalf("this machine has no address: %v", err)
	}
	files := map[string]string{"/proc/uptime": "200 1", "/proc/sys/kernel/hostname": "node\n", "/etc/hosts": own[0].WithZone("").String() + " node.lan node\n", "/etc/fstab": "/dev/pve/root / ext4 defaults 0 1\n", "/dev/pve/root": "",
		"/proc/1/mountinfo": "1 0 0:5 / /etc/pve rw - fuse pve rw\n", "/etc/pve/nodes/node/qemu-server/100.conf": "", "/etc/pve/nodes/node/lxc/101.conf": ""}
	all := example(t, "proxmox.yaml")
	want(t, states(t, runnerOn(files), all), map[string]string{"hostname-not-loopback": "pass", "pmxcfs-mounted": "pass", "vm-configs": "pass", "container-configs": "pass", "fstab-stable": "pass"})
	files["/etc/hosts"], files["/proc/1/mountinfo"] = "127.0.1.1 node.lan node\n", "1 0 0:5 / / rw - ext4 /dev/sda1 rw\n"
	delete(files, "/etc/pve/nodes/node/qemu-server/100.conf")
	r := runnerOn(files)
	r.Baseline = map[string][]string{"vm-configs": {"/etc/pve/nodes/node/qemu-server/100.conf"}}
	want(t, states(t, r, all), map[string]string{"hostname-not-loopback": "fail the host's name node leads to 127.0.1.1", "pmxcfs-mounted": "fail /etc/pve is not mounted",
		"vm-configs": "fail /etc/pve/nodes/node/qemu-server/100.conf of the last good boot is missing", "container-configs": "pass", "fstab-stable": "pass"})
}

func TestExampleCilium(t *testing.T) {
	status := http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte("ok"))
	}))
	defer web.Close()
	place := web.Listener.Addr().String()
	all := example(t, "k8s-cilium.yaml", "127.0.0.1:9879", place, "127.0.0.1:10248", place)
	files := map[string]string{"/proc/uptime": "600 1", "/proc/1/mountinfo": "1 0 0:5 / /sys/fs/bpf rw - bpf bpf rw\n"}
	want(t, states(t, runnerOn(files), all), map[string]string{"kubelet-healthy": "pass", "cilium-agent-healthy": "pass", "bpf-file-system": "pass"})
	status = http.StatusInternalServerError
	want(t, states(t, runnerOn(files), all), map[string]string{"kubelet-healthy": "fail", "cilium-agent-healthy": "fail http://" + place + "/healthz answers 500, want 200", "bpf-file-system": "pass"})
}

// TestExampleCiliumMatches: what a node does not have, as k3s has no unit of containerd's, is not asked of it.
func TestExampleCiliumMatches(t *testing.T) {
	const wants = "/etc/systemd/system/multi-user.target.wants/"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"k3s":        {map[string]string{"/usr/local/bin/k3s": "x"}, "k8s-cilium"},
		"containerd": {map[string]string{"/usr/bin/kubelet": "x", wants + "containerd.service": "x"}, "k8s-cilium k8s-containerd"},
		"CRI-O":      {map[string]string{"/usr/bin/kubelet": "x", wants + "crio.service": "x"}, "k8s-cilium k8s-crio"},
		"none":       {map[string]string{"/usr/bin/containerd": "x"}, ""},
	} {
		apply, err := Applying(t.Context(), source.Host{Root: sysfs.New(&sysfstest.FS{Files: c.files})}, example(t, "k8s-cilium.yaml"))
		var names []string
		for _, a := range apply {
			names = append(names, a.Metadata.Name)
		}
		if have := strings.Join(names, " "); err != nil || have != c.want {
			t.Errorf("%s: %q, want %q, %v", name, have, c.want, err)
		}
	}
}
