package hw

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func TestLocate(t *testing.T) {
	f := &sysfstest.FS{
		Files: map[string]string{
			"/sys/devices/pci0000:00/0000:00:14.0/usb2/version":                 " 3.10\n",
			"/sys/devices/pci0000:00/0000:00:14.0/usb1/version":                 " 2.00\n",
			"/sys/devices/pci0000:00/0000:00:1f.2/ata7/ata_port/ata7/port_no":   "3\n",
			"/sys/devices/pci0000:00/0000:00:14.0/usb2/2-0:1.0/usb2-port4/name": "",
		},
		Links: map[string]string{"/sys/devices/pci0000:00/0000:00:14.0/usb2/2-0:1.0/usb2-port3/peer": "../../../usb1/1-0:1.0/usb1-port9"},
	}
	for dir, want := range map[string]string{
		"pci0000:00/0000:00:05.0/0000:03:00.0":                                           "pci0000:00/05.0/00.0",
		"pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme3":     "pci0000:00/0e.0/pci10000:e0/06.0/00.0",
		"pci0000:00/0000:00:04.0/0000:03:00.0/nvme/nvme2/nvme2c1n7":                      "pci0000:00/04.0/00.0/ns7",
		"pci0000:00/0000:00:03.0/virtio4/block/vdb":                                      "pci0000:00/03.0",
		"pci0000:00/0000:00:1f.2/ata7/host6/target6:0:0/6:0:0:0/block/sdx":               "pci0000:00/1f.2/port3/0:0:0",
		"pci0000:00/0000:00:03.0/0000:02:00.0/host9/target9:2:1/9:2:1:0/block/sda":       "pci0000:00/03.0/00.0/2:1:0",
		"pci0000:00/0000:00:14.0/usb1/1-9":                                               "pci0000:00/14.0/usb/9",
		"pci0000:00/0000:00:14.0/usb2/2-3":                                               "pci0000:00/14.0/usb/9",
		"pci0000:00/0000:00:14.0/usb2/2-3/2-3.1/2-3.1:1.0/host3/target3:0:0/3:0:0:1":     "pci0000:00/14.0/usb/9.1/1.0/0:0:1",
		"pci0000:00/0000:00:14.0/usb2/2-4":                                               "pci0000:00/14.0/usb/ss4",
		"pci0000:00/0000:00:1f.4/i2c-9/9-0018/hwmon/hwmon3":                              "pci0000:00/1f.4/0018",
		"platform/coretemp.1/hwmon/hwmon5":                                               "platform/coretemp.1",
		"pci0000:00/0000:00:1a.0/mmc_host/mmc1/mmc1:0001/block/mmcblk1":                  "pci0000:00/1a.0/0001",
		"pci0000:00/0000:00:06.0/virtio1/net/eth1":                                       "pci0000:00/06.0",
		"pci0000:3a/0000:3a:00.0/0000:3b:00.0/host0/port-0:3/end_device-0:3/target0:0:3": "pci0000:3a/00.0/00.0",
	} {
		d := &device{ctx: t.Context(), root: sysfs.New(f)}
		if got, err := d.locate("/sys/devices/" + dir); got != want || err != nil {
			t.Errorf("locate(%s) = %q, %v; want %q", dir, got, err, want)
		}
	}
}

func TestJunk(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "1": true, "0000": true, "00000000000000": true, "FFFFFFFF": true, "0123456789ABCDE": true, "012345678904": true,
		"123456789012": true, "12345": true, "S5Z7NE0N905140": false, "WD-SATA01": false, "UD90TB0002": false, "50014ee2b5a8f3c1": false, "12346": false,
	} {
		if got := junk(s); got != want {
			t.Errorf("junk(%q) = %v", s, got)
		}
	}
}

