package hw

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/kmsg"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// Every pattern has a sample, and every sample is told by its pattern alone.
func TestPatterns(t *testing.T) {
	b, err := os.ReadFile("../testdata/kmsg/samples.tsv")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 3 || f[1] == "" {
			t.Fatalf("%q: want code, kernels and line", line)
		}
		shown[f[0]] = true
		if p := patternOf(f[2]); p == nil || p.code != f[0] {
			t.Errorf("%s: %q is %+v", f[0], f[2], p)
		}
	}
	codes := map[string]bool{}
	for _, p := range patterns {
		if !shown[p.code] {
			t.Errorf("%s has no sample", p.code)
		}
		if codes[p.code] || p.means == "" || p.severity.Rank() == 0 || len(p.shapes) == 0 {
			t.Errorf("%s stands twice, or lacks its meaning, severity or shapes", p.code)
		}
		codes[p.code] = true
	}
}

// What a healthy kernel says is no trouble.
func TestNoPattern(t *testing.T) {
	for _, text := range []string{
		"", "*", "EDAC MC: Ver: 3.0.0", "pcieport 0000:00:02.0: AER: enabled with IRQ 24", "megaraid_sas 0000:02:00.0: Firmware crash dump is not available",
		"sd 6:2:1:0: [sdc] Sense Key : Hardware Error [current] ", "e1000e 0000:04:00.0: Interrupt Throttling Rate (ints/sec) set to dynamic conservative mode",
		"usb 2-2: new SuperSpeed USB device number 3 using xhci_hcd", "xhci_hcd 0000:01:00.0: WARN Can't disable streams for endpoint 0x82, streams are being disabled already",
		"Kernel command line: xhci: HC died; cleaning up", "thermal LNXTHERM:00: registered as thermal_zone0", "sd 2:0:0:0: Power-on or device reset occurred",
	} {
		if p := patternOf(text); p != nil {
			t.Errorf("%q is %s", text, p.code)
		}
	}
}

func TestDeviceName(t *testing.T) {
	for _, c := range []struct{ text, key, want string }{
		{"xhci_hcd 0000:01:00.0: HC died; cleaning up", "+pci:0000:01:00.0", "pci:0000:01:00.0"},
		{"usb 2-2.1: USB disconnect, device number 3", "c189:130", "usb:2-2.1"},
		{"usb usb1-port3: over-current condition", "+usb:usb1-port3", "port:1-port3"},
		{"usb 1-1-port2: over-current condition", "", "port:1-1-port2"},
		{"hub 2-0:1.0: over-current condition", "+usb:2-0:1.0", "usb:2-0"},
		{"sd 2:0:0:0: [sdc] tag#4 uas_eh_abort_handler 0", "+scsi:2:0:0:0", "scsi:2"},
		{"scsi host2: uas_eh_device_reset_handler start", "+scsi:host2", "scsi:2"},
		{"nvme nvme0: I/O 1 QID 2 timeout, aborting", "c241:0", "nvme:nvme0"},
		{"I/O error, dev sdc, sector 0 op 0x0:(READ)", "", "block:sdc"},
		{"I/O error, dev nvme0n1, sector 0", "", "block:nvme0n1"},
		{"EXT4-fs error (device sda1): ext4_lookup", "", "block:sda"},
		{"EXT4-fs (nvme0n1p2): Remounting filesystem read-only", "", "block:nvme0n1"},
		{"XFS (sdb1): Metadata corruption detected", "", "block:sdb"},
		{"ata1.00: failed command: READ", "", "ata:ata1"},
		{"NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out", "", "net:eth0"},
		{"nvme nvme0: pci function 0000:05:00.0", "", "nvme:nvme0"},
		{"md/raid1:md0: Disk failure on sda1, disabling device.", "", "md:md0"},
		{"Buffer I/O error", "b8:0", "b8:0"},
		{"something else", "", ""},
	} {
		got := deviceName(&kmsg.Record{Text: c.text, Device: c.key})
		if strings.HasPrefix(got, "scsi:") {
			got, _, _ = strings.Cut(got, ":0:")
		}
		if got != c.want {
			t.Errorf("%q is about %q, want %q", c.text, got, c.want)
		}
	}
}

