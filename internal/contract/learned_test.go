package contract

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// storageHost is a recorded host: / on LVM on a partition, /srv on a disk, swap, two OSDs of which one's link leads nowhere.
func storageHost() *sysfstest.FS {
	return &sysfstest.FS{Files: map[string]string{
		"/proc/1/mountinfo": "1 0 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n" +
			"2 1 8:16 / /srv ro - xfs /dev/sdb ro\n" +
			"3 1 0:40 / /run/user/0 rw - tmpfs tmpfs rw\n" +
			"4 1 0:41 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n" +
			"5 1 0:42 / /mnt/nfs rw - nfs4 server:/export rw\n" +
			"6 1 0:43 / /etc/pve rw - fuse.pmxcfs pmxcfs rw\n" +
			"7 1 8:32 / /mnt/hand rw - ext4 /dev/sdc rw\n",
		"/etc/fstab":                "/dev/mapper/vg-root / ext4 defaults 0 1\nUUID=srv /srv xfs defaults 0 2\nserver:/export /mnt/nfs nfs4 _netdev 0 0\n#UUID=old /old ext4 defaults 0 2\n",
		"/proc/swaps":               "Filename Type Size Used Priority\n/dev/dm-1 partition 2097148 0 -2\n",
		"/sys/class/block/dm-0/dev": "253:0", "/sys/class/block/dm-0/dm/name": "vg-root", "/sys/class/block/dm-0/dm/uuid": "LVM-" + strings.Repeat("a", 64), "/sys/class/block/dm-0/slaves/sda1/x": "",
		"/sys/class/block/dm-1/dev": "253:1", "/sys/class/block/dm-1/dm/name": "vg-swap", "/sys/class/block/dm-1/dm/uuid": "LVM-" + strings.Repeat("b", 64),
		"/sys/devices/d/block/sda/sda1/dev": "8:1", "/sys/devices/d/block/sda/sda1/partition": "1", "/sys/devices/d/block/sda/dev": "8:0", "/sys/devices/d/block/sda/wwid": "naa.5000c500a1",
		"/sys/class/block/sdb/dev": "8:16", "/sys/class/block/sdc/dev": "8:32", "/sys/class/block/sdd/dev": "8:48",
		"/run/udev/data/b8:1": "E:ID_PART_ENTRY_UUID=aaaa-01\n", "/run/udev/data/b8:16": "S:x\nE:ID_FS_UUID=srv\nE:ID_FS_USAGE=filesystem\nE:ID_FS_TYPE=xfs\n",
		"/run/udev/data/b8:32": "E:ID_FS_UUID=hand\nE:ID_FS_USAGE=filesystem\n", "/run/udev/data/b8:48": "E:ID_FS_UUID=old\nE:ID_FS_USAGE=filesystem\nE:ID_FS_LABEL=archive\n",
		"/var/lib/ceph/osd/ceph-1/whoami": "1", "/var/lib/ceph/osd/ceph-2/whoami": "2", "/dev/sdd": "",
	}, Links: map[string]string{
		"/sys/class/block/sda": "../../devices/d/block/sda", "/sys/class/block/sda1": "../../devices/d/block/sda/sda1",
		"/sys/dev/block/253:0": "../../class/block/dm-0", "/sys/dev/block/8:16": "../../class/block/sdb", "/sys/dev/block/8:32": "../../class/block/sdc",
		"/var/lib/ceph/osd/ceph-1/block": "/dev/sdd", "/var/lib/ceph/osd/ceph-2/block": "/dev/ceph-vg/osd-block-2",
	}}
}

func host(f *sysfstest.FS) source.Host { return source.Host{Root: sysfs.New(f), Now: time.Now} }

// told writes subjects as lines: kind/id attr=value …, of the attributes that are given.
func told(all []snapshot.Subject, attrs ...string) []string {
	out := []string{}
	for _, s := range all {
		line := s.Key().String()
		for _, a := range attrs {
			if v, has := s.Attrs[a]; has {
				line += " " + a + "=" + v.String()
			}
		}
		out = append(out, line)
	}
	return out
}

