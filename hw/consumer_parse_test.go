package hw

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

var consumerParsers = map[string]func(file, text string) []mention{
	"/etc/fstab": fstabUses, "/etc/crypttab": crypttabUses, "/proc/cmdline": cmdlineUses, "/boot/grub/device.map": deviceMapUses, "/etc/mdadm.conf": mdadmUses,
	"/etc/lvm/lvm.conf": lvmFilters, "/etc/lvm/devices/system.devices": lvmDevices, "/etc/smartd.conf": smartdUses, "/etc/pve/lxc/101.conf": pveGuest,
	"/etc/pve/storage.cfg": pveSection, "/etc/systemd/system/srv.mount": mountUnit, "/etc/systemd/network/a.network": networkUnit, "/etc/systemd/network/a.link": linkUnit,
	"/etc/netplan/a.yaml": netplanUses, "/etc/network/interfaces": ifupdownUses, "a.nmconnection": nmUses, "ifcfg-eno1": ifcfgUses,
}

func TestConsumerParsers(t *testing.T) {
	cases := []struct {
		file, text string
		want       []mention
	}{
		{"/etc/fstab", "/dev/sda2 none swap sw 0 0\n/dev/sda3 / xfs logdev=/dev/nvme0n1p2,noatime 0 1\nhost:/dev/sda1 /net nfs defaults 0 0\nLABEL=a /a ext4\n", []mention{
			{line: 1, name: "/dev/sda2", purpose: "swap", need: needLater}, {line: 2, name: "/dev/sda3", purpose: "/", need: needBoot}, {line: 2, name: "/dev/nvme0n1p2", purpose: "logdev of /", need: needBoot}, {line: 4, name: "LABEL=a", purpose: "/a", need: needBoot},
		}},
		{"/etc/crypttab", "# name device key\nroot /dev/sda3 none luks\nbak UUID=1 /key:/dev/disk/by-path/pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0 luks,nofail\n", []mention{
			{line: 2, name: "/dev/sda3", purpose: "encrypted volume root", need: needBoot},
			{line: 3, name: "UUID=1", purpose: "encrypted volume bak", need: needLater},
			{line: 3, name: "/dev/disk/by-path/pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0", purpose: "key of bak", need: needLater},
		}},
		{"/proc/cmdline", "root=UUID=1 cryptdevice=/dev/sda2:root ip=dhcp ip=::::h:enp1s0:dhcp console=ttyS0 sd=/dev/sda/x", []mention{
			{name: "UUID=1", purpose: "root=", need: needBoot},
			{name: "/dev/sda2", purpose: "cryptdevice=", need: needBoot}, {name: "enp1s0", purpose: "ip=", need: needBoot},
		}},
		{"/boot/grub/device.map", "(hd0)\t/dev/sda\n(hd1) /dev/disk/by-id/ata-x\n", []mention{{line: 1, name: "/dev/sda", purpose: "GRUB's drive hd0", need: needWatch}}},
		{"/etc/mdadm.conf", "DEVICE /dev/sda1 /dev/sd[bc]*\nARRAY /dev/md0 UUID=1\nARRAY /dev/md1 devices=/dev/sdb1,/dev/disk/by-id/x # two\n", []mention{
			{line: 1, name: "/dev/sda1", purpose: "looked at for arrays", need: needBoot}, {line: 3, name: "/dev/sdb1", purpose: "member of /dev/md1", need: needBoot},
		}},
		{"/etc/lvm/lvm.conf", "devices {\n # filter = [ \"a|/dev/sdz|\" ]\n global_filter = [ \"a|^/dev/sda[0-9]*$|\", \"r|/dev/sd.*|\",\n   \"a#/dev/disk/by-path/pci-0000:03:00.0-nvme-1.*#\", \"r|.*|\" ]\n scan = [ \"/dev/sdq\" ]\n}\n", []mention{
			{line: 3, name: "/dev/sda", purpose: "LVM's global_filter a|^/dev/sda[0-9]*$|", need: needBoot},
		}},
		{"/etc/lvm/devices/system.devices", "VERSION=1.1.2\nIDTYPE=devname IDNAME=/dev/vda2 DEVNAME=/dev/vda2 PVID=abc PART=2\nIDTYPE=sys_wwid IDNAME=naa.5 DEVNAME=/dev/sda PVID=def\n", []mention{
			{line: 2, name: "/dev/vda2", purpose: "LVM's physical volume abc", need: needBoot},
		}},
		{"/etc/smartd.conf", "/dev/nvme0 -a\n/dev/disk/by-id/x -a\nDEVICESCAN\n", []mention{{line: 1, name: "/dev/nvme0", purpose: "watched by smartd", need: needWatch}}},
		{"/etc/pve/lxc/101.conf", "# mp0: /dev/sda1\nmp0: /dev/sdb1,mp=/data\nnet0: name=eth0,bridge=vmbr0\n", []mention{{line: 2, name: "/dev/sdb1", purpose: "mp0 of container 101", need: needLater}}},
		{"/etc/pve/storage.cfg", "dir: local\n\tpath /var/lib/vz\n\nlvm: a\n\tbase /dev/sdc\n", []mention{{line: 5, name: "/dev/sdc", purpose: "lvm: a", need: needLater}}},
		{"/etc/systemd/system/srv.mount", "[Unit]\nWhat=/dev/sdz\n[Mount]\nWhat=/dev/sdb1\nWhere=/srv\nOptions=rw,nofail\n", []mention{{line: 4, name: "/dev/sdb1", purpose: "/srv", need: needLater}}},
		{"/etc/systemd/network/a.network", "[Match]\nName=eno1 eno2.5 !en*\n", []mention{
			{line: 2, name: "eno1", purpose: "set up by systemd-networkd", need: needBoot}, {line: 2, name: "eno2", purpose: "set up by systemd-networkd", need: needBoot}, {line: 2, name: "!en*", purpose: "set up by systemd-networkd", need: needBoot},
		}},
		{"/etc/systemd/network/a.link", "[Match]\nOriginalName=eth0\nPath=pci-0000:03:00.0 platform-*\nMACAddress=0:1\n[Link]\nName=lan0\n", []mention{
			{line: 2, name: "eth0", purpose: "to be called lan0", need: needBoot, now: "lan0"}, {line: 3, name: "pci-0000:03:00.0", purpose: "to be called lan0", need: needBoot},
		}},
		{"/etc/netplan/a.yaml", "network:\n  ethernets:\n    lan:\n      match: {macaddress: \"00:11\"}\n      set-name: lan0\n    up:\n      match:\n        name: enp3s0\n    \"eno1\": # first\n      dhcp4: true\n    all:\n      match: {name: en*}\n  bonds:\n    bond0:\n      interfaces:\n        - eno1\n", []mention{
			{line: 6, name: "enp3s0", purpose: "set up by netplan", need: needBoot}, {line: 9, name: "eno1", purpose: "port of bond bond0", need: needBoot},
		}},
		{"/etc/network/interfaces", "allow-hotplug eth0\niface eth0 inet dhcp\niface eth0 inet6 auto\niface eth1.5 inet manual\nauto vmbr0\niface vmbr0 inet static\n  bridge_ports eth2 eth1.7\n", []mention{
			{line: 7, name: "eth2", purpose: "port of bridge vmbr0", need: needBoot}, {line: 7, name: "eth1", purpose: "port of bridge vmbr0", need: needBoot},
			{line: 2, name: "eth0", purpose: "set up by ifupdown", need: needBoot}, {line: 6, name: "vmbr0", purpose: "set up by ifupdown", need: needBoot},
		}},
		{"a.nmconnection", "[connection]\nid=br\ntype=bridge\ninterface-name=br0\n[vlan]\nparent=eno1\n", []mention{{line: 6, name: "eno1", purpose: "connection br", need: needBoot}}},
		{"ifcfg-eno1", "TYPE=Ethernet\nDEVICE=eno1\nONBOOT=\"no\"\nMASTER=bond0\n", []mention{{line: 2, name: "eno1", purpose: "port of bond bond0", need: needLater}}},
	}
	for _, c := range cases {
		got := consumerParsers[c.file](c.file, c.text)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(mention{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.file, d)
		}
	}
}