// logHost is a host of two USB controllers and a disk, with a log of its own.
func logHost(log string) *sysfstest.FS {
	const (
		a    = "/sys/devices/pci0000:00/0000:00:14.0"
		disk = "/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"
	)
	return &sysfstest.FS{
		Files: map[string]string{
			"/console.log": log, a + "/class": "0x0c0330\n", a + "/usb1/version": " 2.00\n", a + "/usb2/version": " 3.00\n",
			disk + "/wwid": "naa.50014ee2b5a8f3c1\n", disk + "/block/sda/removable": "0\n", disk + "/model": "WDC\n",
			"/sys/devices/pci0000:00/0000:00:1f.2/ata1/ata_port/ata1/port_no": "1\n",
		},
		Links: map[string]string{
			"/sys/bus/usb/devices/usb1": a + "/usb1", "/sys/bus/usb/devices/usb2": a + "/usb2",
			a + "/usb2/2-0:1.0/usb2-port2/peer": "../../../usb1/1-0:1.0/usb1-port6",
			"/sys/class/pci_bus/0000:05":        "/sys/devices/pci0000:00/0000:00:05.0/pci_bus/0000:05",
			"/sys/bus/pci/devices/0000:00:14.0": a, "/sys/block/sda": disk + "/block/sda", disk + "/block/sda/device": "../../../0:0:0:0",
			"/sys/bus/scsi/devices/0:0:0:0": disk, "/sys/class/ata_port/ata1": "/sys/devices/pci0000:00/0000:00:1f.2/ata1/ata_port/ata1",
		},
	}
}