func TestMounts(t *testing.T) {
	subjects, err := readMounts(t.Context(), host(storageHost()))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"service.mount// fstype=ext4 mode=rw by=fstab stack=dm-lvm on partition on disk",
		"service.mount//srv fstype=xfs mode=ro by=fstab uuid=srv stack=disk",
		"service.mount//mnt/nfs fstype=nfs4 mode=rw by=fstab remote=server:/export",
		"service.mount//etc/pve fstype=fuse.pmxcfs mode=rw by=unit",
		"service.mount//mnt/hand fstype=ext4 mode=rw by=hand uuid=hand stack=disk",
		"service.filesystem/srv fstype=xfs mounted=boot", "service.filesystem/hand mounted=hand", "service.filesystem/old mounted=no",
	}
	have := told(subjects, "fstype", "mode", "by", "uuid", "remote", "stack", "mounted")
	for i := range have { // udev knows no type of two of them
		have[i] = strings.ReplaceAll(have[i], " fstype= ", " ")
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

func TestFstabSubjects(t *testing.T) {
	subjects, err := readFstab(t.Context(), host(storageHost()))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, s := range subjects {
		have[s.ID] = s.Text("state") + " " + s.Text("named")
	}
	if d := cmp.Diff(map[string]string{"/": "active stable", "/srv": "active stable", "/mnt/nfs": "active stable", "/old": "commented stable"}, have); d != "" {
		t.Error(d)
	}
}

func TestBlockNodes(t *testing.T) {
	subjects, err := readBlockNodes(t.Context(), host(storageHost()))
	if err != nil {
		t.Fatal(err)
	}
	have := told(subjects, "used_by")
	want := []string{
		"service.block/dm:LVM-" + strings.Repeat("a", 64) + " used_by=/", "service.block/partuuid:aaaa-01 used_by=/", "service.block/wwid:naa.5000c500a1 used_by=/",
		"service.block/fs:srv used_by=/srv", "service.block/fs:hand used_by=/mnt/hand", "service.block/dm:LVM-" + strings.Repeat("b", 64) + " used_by=swap",
		"service.block/fs:old used_by=osd.1", "service.block/path:/var/lib/ceph/osd/ceph-2/block used_by=osd.2",
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

// TestOpenErrnos tells the answers of an open apart.
func TestOpenErrnos(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "none"), dangling); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{file: "yes", dangling: "ENOENT", filepath.Join(file, "x"): "ENOTDIR"}
	if os.Getuid() == 0 {
		node := filepath.Join(dir, "node") // block device of a number that no driver has
		if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(240, 77))); err == nil {
			want[node] = "ENXIO"
		}
	}
	for name, errno := range want {
		if have, err := tryOpen(name); err != nil || have != errno {
			t.Errorf("%s: have %s %v, want %s", name, have, err, errno)
		}
	}
}

func TestBridges(t *testing.T) {
	f := &sysfstest.FS{Files: map[string]string{
		"/sys/class/net/bridge0/brif/eth0/x": "", "/sys/class/net/bridge0/brif/vnet3/x": "", "/sys/class/net/bridge0/operstate": "up\n", "/sys/class/net/bridge0/carrier": "1\n",
		"/sys/class/net/virbr0/brif/vnet4/x": "", "/sys/class/net/virbr0/operstate": "down\n", "/sys/class/net/virbr0/carrier": "0\n",
		"/sys/class/net/bond0/bonding/slaves": "eth1 eth2\n", "/sys/class/net/bond0/operstate": "up\n",
		"/sys/class/net/eth0/uevent": "INTERFACE=eth0\n", "/sys/class/net/vlan5/uevent": "DEVTYPE=vlan\n", "/sys/class/net/vlan5/lower_bond0/x": "", "/sys/class/net/vlan5/operstate": "up",
		"/sys/class/net/docker0/brif/veth1/x": "",
	}, Errs: map[string]error{"/sys/class/net/bond0/carrier": unix.EINVAL}}
	subjects, err := readBridges(t.Context(), host(f))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"net.bridge/bond0 type=bond ports=eth1, eth2 operstate=up", "net.bridge/bridge0 type=bridge ports=eth0 operstate=up carrier=yes",
		"net.bridge/virbr0 type=bridge ports= operstate=down", "net.bridge/vlan5 type=vlan ports=bond0 operstate=up"}
	if d := cmp.Diff(want, told(subjects, "type", "ports", "operstate", "carrier")); d != "" {
		t.Error(d)
	}
}

