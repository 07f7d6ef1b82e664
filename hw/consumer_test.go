package hw_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs/sysfstest"
)

// told is a finding in a line with its message.
func told(findings []snapshot.Finding, codes ...string) []string {
	out := []string{}
	for _, f := range findings {
		if !slices.ContainsFunc(codes, func(c string) bool { return strings.HasPrefix(f.Code, c) }) {
			continue
		}
		line := string(f.Severity) + " " + f.Code + ": " + f.Message
		for _, b := range f.Behind {
			line += " + " + b.Label
		}
		out = append(out, line)
	}
	return out
}

const (
	nvmeA   = "partition 1 of QEMU NVMe Ctrl (nvme0n1) (nvme0n1p1) [on:nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1/part1]"
	newNVMe = "QEMU NVMe Ctrl (nvme0n1) [nvme:QEMU_NVMe_Ctrl_NEWDRIVE01/ns1]"
	renamed = "info disk-renamed: same disk: was nvme0n1, is nvme1n1; what names it nvme0n1: "
)

// What a host of consumers is told when its devices are called otherwise.
func TestConsumers(t *testing.T) {
	cases := []struct {
		name, old, new string
		files          map[string]string // on both sides
		links          map[string]string
		now            map[string]string // on the new side alone
		verdict        snapshot.Verdict
		want           []string
	}{
		{"fstab names a disk that another took the name of", "shiftA", "shiftB", map[string]string{"/etc/fstab": "# disks\n/dev/nvme0n1 /srv xfs defaults 0 2\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-other: /etc/fstab:2 names /dev/nvme0n1 for /srv: that was QEMU NVMe Ctrl (nvme0n1) [nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1], and is " + newNVMe + " now",
			renamed + "/etc/fstab:2 (/srv)",
		}},
		{"fstab names a partition, and the disk that has the name now has none", "shiftA", "shiftB", map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs defaults 0 2\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-nothing: /etc/fstab:1 names /dev/nvme0n1p1 for /srv: no device is called so now; it was " + nvmeA,
			renamed + "/etc/fstab:1 (/srv)",
		}},
		{"the same with nofail, and two of them", "shiftA", "shiftB", map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs nofail 0 2\n/dev/nvme0n1p1 /mnt xfs noauto 0 2\n"}, nil, nil, snapshot.Good, []string{
			"warning name-means-nothing: /etc/fstab:2 names /dev/nvme0n1p1 for /mnt: no device is called so now; it was " + nvmeA + " + /etc/fstab:1 (/srv)",
			renamed + "/etc/fstab:2 (/mnt), /etc/fstab:1 (/srv)",
		}},
		{"a UUID goes with the disk", "shiftA", "shiftB", map[string]string{"/etc/fstab": "UUID=0b1e /srv xfs defaults 0 2\n/dev/disk/by-id/nvme-x-part1 /a xfs defaults 0 2\n#/dev/nvme0n1p1 /b xfs defaults 0 2\n"}, nil, nil,
			snapshot.Good, []string{renamed + "nothing that was read"}},
		{"a by-path link, by the place it spells", "shiftA", "shiftA", map[string]string{"/etc/fstab": "/dev/disk/by-path/pci-0000:03:00.0-nvme-1-part1 /srv xfs defaults 0 2\n"}, nil, nil, snapshot.Good, nil},
		{"a by-path link whose bus number shifted", "shiftA", "shiftB", map[string]string{"/etc/fstab": "/dev/disk/by-path/pci-0000:03:00.0-nvme-1 /srv xfs defaults 0 2\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-nothing: /etc/fstab:1 names /dev/disk/by-path/pci-0000:03:00.0-nvme-1 for /srv: no device is called so now; it was QEMU NVMe Ctrl (nvme0n1) [nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1]",
			renamed + "nothing that was read",
		}},
		{"a VM was given a disk by name", "full61", "ord-perc", map[string]string{"/etc/pve/qemu-server/100.conf": "onboot: 1\nscsi0: local-lvm:vm-100-disk-0,size=32G\nscsi1: /dev/sdb,size=64M\n[snap]\nscsi1: /dev/sda\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-other: /etc/pve/qemu-server/100.conf:3 names /dev/sdb for scsi1 of VM 100: that was %full61:sdb, and is %ord-perc:sdb now",
		}},
		{"an array's members by name", "full61", "ord-perc", map[string]string{"/etc/mdadm/mdadm.conf": "DEVICE partitions\nARRAY /dev/md0 UUID=0:1:2:3\n  devices=/dev/sdd1,/dev/sde1\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-other: /etc/mdadm/mdadm.conf:3 names /dev/sdd1 for member of /dev/md0: that was %full61:sdd1, and is %ord-perc:sdd1 now",
			"critical name-means-nothing: /etc/mdadm/mdadm.conf:3 names /dev/sde1 for member of /dev/md0: no device is called so now; it was %full61:sde1",
		}},
		{"the root on the command line", "full61", "ord-perc", map[string]string{"/etc/hostname": "h\n", "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sdd1 resume=/dev/sde1 ro quiet\n"}, nil, nil, snapshot.Regressed, []string{
			"critical name-means-other: /proc/cmdline names /dev/sdd1 for root=: that was %full61:sdd1, and is %ord-perc:sdd1 now",
			"warning name-means-nothing: /proc/cmdline names /dev/sde1 for resume=: no device is called so now; it was %full61:sde1",
		}},
		{"what only watches does no harm", "full61", "ord-perc", map[string]string{"/etc/smartd.conf": "DEVICESCAN -n standby\n/dev/sdb -a\n/dev/sdd -a\n"}, nil, nil, snapshot.Good, []string{
			"warning name-means-other: /etc/smartd.conf:2 names /dev/sdb for watched by smartd: that was %full61:sdb, and is %ord-perc:sdb now",
			"warning name-means-other: /etc/smartd.conf:3 names /dev/sdd for watched by smartd: that was %full61:sdd, and is %ord-perc:sdd now",
		}},
		{"an OSD's link", "full61", "ord-perc", nil, map[string]string{"/var/lib/ceph/osd/ceph-3/block": "/dev/sdb", "/etc/mtab": "/proc/mounts", "/var/lib/ceph/osd/ceph-4/block": "/dev/ceph-0/osd-block-1"}, nil, snapshot.Regressed, []string{
			"critical name-means-other: /var/lib/ceph/osd/ceph-3/block names /dev/sdb for block of OSD ceph-3: that was %full61:sdb, and is %ord-perc:sdb now",
		}},
		{"a new line with a name is told once", "shiftA", "shiftA", map[string]string{"/etc/fstab": ""}, nil, map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs defaults 0 2\n/dev/nvme0n1 /raw auto noauto 0 0\n"}, snapshot.Good, []string{
			"info name-use-new: /etc/fstab:2 names /dev/nvme0n1 for /raw since the last good boot: that name may move + /etc/fstab:1 (/srv)",
		}},
		{"a line that was taken away is nothing", "shiftA", "shiftA", map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs defaults 0 2\n"}, nil, map[string]string{"/etc/fstab": ""}, snapshot.Good, nil},
		{"a name that meant nothing before", "shiftA", "shiftA", map[string]string{"/etc/fstab": "/dev/sdz1 /srv xfs defaults 0 2\n"}, nil, nil, snapshot.Good, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			after := maps.Clone(c.files)
			maps.Copy(after, c.now)
			old := take(t.Context(), t, open(t, c.old, &sysfstest.FS{Files: c.files, Links: c.links}))
			new := take(t.Context(), t, open(t, c.new, &sysfstest.FS{Files: after, Links: c.links}))
			j := judge(t, old, new)
			want := []string{}
			for _, w := range c.want {
				want = append(want, fill(w, map[string]*snapshot.Snapshot{c.old: old, c.new: new}))
			}
			codes := []string{"name-"}
			if c.old == "shiftA" {
				codes = append(codes, "disk-renamed")
			}
			if d := cmp.Diff(want, told(j.Findings, codes...)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if c.old == "shiftA" && j.Verdict != c.verdict { // between the others more differs than names
				t.Errorf("verdict %s, want %s: %v", j.Verdict, c.verdict, brief(j.Findings))
			}
			if len(j.Gaps) > 0 {
				t.Errorf("gaps: %v", j.Gaps)
			}
		})
	}
}