func TestBaseOf(t *testing.T) {
	cases := map[string]string{
		"/dev/sda": "sda", "/dev/sdab12": "sdab", "/dev/nvme0n1": "nvme0n1", "/dev/nvme10n2p3": "nvme10n2", "/dev/nvme1": "nvme1", "/dev/md127": "md127", "/dev/md127p1": "md127", "/dev/dm-3": "dm-3",
		"/dev/mmcblk0p1": "mmcblk0", "/dev/vdb1": "vdb", "/dev/cciss/c0d0p1": "cciss/c0d0", "/dev/disk/by-path/pci-0000:03:00.0-nvme-1-part2": "pci-0000:03:00.0-nvme-1",
		"eth0": "eth0", "eno1": "eno1", "eno1np0": "eno1np0", "ens18": "ens18", "enp3s0f0np0": "enp3s0f0np0", "wlp2s0": "wlp2s0", "lan0": "lan0", "pci-0000:03:00.0": "pci-0000:03:00.0",
		"/dev/md/data": "", "/dev/mapper/a": "", "/dev/vg/lv": "", "/dev/sr0": "", "/dev/loop0": "", "/dev/zram0": "", "/dev/disk/by-uuid/1": "", "/dev/disk/by-id/x": "", "/dev/sda/x": "", "/dev/sd": "",
		"enx001122334455": "", "lan1": "", "lo": "", "vmbr0": "", "bond0": "", "enabled": "", "": "",
	}
	for name, want := range cases {
		if base, ok := baseOf(name, map[string]bool{"lan0": true}); (ok && base != want) || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", name, base, ok, want)
		}
	}
}