func TestAddresses(t *testing.T) {
	address := func(cidr string, flags int, valid int) *netlink.Addr {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags, a.ValidLft = flags, valid
		return a
	}
	for _, c := range []struct {
		a     *netlink.Addr
		iface string
		want  string
	}{
		{address("192.0.2.7/24", unix.IFA_F_PERMANENT, forEver), "eth0", "net.address/192.0.2.7 interface=eth0 prefix=24 lasting=yes state=usable"},
		{address("192.0.2.8/24", 0, 3600), "eth0", "net.address/192.0.2.8 interface=eth0 prefix=24 lasting=no state=usable"},
		{address("2001:db8::1/64", unix.IFA_F_PERMANENT|unix.IFA_F_DADFAILED, forEver), "eth0", "net.address/2001:db8::1 interface=eth0 prefix=64 lasting=yes state=duplicate"},
		{address("2001:db8::2/64", unix.IFA_F_TEMPORARY, 60), "eth0", ""},
		{address("fe80::1/64", unix.IFA_F_PERMANENT, forEver), "eth0", ""},
		{address("172.17.0.1/16", unix.IFA_F_PERMANENT, forEver), "docker0", ""},
		{address("127.0.0.1/8", unix.IFA_F_PERMANENT, forEver), "lo", ""},
	} {
		have := ""
		if s, ok := addressSubject(c.a, c.iface); ok {
			have = told([]snapshot.Subject{s}, "interface", "prefix", "lasting", "state")[0]
		}
		if have != c.want {
			t.Errorf("have %q, want %q", have, c.want)
		}
	}
}

func TestContainers(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	pod := "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/"
	f := &sysfstest.FS{Files: map[string]string{
		pod + "cri-containerd-" + id("a") + ".scope/x": "", pod + "cri-containerd-" + id("b") + ".scope/x": "",
		"/sys/fs/cgroup/system.slice/docker-" + id("c") + ".scope/x": "", "/sys/fs/cgroup/system.slice/ssh.service/x": "",
		"/sys/fs/cgroup/systemd/docker/" + id("d") + "/x": "", "/sys/fs/cgroup/systemd/kubepods/burstable/pod12-ab/" + id("e") + "/x": "",
		"/sys/fs/cgroup/machine.slice/libpod-" + id("f") + ".scope/x": "", "/sys/fs/cgroup/machine.slice/machine-qemu\\x2d1.scope/x": "",
	}}
	subjects, err := readContainers(t.Context(), host(f))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"container.count/kubernetes running=3", "container.count/docker running=2", "container.count/podman running=1", "container.count/lxc running=0", "container.count/machine running=1"}
	if d := cmp.Diff(want, told(subjects, "running")); d != "" {
		t.Error(d)
	}
	if _, err := readContainers(t.Context(), host(&sysfstest.FS{})); !errors.Is(err, source.ErrSkipped) {
		t.Errorf("a recording without cgroups: %v", err)
	}
}

func TestListeners(t *testing.T) {
	f := &sysfstest.FS{Files: map[string]string{
		"/proc/net/tcp": "   0: 00000000:0016 00000000:0000 0A 0:0 00:0 0     0        0 4711 1\n   1: 00000000:9C40 00000000:0000 0A 0:0 00:0 0     0        0 4712 1\n",
		"/proc/net/udp": "   0: 00000000:0035 00000000:0000 07 0:0 00:0 0   101        0 4713 1\n",
		"/proc/7/comm":  "sshd\n", "/proc/7/cgroup": "0::/system.slice/ssh.service\n",
	}, Links: map[string]string{"/proc/7/fd/3": "socket:[4711]", "/proc/7/fd/4": "/dev/null"}}
	h := host(f)
	subjects, err := readListeners(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"net.listener/tcp/0.0.0.0:22 by=unknown reach=any", "net.listener/udp/0.0.0.0:53 by=unknown reach=any"}, told(subjects, "by", "reach")); d != "" {
		t.Error(d)
	}
	all, _, err := listening(t.Context(), h.Root)
	if err != nil {
		t.Fatal(err)
	}
	if o := findOwners(t.Context(), h.Root, all)["4711"]; o != (owner{"sshd", "ssh.service", "service"}) {
		t.Errorf("owner %+v", o)
	}
}

