package scrub

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

func junk(s string) bool { return len(s) < 5 || strings.Trim(s, s[:1]) == "" }

func options() Options { return Options{Key: []byte("of a test"), Junk: junk} }

func file(s string) *sysfs.Entry { return &sysfs.Entry{Data: []byte(s)} }

// scrubbed scrubs files by path and gives everything as one text.
func scrubbed(t *testing.T, files map[string]string, o Options) (sysfs.Recording, string, Report) {
	t.Helper()
	rec := sysfs.Recording{}
	for p, s := range files {
		rec[p] = file(s)
	}
	rep, err := Scrub(rec, o)
	if err != nil {
		t.Fatal(err)
	}
	return rec, whole(rec), rep
}

func whole(rec sysfs.Recording) string {
	var out strings.Builder
	for _, p := range rec.Paths() {
		fmt.Fprintf(&out, "%s %s\n%s\n", p, rec[p].Link, rec[p].Data)
	}
	return out.String()
}

const dev = "/sys/devices/pci0000:00/0000:00:1f.2/"

// Each identifier is named once by the file or the shape that tells what it is; everywhere
// else only the table can find it.
func TestEveryFormIsFound(t *testing.T) {
	cases := []struct {
		name  string
		files map[string]string
		gone  []string
		stays []string
	}{
		{"serial", map[string]string{dev + "serial": "WD-WX11A22B3344\n", "/console.log": "ata1: WD-WX11A22B3344 (wd-wx11a22b3344)", "/run/udev/data/b8:0": "S:disk/by-id/ata-WDC_WD-WX11A22B3344-part1\nE:X=57442d575831314132324233333434\n"},
			[]string{"wx11a22b3344", "57442d5758"}, []string{"ata1: ", "part1"}},
		{"serial with blanks", map[string]string{dev + "serial": "AB 12 34 CD\n", "/console.log": `x ab_12_34_cd AB\x2012\x2034\x20CD ab1234cd`}, []string{"ab 12 34 cd", "ab_12_34_cd", "ab1234cd", `12\x2034`}, nil},
		{"short serial", map[string]string{dev + "serial": "12345\n", dev + "size": "123456\n", dev + "other": "at 12345 of\n", "/console.log": "usb 1-1: SerialNumber: 12345\n[ 12345.1] x 12345"},
			[]string{"serialnumber: 12345"}, []string{"123456\n", "at 12345 of", "x 12345"}},
		{"junk", map[string]string{dev + "serial": "0000\n", "/console.log": "SerialNumber: 0000"}, nil, []string{"SerialNumber: 0000"}},
		{"placeholder", map[string]string{"/sys/devices/virtual/dmi/id/board_serial": "To Be Filled By O.E.M.\n"}, nil, []string{"To Be Filled By O.E.M."}},
		{"root hub", map[string]string{"/sys/devices/0000:01:00.0/usb1/serial": "0000:01:00.0\n"}, nil, []string{"\n0000:01:00.0"}},
		{"said in the log", map[string]string{"/console.log": "usb 2-1: SerialNumber: DD5641988396F\nx DD5641988396F"}, []string{"dd5641988396f"}, nil},
		{"mac", map[string]string{dev + "net/eth0/address": "52:54:00:Aa:0b:01\n", "/etc/network/interfaces": "52-54-00-AA-0B-01 enx525400aa0b01 525400AA0B01"},
			[]string{"aa:0b:01", "aa-0b-01", "525400aa0b01"}, []string{"52:54:00", "52-54-00", "enx525400"}},
		{"no mac", map[string]string{dev + "net/lo/address": "00:00:00:00:00:00\n", dev + "broadcast": "ff:ff:ff:ff:ff:ff"}, nil, []string{"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}},
		{"uuid", map[string]string{"/proc/cmdline": "root=UUID=0a1b2c3d-1111-4222-8333-444455556666 ro", "/etc/fstab": "UUID=0A1B2C3D-1111-4222-8333-444455556666 0a1b2c3d:11114222:83334444:55556666 0a1b2c3d111142228333444455556666"},
			[]string{"0a1b2c3d", "444455556666"}, []string{"root=UUID=", " ro"}},
		{"machine id", map[string]string{"/etc/machine-id": "4f1d2c3b5a697887766554433221100f\n", "/console.log": "x=4f1d2c3b5a697887766554433221100f"}, []string{"4f1d2c3b"}, nil},
		{"types of partitions", map[string]string{"/run/udev/data/b8:1": "E:ID_PART_ENTRY_TYPE=0fc63daf-8483-4772-8e79-3d69d8477de4\nE:ID_PART_ENTRY_UUID=11111111-2222-4333-8444-555555555555\n"},
			[]string{"11111111-2222"}, []string{"0fc63daf-8483-4772-8e79-3d69d8477de4"}},
		{"vfat", map[string]string{"/etc/fstab": "UUID=1A2B-3C4D /boot/efi vfat\n"}, []string{"1a2b-3c4d"}, []string{"/boot/efi"}},
		{"lvm", map[string]string{dev + "dm/uuid": "LVM-Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4eZyXw9vUt8sRq7pOn6mLk5jIh4gFe3dCb\n", "/etc/lvm/devices": "PVID=Ab3dEf-6hIj-9lMn-2pQr-5tUv-8xYz-1BcD4e"},
			[]string{"ab3def", "zyxw9v"}, []string{"LVM-"}},
		{"luks", map[string]string{dev + "dm/uuid": "CRYPT-LUKS2-0a1b2c3d111142228333444455556666-luks\n"}, []string{"0a1b2c3d"}, []string{"CRYPT-LUKS2-", "-luks"}},
		{"wwid", map[string]string{dev + "wwid": "naa.50014ee2b5a8f3c1\n", "/etc/fstab": "/dev/disk/by-id/wwn-0x50014EE2B5A8F3C1 scsi-350014ee2b5a8f3c1"}, []string{"2b5a8f3c1"}, []string{"naa.50014ee", "wwn-0x50014EE"}},
		{"nvme wwid", map[string]string{dev + "wwid": "nvme.1b36-53355a374e45304e393035313430-51454d55-00000001\n", "/console.log": "S5Z7NE0N905140"}, []string{"53355a37", "s5z7ne0n905140"}, []string{"nvme.1b36-", "-51454d55-00000001"}},
		{"host", map[string]string{"/proc/sys/kernel/hostname": "Kestrel7.example-corp.com\n", "/proc/cmdline": "root=/dev/mapper/kestrel7--vg-root", "/console.log": "systemd[1]: Hostname set to <kestrel7>. example-corp\n"},
			[]string{"kestrel7", "example-corp"}, []string{".com", "--vg-root"}},
		{"host of the kernel's name", map[string]string{"/etc/hostname": "usb\n", "/console.log": "usb 1-1: new\n"}, []string{"hostname \nusb"}, []string{"usb 1-1: new"}},
		{"addresses", map[string]string{"/etc/netplan/x.yaml": "addresses: [10.1.2.3/24, 192.0.2.77, fd00:1::5:6]\ngateway4: 10.1.2.1\nversion: 7.9.1.2\n", dev + "version": "7.8.9.1\n"},
			[]string{"10.1.2.3", "10.1.2.1", "192.0.2.77", "fd00:1::5:6"}, []string{"/24", "7.8.9.1", "7.9.1.2", "10."}},
		{"secrets", map[string]string{"/etc/netplan/w.yaml": "access-points:\n  ssid: \"TheSmiths\"\n  password: \"hunter2 and more\"\n", "/etc/network/interfaces": "wpa-ssid TheSmiths\nwpa-psk 0123456789abcdef\n", "/etc/fstab": "//s/x /x cifs username=bob,password=hunter3,rw 0 0\n",
			"/console.log": "MPTCP token hash table entries: 1024\n"}, []string{"hunter", "0123456789abcdef", "bob", "thesmiths"}, []string{",rw 0 0", "token hash table"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rec, text, _ := scrubbed(t, c.files, options())
			for _, g := range c.gone {
				if strings.Contains(strings.ToLower(text), g) {
					t.Errorf("%q is still in\n%s", g, text)
				}
			}
			for _, s := range c.stays {
				if !strings.Contains(text, s) {
					t.Errorf("%q is not in\n%s", s, text)
				}
			}
			for p, was := range c.files {
				if e := rec[p]; e != nil && len(e.Data) != len(was) && c.name != "secrets" && c.name != "addresses" {
					t.Errorf("%s is of another length: %q, was %q", p, e.Data, was)
				}
			}
		})
	}
}

func TestEqualStaysEqual(t *testing.T) {
	files := map[string]string{dev + "a/serial": "S5Z7NE0N905140", dev + "b/serial": "S5Z7NE0N905141", dev + "c/serial": "S5Z7NE0N905140\n"}
	one, text, rep := scrubbed(t, files, options())
	get := func(rec sysfs.Recording, p string) string { return strings.TrimSpace(string(rec[dev+p].Data)) }
	if get(one, "a/serial") != get(one, "c/serial") || get(one, "a/serial") == get(one, "b/serial") {
		t.Errorf("equal and different are not kept:\n%s", text)
	}
	if !regexp.MustCompile(`^[A-Z][0-9][A-Z][0-9][A-Z]{2}[0-9][A-Z][0-9]{6}$`).MatchString(get(one, "a/serial")) {
		t.Errorf("another shape: %s", get(one, "a/serial"))
	}
	if d := cmp.Diff([]Count{{Serial, 2, 3}}, rep.Classes); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	again, _, _ := scrubbed(t, files, options())
	other, _, _ := scrubbed(t, files, Options{Key: []byte("another"), Junk: junk})
	if get(one, "a/serial") != get(again, "a/serial") || get(one, "a/serial") == get(other, "a/serial") {
		t.Error("what takes a value's place does not follow from the key")
	}
}

func TestBinaries(t *testing.T) {
	raw := make([]byte, 0x1b)
	raw[0], raw[1], raw[0x18], raw[0x19], raw[0x1a] = 17, 0x1b, 2, 3, 4
	dimm := string(raw) + "DIMM A1\x00SN99887766\x00TAG-4711-X\x00PART-5\x00\x00"
	rec, text, rep := scrubbed(t, map[string]string{
		"/sys/firmware/dmi/entries/17-0/raw": dimm,
		"/sys/firmware/dmi/entries/1-0/raw":  "\x01\x04\x00\x00x\x00\x00",
		"/sys/firmware/dmi/entries/11-0/raw": "\x0b\x04\x00\x00x\x00\x00",
		dev + "vpd_pg80":                     "\x00\x80\x00\x0aUD90TB0002",
		dev + "vpd_pg83":                     "\x00\x83\x00\x02\x01\x02\x00\x00\xff\x01",
		"/etc/zfs/zpool.cache":               "\x01\x01\x00\x00name\x00tank",
		"/proc/1/environ":                    "SECRET=x\x00container=lxc\x00HOME=/root\x00",
		"/var/lib/dpkg/status":               "Package: udev\nStatus: install ok installed\nMaintainer: A. Person\nVersion: 1.2\n\n",
		"/sys/kernel/notes":                  "\x04\x00\x00\x00GNU\x00",
	}, options())
	for _, gone := range []string{"SN99887766", "TAG-4711-X", "UD90TB0002", "tank", "SECRET", "Person"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	got := rec["/sys/firmware/dmi/entries/17-0/raw"].Data
	if len(got) != len(dimm) || !bytes.Contains(got, []byte("DIMM A1\x00")) || !bytes.Contains(got, []byte("\x00PART-5\x00")) {
		t.Errorf("the memory module is %q", got)
	}
	for p, want := range map[string]string{"/proc/1/environ": "container=lxc\x00", "/var/lib/dpkg/status": "Package: udev\nStatus: install ok installed\nVersion: 1.2\n\n", "/sys/kernel/notes": "\x04\x00\x00\x00GNU\x00"} {
		if string(rec[p].Data) != want {
			t.Errorf("%s is %q, want %q", p, rec[p].Data, want)
		}
	}
	left := []string{"/etc/zfs/zpool.cache", "/sys/firmware/dmi/entries/1-0/raw", "/sys/firmware/dmi/entries/11-0/raw", dev + "vpd_pg83"}
	if d := cmp.Diff(map[string]bool{left[0]: true, left[1]: true, left[2]: true, left[3]: true}, set(rep.Left)); d != "" {
		t.Errorf("left out (-want +got):\n%s", d)
	}
	for _, p := range left {
		if rec[p].Errno != unix.ENODATA {
			t.Errorf("%s answers %v, want ENODATA", p, rec[p].Errno)
		}
	}
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// Paths, links and errors' paths change with what they name, and still lead there.
func TestPathsChangeToo(t *testing.T) {
	rec := sysfs.Recording{
		"/sys/class/net/enx525400aa0003":        {Link: "../../devices/x/net/enx525400aa0003"},
		"/sys/devices/x/net/enx525400aa0003":    {Dir: true},
		"/sys/devices/x/net/enx525400aa0003/up": {Errno: unix.EINVAL},
		"/sys/devices/x/address":                file("52:54:00:aa:00:03\n"),
	}
	if _, err := Scrub(rec, options()); err != nil {
		t.Fatal(err)
	}
	text := whole(rec)
	if strings.Contains(text, "525400aa0003") || len(rec) != 4 {
		t.Fatalf("still there:\n%s", text)
	}
	for p, e := range rec {
		if e.Link != "" && rec["/sys"+strings.TrimPrefix(e.Link, "../..")] == nil {
			t.Errorf("%s leads to %s, which is not there:\n%s", p, e.Link, text)
		}
	}
}

func TestFakeIP(t *testing.T) {
	s := scrubber{o: options()}
	for _, in := range []string{"10.1.2.3", "172.16.5.6", "192.168.1.1", "169.254.3.4", "8.8.8.8", "fe80::5054:ff:feaa:3", "fd12::1:2", "2a00:1450::66"} {
		was, got := netip.MustParseAddr(in), netip.MustParseAddr(s.fake(IP, in))
		if got == was || got.Is4() != was.Is4() || got.IsPrivate() != was.IsPrivate() || got.IsLinkLocalUnicast() != was.IsLinkLocalUnicast() {
			t.Errorf("in the place of %v stands %v", was, got)
		}
	}
}

func FuzzScrub(f *testing.F) {
	for _, s := range []string{"SerialNumber: AB12345678\n52:54:00:aa:00:03", "root=UUID=0a1b2c3d-1111-4222-8333-444455556666", "LVM-", "naa.", "::::1.2.3.4:5", "nvme.1b36-zz-1-00000001", "\x80\x00", "hostname x.y.z password=", "E:ID_SERIAL_SHORT=\xff"} {
		f.Add(s, dev+"serial")
		f.Add(s, "/console.log")
		f.Add(s, "/sys/firmware/dmi/entries/17-0/raw")
		f.Add(s, "/run/udev/data/b8:0")
	}
	f.Fuzz(func(t *testing.T, text, p string) {
		if !strings.HasPrefix(p, "/") {
			return
		}
		rec := sysfs.Recording{p: file(text), dev + "copy": file("x " + text), dev + "serial": file(text)}
		if _, err := Scrub(rec, options()); err != nil {
			return // it is refused, and not given away
		}
		for _, m := range uuidShape.FindAllString(text, -1) {
			digits := strings.ToLower(strings.ReplaceAll(m, "-", ""))
			known := strings.Trim(digits, "0") == "" || strings.Trim(digits, "f") == ""
			for _, k := range wellKnown {
				known = known || k == digits
			}
			at := strings.Index(text, m)
			if !known && !cutOut(text, at, at+len(m)) && rec[dev+"copy"] != nil && bytes.Contains(rec[dev+"copy"].Data, []byte(m)) {
				t.Errorf("%q is still in %q", m, rec[dev+"copy"].Data)
			}
		}
	})
}