// nvpairs builds packed lists as ZFS writes them.
type nvpairs struct{ b []byte }

func (p *nvpairs) words(ws ...uint32) {
	for _, w := range ws {
		p.b = binary.BigEndian.AppendUint32(p.b, w)
	}
}

func (p *nvpairs) pair(name string, typ, elements uint32, value []byte) {
	var in nvpairs
	in.text(name)
	in.words(typ, elements)
	in.b = append(in.b, value...)
	p.words(uint32(len(in.b)+8), uint32(len(in.b)+40))
	p.b = append(p.b, in.b...)
}

func (p *nvpairs) text(s string) {
	p.words(uint32(len(s)))
	p.b = append(p.b, s...)
	p.b = append(p.b, make([]byte, (4-len(s)%4)%4)...)
}

// nvlist is a list of pairs with what stands before and after it.
func nvlist(fill func(*nvpairs)) []byte {
	var p nvpairs
	p.words(0, 1)
	fill(&p)
	p.words(0, 0)
	return p.b
}

func nvtext(s string) []byte {
	var p nvpairs
	p.text(s)
	return p.b
}

func zpoolCache() []byte {
	disk := func(path string) []byte {
		return nvlist(func(p *nvpairs) {
			p.pair("type", nvString, 1, nvtext("disk"))
			p.pair("guid", 8, 1, make([]byte, 8))
			p.pair("path", nvString, 1, nvtext(path))
		})
	}
	pool := nvlist(func(p *nvpairs) {
		p.pair("version", 8, 1, make([]byte, 8))
		p.pair("name", nvString, 1, nvtext("tank"))
		p.pair("vdev_tree", nvList, 1, nvlist(func(p *nvpairs) {
			p.pair("type", nvString, 1, nvtext("root"))
			p.pair("children", nvListArray, 2, append(disk("/dev/sdb1"), disk("/dev/disk/by-id/wwn-0x5-part1")...))
		}))
	})
	return append([]byte{nvEncodeXDR, 1, 0, 0}, nvlist(func(p *nvpairs) { p.pair("tank", nvList, 1, pool) })...)
}