// TestRecorded: every source answers on an empty recording and on one all of whose files fail, without a fault and without
// taking what cannot be read for what is not there.
func TestRecorded(t *testing.T) {
	for _, src := range Sources() {
		if _, err := src.Read(t.Context(), host(&sysfstest.FS{})); err == nil && !strings.Contains("fstab swap clock", src.Name) {
			t.Errorf("%s: an empty recording was read in full", src.Name)
		}
		f := &sysfstest.FS{Errs: map[string]error{}}
		for _, name := range []string{"/proc/1/mountinfo", "/proc/self/mountinfo", "/etc/fstab", "/proc/swaps", "/proc/net/route", "/proc/net/tcp", "/sys/class/net", "/sys/fs/cgroup", "/sys/fs/cgroup/unified",
			"/sys/fs/cgroup/systemd", "/proc/sys/kernel/hostname", "/etc/resolv.conf", "/sys/devices/system/clocksource/clocksource0/current_clocksource"} {
			f.Errs[name] = unix.EIO
		}
		subjects, err := src.Read(t.Context(), host(f))
		failed := len(subjects) > 0
		for _, s := range subjects {
			failed = failed && len(s.Errs) > 0
		}
		if err == nil && !failed {
			t.Errorf("%s: files that cannot be read gave %v", src.Name, subjects)
		}
	}
}

// TestLive: on this host every source answers in bounded time, twice the same.
func TestLive(t *testing.T) {
	h := source.Host{Root: sysfs.Live(), Now: time.Now}
	kinds, err := source.Kinds(Sources())
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range Sources() {
		start := time.Now()
		subjects, err := src.Read(t.Context(), h)
		took := time.Since(start)
		t.Logf("%-12s %3d subjects in %v, %v", src.Name, len(subjects), took.Round(10*time.Microsecond), err)
		if took > 5*time.Second {
			t.Errorf("%s took %v", src.Name, took)
		}
		seen := map[snapshot.Key]bool{}
		for _, s := range subjects {
			if seen[s.Key()] || s.ID == "" || s.Outcome == "" {
				t.Errorf("%s is there twice, or has no id or outcome", s.Key())
			}
			seen[s.Key()] = true
			for name := range s.Attrs {
				if _, declared := kinds[s.Kind].Attr(name); !declared {
					t.Errorf("%s: attribute %s is not declared", s.Key(), name)
				}
			}
		}
	}
}

// deafFS gives no answer until it is closed.
type deafFS chan struct{}

func (f deafFS) ReadFile(string, int) ([]byte, error) { <-f; return nil, unix.EIO }
func (f deafFS) ReadDir(string) ([]string, error)     { <-f; return nil, unix.EIO }
func (f deafFS) Readlink(string) (string, error)      { <-f; return "", unix.EIO }
func (f deafFS) Exists(string) (bool, error)          { <-f; return false, unix.EIO }

// TestHung: a tree of which nothing answers costs each source a bounded time, and is not read as empty.
func TestHung(t *testing.T) {
	f := make(deafFS)
	defer close(f)
	for _, src := range Sources() {
		start := time.Now()
		subjects, err := src.Read(t.Context(), source.Host{Root: sysfs.WithPatience(f, 20*time.Millisecond)})
		took := time.Since(start)
		if err == nil && (len(subjects) == 0 || len(subjects[0].Errs) == 0) || took > 2*time.Second {
			t.Errorf("%s: %v and %v after %v", src.Name, subjects, err, took)
		}
	}
}

func BenchmarkLearned(b *testing.B) {
	h := source.Host{Root: sysfs.Live(), Now: time.Now}
	for b.Loop() {
		for _, src := range Sources() {
			src.Read(b.Context(), h) // what it could not tell is of no account here
		}
	}
}