func readLog(t *testing.T, log string) []snapshot.Subject {
	t.Helper()
	subjects, err := readMessages(t.Context(), source.Host{Root: sysfs.New(logHost(log))})
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

// Names mean what they meant at that time.
func TestMessagesAreJoined(t *testing.T) {
	log := strings.Join([]string{
		"[    1.000000] usb 2-2: New USB device found, idVendor=0bda, idProduct=9210, bcdDevice=20.01",
		"[    1.100000] scsi host4: usb-storage 2-2:1.0",
		"[    1.200000] sd 4:0:0:0: [sda] 196608 512-byte logical blocks: (101 MB/96.0 MiB)",
		"[    2.000000] I/O error, dev sda, sector 0 op 0x0:(READ)",
		"[    2.100000] I/O error, dev sda, sector 8 op 0x0:(READ)",
		"[    2.500000] usb 2-2: USB disconnect, device number 2",
		"[    3.000000] sd 0:0:0:0: [sda] 1000 512-byte logical blocks: (512 kB/500 KiB)",
		"[    4.000000] I/O error, dev sda, sector 0 op 0x0:(READ)",
		"[    4.500000] sd 0:0:0:0: rejecting I/O to offline device",
		"[    5.000000] usb usb2-port2: over-current condition",
		"[    6.000000] ata1.00: failed command: READ DMA",
		"[    7.000000] xhci_hcd 0000:00:14.0: HC died; cleaning up",
		"[    8.000000] e1000e 0000:09:00.0 eth7: NIC Link is Down",
		"[    9.000000] nvme nvme7: pci function 0000:05:00.0",
		"[    9.100000] nvme nvme7: I/O 1 QID 2 timeout, aborting",
		"not the kernel's: HC died; cleaning up",
	}, "\n")
	type told struct {
		ID, Parent string
		Count      int64
	}
	var got []told
	for _, s := range readLog(t, log) {
		if s.Kind == messageKind {
			n, _ := s.Attrs["count"].Int()
			got = append(got, told{s.ID, s.Parent, n})
		}
	}
	const usb = "pci0000:00/14.0/usb/6/0bda:9210"
	want := []told{
		{"io-error@" + usb, "hw.usb/" + usb, 2},
		{"usb-disconnect@" + usb, "hw.usb/" + usb, 1},
		{"io-error@wwid:naa.50014ee2b5a8f3c1", "hw.disk/wwid:naa.50014ee2b5a8f3c1", 1},
		{"scsi-offlined@wwid:naa.50014ee2b5a8f3c1", "hw.disk/wwid:naa.50014ee2b5a8f3c1", 1},
		{"usb-over-current@pci0000:00/14.0/usb/6", "hw.xhci/pci0000:00/14.0", 1},
		{"ata-failed-command@pci0000:00/1f.2/port1", "hw.pci/pci0000:00/1f.2", 1},
		{"xhci-died@pci0000:00/14.0", "hw.xhci/pci0000:00/14.0", 1},
		{"nic-link-down@gone-pci", "", 1},
		{"nvme-timeout@pci0000:00/05.0/00.0", "hw.pci/pci0000:00/05.0/00.0", 1}, // taken out by now
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

func TestFloodIsBounded(t *testing.T) {
	var log strings.Builder
	for range 20_000 {
		log.WriteString("[   10.000000] I/O error, dev sda, sector 0\n")
	}
	for _, s := range readLog(t, log.String()) {
		if n, _ := s.Attrs["count"].Int(); s.Kind == messageKind && n != maxCount {
			t.Errorf("counted %d, want %d", n, maxCount)
		}
		if n, _ := s.Attrs["per_hour"].Int(); s.Kind == messageKind && n != 10_000 {
			t.Errorf("%d an hour", n)
		}
	}
	log.Reset()
	for i := range maxMessages + 5 {
		log.WriteString("[   10.000000] md/raid1:md" + strings.Repeat("0", i) + ": Disk failure on sda\n")
	}
	subjects, err := readMessages(t.Context(), source.Host{Root: sysfs.New(logHost(log.String()))})
	if err == nil || len(subjects) != maxMessages+1 {
		t.Errorf("%d subjects and error %v, want %d and one", len(subjects), err, maxMessages+1)
	}
}

func TestUSBChips(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range append(bridges[:len(bridges):len(bridges)], hubs...) {
		if seen[b.ids] || len(b.ids) != 9 || b.chip == "" {
			t.Errorf("%+v stands twice or is odd", b)
		}
		seen[b.ids] = true
	}
	d := &device{}
	if got := d.usbChip("0bda:9210"); got != "Realtek RTL9210" || d.Text("smart_tunnel") != "sntrealtek" {
		t.Errorf("%q, %v", got, d.Attrs)
	}
}

func TestParseAER(t *testing.T) {
	for s, want := range map[string]int64{"RxErr 0\nBadTLP 3\nTOTAL_ERR_COR 3\n": 3, "TOTAL_ERR_FATAL 0": 0} {
		if n, err := parseAER(s); n != want || err != nil {
			t.Errorf("parseAER(%q) = %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "RxErr 0\n", "RxErr\n", "TOTAL_ERR_COR -1", "TOTAL_ERR_COR 99999999999999999999"} {
		if n, err := parseAER(s); err == nil {
			t.Errorf("parseAER(%q) = %d, want an error", s, n)
		}
	}
}

// A controller that died and was bound anew runs; a program's word is not the kernel's.
func TestControllersIn(t *testing.T) {
	const a, b = "xhci_hcd 0000:00:14.0: ", "xhci-pci-renesas 0000:01:00.0: "
	got := controllersIn([]kmsg.Record{
		{Text: a + "hcc params 0x00087001 hci version 0x100 quirks 0x0000000000000010"}, {Text: a + "HC died; cleaning up"},
		{Text: a + "hcc params 0x00087001 hci version 0x110 quirks 0x0000000000000020"},
		{Text: b + "HC died; cleaning up"}, {Text: a + "HC died; cleaning up", Foreign: true},
	})
	want := map[string]controller{"0000:00:14.0": {quirks: "0x0000000000000020", version: "110"}, "0000:01:00.0": {died: true}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(controller{})); d != "" {
		t.Errorf("controllers (-want +got):\n%s", d)
	}
}

func TestTens(t *testing.T) {
	for f, want := range map[float64]int64{0: 0, 0.9: 0, 1: 1, 9.9: 1, 10: 10, 999: 100, 1000: 1000} {
		if got := tens(f); got != want {
			t.Errorf("tens(%g) = %d, want %d", f, got, want)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, p := range patterns {
		f.Add("usb 2-2: "+p.shapes[0], "+usb:2-2")
	}
	f.Add("sd 2:0:0:0: [sdc] Synchronize Cache(10) failed: Result: x", "+scsi:../../../etc")
	f.Add("scsi host2: uas", "b8:0")
	f.Fuzz(func(t *testing.T, text, key string) {
		if p := patternOf(text); p != nil && len(text) == 0 {
			t.Errorf("nothing is %s", p.code)
		}
		j := newJoiner(t.Context(), source.Host{Root: sysfs.New(logHost(""))}, nil)
		r := kmsg.Record{Text: text, Device: key}
		j.follow(&r)
		if s := j.about(&r); !utf8.ValidString(s.name) || strings.ContainsAny(s.name, "\x00\n\x1b") {
			t.Errorf("named %q", s.name)
		}
	})
}

func FuzzParseAER(f *testing.F) {
	f.Add("RxErr 0\nTOTAL_ERR_COR 0\n")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseAER(s); err == nil && n < 0 {
			t.Errorf("parseAER(%q) = %d", s, n)
		}
	})
}