func TestZpoolCache(t *testing.T) {
	got, err := parseZpoolCache(zpoolCache())
	want := []poolDisk{{"tank", "/dev/sdb1"}, {"tank", "/dev/disk/by-id/wwn-0x5-part1"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(poolDisk{})); d != "" || err != nil {
		t.Errorf("error %v; disks (-want +got):\n%s", err, d)
	}
	for n := range zpoolCache() { // cut short anywhere it is damaged, and never a panic
		if _, err := parseZpoolCache(zpoolCache()[:n]); err == nil {
			t.Fatalf("cut to %d bytes: no error", n)
		}
	}
}

// A by-path link means what udev linked it to, in /dev or in its own notes.
func TestByPathLinks(t *testing.T) {
	const name = "/dev/disk/by-path/pci-0000:02:00.0-scsi-0:2:0:0"
	packed := filepath.Join("..", "testdata", "hosts", "full61.tar.gz")
	if _, err := os.Stat(packed); err != nil {
		t.Fatal(err)
	}
	under, err := sysfs.OpenTreeFS(packed)
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]string{"/sys/dev/block/8:16": "../../block/sdb", "/sys/dev/block/8:0": "../../block/sda"}
	cases := map[string]struct {
		links map[string]string
		files map[string]string
		want  string
		leads string
	}{
		"linked":                {links: map[string]string{name: "../../sdb"}, want: "sdb", leads: leadsTo},
		"noted":                 {links: numbers, files: map[string]string{`/run/udev/links/disk\x2fby-path\x2fpci-0000:02:00.0-scsi-0:2:0:0/b8:16`: "0"}, want: "sdb", leads: leadsTo},
		"noted as of old":       {links: numbers, files: map[string]string{`/run/udev/links/\x2fdisk\x2fby-path\x2fpci-0000:02:00.0-scsi-0:2:0:0/b8:0`: ""}, want: "sda", leads: leadsTo},
		"not linked any more":   {files: map[string]string{"/dev/disk/by-uuid/x": ""}, leads: leadsNowhere},
		"linked to what is off": {links: map[string]string{name: "../../sdz"}, leads: leadsNowhere},
	}
	for what, c := range cases {
		root := sysfs.New(&sysfstest.FS{Under: under, Links: c.links, Files: c.files})
		r := newResolver(t.Context(), source.Host{Root: root})
		got, err := r.resolve(&mention{name: name})
		if err != nil || got.leads != c.leads || !strings.Contains(got.label, c.want) {
			t.Errorf("%s: %+v, error %v; want %s", what, got, err, c.want)
		}
	}
}

func FuzzConsumers(f *testing.F) {
	f.Add("/dev/sda1 /srv xfs logdev=/dev/sdb 0 0\nauto eth0\niface br0 inet manual\n bridge_ports eth0.1\n")
	f.Add("[Match]\nName=eno1\\\n eno2\n[Mount]\nWhat=/dev/sda1\n")
	f.Add("network:\n  ethernets: {eno1: {match: {name: \"e\"}}, ? : [}\n    - x\n")
	f.Add("global_filter = [ \"a|^/dev/sda[0-9]*$|\", \"r\"\nARRAY /dev/md0 devices=,/dev/sda\n \tdevices=/dev/sdb\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for file, parse := range consumerParsers {
			for _, m := range parse(file, text) {
				if m.line < 0 || m.line > lines {
					t.Errorf("%s: line %d of %d", file, m.line, lines)
				}
				if base, ok := baseOf(m.name, nil); ok && base == "" {
					t.Errorf("%s: %q depends on nothing", file, m.name)
				}
			}
		}
	})
}

func FuzzZpoolCache(f *testing.F) {
	f.Add(zpoolCache())
	f.Add(zpoolCache()[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		disks, _ := parseZpoolCache(b)
		if len(disks)*8 > len(b) {
			t.Errorf("%d disks out of %d bytes", len(disks), len(b))
		}
	})
}