// fill writes out %HOST:NAME, the device that has that name there.
func fill(text string, hosts map[string]*snapshot.Snapshot) string {
	for host, snap := range hosts {
		for i := range snap.Subjects {
			if s := &snap.Subjects[i]; strings.HasPrefix(s.Kind, "hw.") || s.Kind == "net.interface" {
				text = strings.ReplaceAll(text+" ", "%"+host+":"+s.Text("name")+" ", s.Label+" ["+s.ID+"] ")
				text = strings.ReplaceAll(text, "%"+host+":"+s.Text("name")+", ", s.Label+" ["+s.ID+"], ")
				text = strings.TrimSuffix(text, " ")
			}
		}
	}
	return text
}

// An interface that is called otherwise, behind a bridge of each kind of network
// configuration.
func TestRenamedPort(t *testing.T) {
	rename := func(name string) *sysfstest.FS {
		dir := strings.TrimSuffix(nic, "eth0") + name
		return &sysfstest.FS{
			Files: map[string]string{dir + "/address": "52:54:00:12:34:56\n", dir + "/operstate": "up\n"},
			Links: map[string]string{"/sys/class/net/" + name: "../.." + strings.TrimPrefix(dir, "/sys"), dir + "/device": "../../../0000:04:00.0"},
			Removed: []string{
				"/sys/class/net/eth0", nic,
			},
		}
	}
	cases := map[string]struct{ file, text, place, purpose string }{
		"ifupdown": {"/etc/network/interfaces", "auto lo\niface lo inet loopback\n\niface eno1 inet manual\n\nauto vmbr0\niface vmbr0 inet static\n  bridge-ports eno1\n", "8", "port of bridge vmbr0"},
		"networkd": {"/etc/systemd/network/10-lan.network", "[Match]\nName=eno1\n[Network]\nBridge=br0\n", "2", "port of bridge br0"},
		"netplan":  {"/etc/netplan/01.yaml", "network:\n  version: 2\n  ethernets:\n    eno1: {dhcp4: false}\n  bridges:\n    br0:\n      interfaces: [eno1]\n", "4", "port of bridge br0"},
		"keyfile":  {"/etc/NetworkManager/system-connections/a.nmconnection", "[connection]\nid=lan\ntype=ethernet\ninterface-name=eno1\n", "4", "connection lan"},
		"ifcfg":    {"/etc/sysconfig/network-scripts/ifcfg-eno1", "DEVICE=\"eno1\"\nONBOOT=yes\nBRIDGE=br0\n", "1", "port of bridge br0"},
		"cmdline":  {"/proc/cmdline", "root=UUID=1 ip=10.0.0.2::10.0.0.1:255.255.255.0:h:eno1:none\n", "", "ip="},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before, after := rename("eno1"), rename("enp4s0")
			for _, f := range []*sysfstest.FS{before, after} {
				f.Files[c.file] = c.text
				f.Files["/etc/hostname"] = "h\n"
			}
			old, new := take(t.Context(), t, open(t, "full61", before)), take(t.Context(), t, open(t, "full61", after))
			j := judge(t, old, new)
			place := c.file
			if c.place != "" {
				place += ":" + c.place
			}
			want := []string{
				"critical name-means-nothing: " + place + " names eno1 for " + c.purpose + ": no device is called so now; it was eno1 [at:pci0000:00/05.0/00.0]",
				"info nic-renamed: same network interface: was eno1, is enp4s0; what names it eno1: " + place + " (" + c.purpose + ")",
			}
			if d := cmp.Diff(want, told(j.Findings, "")); d != "" || j.Verdict != snapshot.Regressed {
				t.Errorf("verdict %s; findings (-want +got):\n%s", j.Verdict, d)
			}
		})
	}
}