func TestAliasMAC(t *testing.T) {
	for s, want := range map[string][]string{
		"00:1b:21:aa:bb:cc": {"mac:00:1b:21:aa:bb:cc"},
		"52:54:00:12:34:56": nil, // locally administered
		"01:00:5e:00:00:01": nil, // a group
		"00:00:00:00:00:00": nil,
		"00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01": nil, // InfiniBand
	} {
		mac, err := net.ParseMAC(s)
		if err != nil {
			t.Fatal(err)
		}
		d := &device{}
		d.aliasMAC(mac)
		if diff := cmp.Diff(want, d.aliases); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
}

func TestPermanentAddress(t *testing.T) {
	maker := net.HardwareAddr{0, 0x1b, 0x21, 1, 2, 3}
	files := map[string]string{"/sys/devices/x/net/eth0/address": "52:54:00:00:00:01\n", "/sys/devices/x/net/eth0/addr_assign_type": "3\n"}
	read := func(answer net.HardwareAddr, err error) *device {
		d := &device{ctx: t.Context(), root: sysfs.New(&sysfstest.FS{Files: files}), name: "eth0", dir: "/sys/devices/x/net/eth0"}
		d.macAddress(func(string) (net.HardwareAddr, error) { return answer, err })
		return d
	}
	if d := read(maker, nil); len(d.aliases) != 1 || d.aliases[0] != "mac:00:1b:21:01:02:03" {
		t.Errorf("a member of a bond is known by %v, not by its permanent address", d.aliases)
	}
	if d := read(nil, nil); len(d.aliases) != 0 || d.unsure != nil {
		t.Errorf("an address that was set by hand is an alias: %v, %v", d.aliases, d.unsure)
	}
	if d := read(nil, os.ErrDeadlineExceeded); d.unsure == nil {
		t.Error("netlink failed, the present address is not permanent, and nothing is in doubt")
	}
	files["/sys/devices/x/net/eth0/addr_assign_type"] = "0\n"
	files["/sys/devices/x/net/eth0/address"] = maker.String() + "\n"
	if d := read(nil, os.ErrDeadlineExceeded); d.unsure != nil || len(d.aliases) != 1 {
		t.Errorf("netlink failed, the present address is permanent: aliases %v, in doubt %v", d.aliases, d.unsure)
	}
}

// Two disks that bear one serial number are known by where they sit.
func TestSharedAlias(t *testing.T) {
	a := &device{aliases: []string{"serial:x"}, place: "at:1"}
	b := &device{aliases: []string{"serial:x"}, place: "at:2"}
	c := &device{aliases: []string{"serial:x", "serial:y"}, place: "at:3"}
	e := &device{place: "at:2"}
	var ids []string
	all := []*device{a, b, c, e}
	if errs := identify(source.Host{}, all); errs != nil {
		t.Error(errs)
	}
	for _, d := range all {
		ids = append(ids, d.ID)
	}
	if diff := cmp.Diff([]string{"at:1", "at:2", "serial:y", "at:2#2"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestParseTransfers(t *testing.T) {
	for s, want := range map[string]int64{"2.5 GT/s PCIe": 2.5e9, "8 GT/s": 8e9, "32.0 GT/s PCIe": 32e9} {
		if got, err := parseTransfers(s); got != want || err != nil {
			t.Errorf("parseTransfers(%q) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "Unknown", "8", "-8 GT/s", "NaN GT/s", "8 GB/s"} {
		if got, err := parseTransfers(s); err == nil {
			t.Errorf("parseTransfers(%q) = %d, want an error", s, got)
		}
	}
}

func TestLimits(t *testing.T) {
	cases := []struct {
		limit, crit int64
		want        float64 // 0: none
	}{{70000, 90000, 70}, {90000, 70000, 70}, {100000, 100000, 95}, {0, 95000, 85}, {0, 70000, 65}, {127000, 90000, 85}, {80000, 0, 80}, {0, 0, 0}, {-273150, 0, 0}, {65261850, 65261850, 0}}
	for _, c := range cases {
		s := reading{}
		s.limits(c.limit, c.crit, 0)
		if got, _ := s.Attrs["limit_celsius"].Number(); got != c.want {
			t.Errorf("limits(%d, %d) = %g, want %g", c.limit, c.crit, got, c.want)
		}
	}
}

const ids = `# a list of ids
8086  Intel Corporation
	10d3  82574L Gigabit Network Connection
C 02  Network controller
	00  Ethernet controller
`

func TestName(t *testing.T) {
	list := filepath.Join(t.TempDir(), "pci.ids")
	if err := os.WriteFile(list, []byte(ids), 0o600); err != nil {
		t.Fatal(err)
	}
	known := snapshot.Subject{Kind: pciKind, ID: "a", Label: "network 8086:10d3 (0000:04:00.0)"}
	known.Set("ids", snapshot.Text("8086:10d3"))
	known.Set("class_code", snapshot.Text("020000"))
	known.Set("address", snapshot.Text("0000:04:00.0"))
	unknown := snapshot.Subject{Kind: pciKind, ID: "b", Label: "other ffff:0001"}
	unknown.Set("ids", snapshot.Text("ffff:0001"))
	disk := snapshot.Subject{Kind: diskKind, ID: "c", Label: "disk"}
	snap := &snapshot.Snapshot{Subjects: []snapshot.Subject{known, unknown, disk}}

	t.Setenv("PCIDB_PATH", filepath.Join(t.TempDir(), "none"))
	Name(t.Context(), snap)
	if snap.Subjects[0].Label != known.Label {
		t.Errorf("without a list the label is %q", snap.Subjects[0].Label)
	}
	t.Setenv("PCIDB_PATH", list)
	Name(t.Context(), snap)
	var labels []string
	for _, s := range snap.Subjects {
		labels = append(labels, s.Label)
	}
	want := []string{"Intel Corporation 82574L Gigabit Network Connection (0000:04:00.0)", "other ffff:0001", "disk"}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func FuzzUnitSerial(f *testing.F) {
	f.Add([]byte("\x00\x80\x00\x0aUD90TB0002"))
	f.Add([]byte("\x00\x80\x00\x14WD-SATA01           "))
	f.Add([]byte("\x00\x80\xff\xffcut"))
	f.Add([]byte("\x00\x83\x00\x04abcd"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, page []byte) {
		s := unitSerial(page)
		if !utf8.ValidString(s) || strings.TrimSpace(s) != s || len(s) > max(0, len(page)-4) {
			t.Errorf("unitSerial(%q) = %q", page, s)
		}
	})
}

func FuzzParseTransfers(f *testing.F) {
	f.Add("2.5 GT/s PCIe")
	f.Add("Unknown")
	f.Add("1e300 GT/s")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseTransfers(s); err == nil && (n < 0 || n > 1e12) {
			t.Errorf("parseTransfers(%q) = %d", s, n)
		}
	})
}

func FuzzModalias(f *testing.F) {
	f.Add("8086:10d3", "020000")
	f.Add("", "")
	f.Add("8086", "c0330f0")
	f.Fuzz(func(t *testing.T, ids, class string) {
		s := snapshot.Subject{}
		s.Set("ids", snapshot.Text(ids))
		s.Set("class_code", snapshot.Text(class))
		if m := modalias(&s); len(m) != len("pci:v00008086d000010D3sv00000000sd00000000bc02sc00i00") {
			t.Errorf("modalias(%q, %q) = %q", ids, class, m)
		}
	})
}