// A disk that is gone is one finding, with what names it behind it.
func TestConsumerOfMissingDisk(t *testing.T) {
	fstab := map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs defaults 0 2\n"}
	old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{Files: fstab}))
	new := take(t.Context(), t, open(t, "full61", &sysfstest.FS{Files: fstab,
		Removed: []string{nvmePCI + "/driver", "/sys/block/nvme0n1", "/sys/class/block/nvme0n1", "/sys/class/block/nvme0n1p1", nvmeDisk, "/sys/class/hwmon/hwmon0"}}))
	want := []string{"critical pci-driver-lost pci0000:00/04.0/00.0 + nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1 + fstab:/dev/nvme0n1p1:/srv + on:nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1/part1 + pci0000:00/04.0/00.0/nvme/Composite"}
	if d := cmp.Diff(want, brief(judge(t, old, new).Findings)); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}

// What cannot be read is never a name that means nothing, and never a line that is gone.
func TestConsumersUnread(t *testing.T) {
	fstab := map[string]string{"/etc/fstab": "/dev/nvme0n1p1 /srv xfs defaults 0 2\n"}
	cases := map[string]struct {
		faults *sysfstest.FS
		gap    string
	}{
		"the file":                {&sysfstest.FS{Files: fstab, Errs: map[string]error{"/etc/fstab": unix.EIO}}, "read /etc/fstab: input/output error"},
		"the block devices":       {&sysfstest.FS{Files: fstab, Errs: map[string]error{"/sys/class/block": unix.EIO}}, "which device nvme0n1p1 is could not be told"},
		"the device":              {&sysfstest.FS{Files: fstab, Errs: map[string]error{"/sys/class/block/nvme0n1p1": unix.EIO}}, "nvme0n1p1"},
		"what it is known by":     {&sysfstest.FS{Files: fstab, Errs: map[string]error{nvmeDisk + "/device/serial": unix.EIO}}, "serial: input/output error"},
		"a file without an end":   {&sysfstest.FS{Files: map[string]string{"/etc/fstab": strings.Repeat("#", 2<<20)}}, "read /etc/fstab: longer than"},
		"a folder of networks":    {&sysfstest.FS{Files: fstab, Errs: map[string]error{"/etc/netplan": unix.EIO}}, "list /etc/netplan"},
		"a cache that is damaged": {&sysfstest.FS{Files: map[string]string{"/etc/fstab": fstab["/etc/fstab"], "/etc/zfs/zpool.cache": "\x01\x01\x00\x00rubbish"}}, "read /etc/zfs/zpool.cache: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{Files: fstab}))
			new := take(t.Context(), t, open(t, "full61", c.faults))
			j := judge(t, old, new)
			if got := told(j.Findings, "name-"); len(got) > 0 {
				t.Errorf("findings %v", got)
			}
			if !slices.ContainsFunc(j.Gaps, func(g snapshot.Gap) bool { return strings.Contains(g.Reason, c.gap) }) {
				t.Errorf("gaps %v, want one with %q", j.Gaps, c.gap)
			}
		})
	}
}
