package hw_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/hw"
	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func judge(t *testing.T, old, new *snapshot.Snapshot) compare.Judgement {
	t.Helper()
	kinds, err := source.Kinds(hw.Sources())
	if err != nil {
		t.Fatal(err)
	}
	return compare.Judge(old, new, kinds, compare.Policy{})
}

// brief is a finding in a line: severity, code, subject and what is behind it.
func brief(findings []snapshot.Finding) []string {
	out := []string{}
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID)
		for _, b := range f.Behind {
			line += " + " + b.ID
		}
		out = append(out, line)
	}
	return out
}

func TestDriftBetweenHosts(t *testing.T) {
	const usb = "pci0000:00/02.0/00.0/usb/"
	cases := []struct {
		name, old, new string
		verdict        snapshot.Verdict
		want           []string
	}{
		{"nothing but the kernel", "full61", "full612", snapshot.Good, nil},
		{"nothing at all", "full612", "full612", snapshot.Good, nil},
		{"an NVMe more in an earlier slot", "shiftA", "shiftB", snapshot.Good, []string{
			"info disk-new nvme:QEMU_NVMe_Ctrl_NEWDRIVE01/ns1",
			"info disk-renamed nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1",
			"info pci-new pci0000:00/03.0",
			"info pci-new pci0000:00/03.0/00.0",
			"info kernel-message nvme-bogus-ids@pci0000:00/03.0/00.0",
		}},
		{"the same, taken out", "shiftB", "shiftA", snapshot.Regressed, []string{
			"critical pci-missing pci0000:00/03.0 + nvme:QEMU_NVMe_Ctrl_NEWDRIVE01/ns1 + pci0000:00/03.0/00.0 + pci0000:00/03.0/00.0/nvme/Composite",
			"info disk-renamed nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1",
		}},
		{"no BMC, as before", "bmc-none", "bmc-none", snapshot.Good, nil},
		{"a BMC that no driver is bound to, as before", "bmc-ghost", "bmc-ghost", snapshot.Good, nil},
		{"a BMC that a driver is bound to now", "bmc-ghost", "bmc-notry", snapshot.Good, []string{"info bmc-driver-found bmc"}},
		{"uas is missing", "usb-base", "usb-nouas", snapshot.Regressed, []string{
			"critical usb-driver-lost " + usb + "2/46f4:0003 + at:" + usb + "2/1.0/0:0:0/RTL9210B-CG + on:at:" + usb + "2/1.0/0:0:0/RTL9210B-CG/part1 + " + usb + "2/1.0",
			"info disk-renamed usb:46f4_0001_AA00000000000489/0:0:0",
		}},
		{"USB disks at 480 Mb/s", "usb-base", "usb-hs", snapshot.Regressed, []string{
			"critical usb-not-super " + usb + "1/46f4:0001", "critical usb-not-super " + usb + "2/46f4:0003",
		}},
		{"a quirk on the kernel's command line, where usb-storage is a module that does not look there", "usb-base", "usb-quirk", snapshot.Good, nil},
		{"a dead USB controller", "dead-xhci-before", "dead-xhci-after", snapshot.Regressed, []string{strings.Join([]string{
			"critical xhci-died pci0000:00/02.0/00.0",
			"at:" + usb + "2/1.0/0:0:0/RTL9210B-CG", "usb:46f4_0001_AA00000000000489/0:0:0", // disks
			"on:at:" + usb + "2/1.0/0:0:0/RTL9210B-CG/part1", "on:usb:46f4_0001_AA00000000000489/0:0:0/part1", // their partitions
			usb + "1/1.0", usb + "2/1.0", // SCSI hosts
			usb + "1/46f4:0001", usb + "2/46f4:0003", // USB devices
			"cache-flush-failed@" + usb + "1/46f4:0001", "cache-flush-failed@" + usb + "2/46f4:0003", "io-error@" + usb + "2/46f4:0003", "scsi-offlined@" + usb + "2/46f4:0003",
			"uas-abort@" + usb + "2/46f4:0003", "uas-reset-failed@" + usb + "2/46f4:0003", "uas-stream-failed@" + usb + "2/46f4:0003",
			"usb-disconnect@" + usb + "1/46f4:0001", "usb-disconnect@" + usb + "2/46f4:0003", "xhci-died@pci0000:00/02.0/00.0",
		}, " + ")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old := take(t.Context(), t, open(t, c.old, &sysfstest.FS{}))
			new := take(t.Context(), t, open(t, c.new, &sysfstest.FS{}))
			j := judge(t, old, new)
			if d := cmp.Diff(append([]string{}, c.want...), brief(j.Findings)); d != "" || j.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s; findings (-want +got):\n%s", j.Verdict, c.verdict, d)
			}
			if len(j.Gaps) > 0 {
				t.Errorf("gaps: %v", j.Gaps)
			}
		})
	}
}

const (
	clock    = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
	sataDisk = "/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"
	nvmeDisk = "/sys/devices/pci0000:00/0000:00:04.0/0000:03:00.0/nvme/nvme0/nvme0n1"
	nvmePCI  = "/sys/devices/pci0000:00/0000:00:04.0/0000:03:00.0"
	nicPCI   = "/sys/devices/pci0000:00/0000:00:05.0/0000:04:00.0"
	xhciPCI  = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0"
	raidHost = "/sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0/host6/scsi_host/host6"
	nic      = "/sys/devices/pci0000:00/0000:00:05.0/0000:04:00.0/net/eth0"
)

// What is changed on a host, and what lastgood makes of it.
func TestFaults(t *testing.T) {
	cases := []struct {
		name    string
		faults  *sysfstest.FS
		verdict snapshot.Verdict
		want    []string
		gap     string // a part of a gap that must be told; "" wants none
	}{
		{"a disk is gone", &sysfstest.FS{Removed: []string{"/sys/block/sda", sataDisk}}, snapshot.Regressed,
			[]string{"critical disk-missing wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"a disk vanishes while it is read", &sysfstest.FS{Gone: []string{sataDisk}}, snapshot.Regressed,
			[]string{"critical disk-missing wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"the disks cannot be listed", &sysfstest.FS{Errs: map[string]error{"/sys/block": unix.EIO}}, snapshot.Incomplete,
			nil, "list /sys/block: input/output error"},
		{"the interfaces cannot be listed", &sysfstest.FS{Errs: map[string]error{"/sys/class/net": unix.EIO}}, snapshot.Incomplete,
			nil, "list /sys/class/net"},
		{"a WWID cannot be read", &sysfstest.FS{Errs: map[string]error{sataDisk + "/device/wwid": unix.EIO}}, snapshot.Incomplete,
			nil, "identify sda"},
		{"a WWID hangs", &sysfstest.FS{Hang: []string{sataDisk + "/device/wwid"}}, snapshot.Incomplete,
			nil, "no answer"},
		{"a serial number cannot be read, beside a WWID", &sysfstest.FS{Errs: map[string]error{sataDisk + "/device/vpd_pg80": unix.EIO}}, snapshot.Good,
			nil, "serial"},
		{"a serial number that a drive is known by cannot be read", &sysfstest.FS{Errs: map[string]error{nvmeDisk + "/device/serial": unix.EIO}}, snapshot.Incomplete,
			nil, "identify nvme0n1"},
		{"a disk's link cannot be read", &sysfstest.FS{Errs: map[string]error{"/sys/block/sda": unix.EIO}}, snapshot.Incomplete,
			nil, "readlink /sys/block/sda"},
		{"the size cannot be read", &sysfstest.FS{Errs: map[string]error{sataDisk + "/size": unix.EIO}}, snapshot.Incomplete,
			nil, "size_bytes"},
		{"the size hangs", &sysfstest.FS{Hang: []string{sataDisk + "/size"}}, snapshot.Incomplete,
			nil, "no answer"},
		{"a firmware revision cannot be read", &sysfstest.FS{Errs: map[string]error{sataDisk + "/device/rev": unix.EAGAIN}}, snapshot.Good,
			nil, "firmware"},
		{"a disk is read-only", &sysfstest.FS{Files: map[string]string{sataDisk + "/ro": "1\n"}}, snapshot.Regressed,
			[]string{"critical disk-read-only wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"a disk shrank", &sysfstest.FS{Files: map[string]string{sataDisk + "/size": "8\n"}}, snapshot.Regressed,
			[]string{"critical disk-shrank wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"a disk's queue is not used", &sysfstest.FS{Files: map[string]string{sataDisk + "/device/queue_depth": "1\n"}}, snapshot.Good,
			[]string{"warning disk-queue-lost wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"an interface's address could not be read by its driver", &sysfstest.FS{Files: map[string]string{nic + "/addr_assign_type": "1\n", nic + "/address": "4a:00:00:00:00:01\n"}}, snapshot.Regressed,
			[]string{"critical nic-mac-random at:pci0000:00/05.0/00.0"}, ""},
		{"a clock is slower", &sysfstest.FS{Files: map[string]string{clock: "acpi_pm\n"}}, snapshot.Good, nil, ""},
		{"a disk has other blocks", &sysfstest.FS{Files: map[string]string{sataDisk + "/queue/logical_block_size": "4096\n"}}, snapshot.Regressed,
			[]string{"critical disk-block-size-changed wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"a drive's namespace id is bogus now", &sysfstest.FS{Files: map[string]string{nvmeDisk + "/wwid": "eui.0025385b71b00001\n"}}, snapshot.Good,
			[]string{"warning disk-wwid-changed nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1"}, ""},
		{"a function has no driver and its disk is gone",
			&sysfstest.FS{Removed: []string{nvmePCI + "/driver", "/sys/block/nvme0n1", nvmeDisk, "/sys/class/hwmon/hwmon0"}}, snapshot.Regressed,
			[]string{"critical pci-driver-lost pci0000:00/04.0/00.0 + nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1 + on:nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1/part1 + pci0000:00/04.0/00.0/nvme/Composite"}, ""},
		{"a driver cannot be told", &sysfstest.FS{Errs: map[string]error{nvmePCI + "/driver": unix.EIO}}, snapshot.Good,
			nil, "driver"},
		{"a function is handed to a virtual machine",
			&sysfstest.FS{Links: map[string]string{nvmePCI + "/driver": "../../../../bus/pci/drivers/vfio-pci"}}, snapshot.Good,
			[]string{"warning disk-driver-changed nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1"}, ""},
		{"an interface is gone", &sysfstest.FS{Removed: []string{"/sys/class/net/eth0", nic}}, snapshot.Good,
			[]string{"warning nic-unused-missing at:pci0000:00/05.0/00.0"}, ""},
		{"a sensor is hot", &sysfstest.FS{Files: map[string]string{nvmePCI + "/nvme/nvme0/hwmon0/temp1_input": "88850\n"}}, snapshot.Good,
			[]string{"warning sensor-hot pci0000:00/04.0/00.0/nvme/Composite"}, ""},
		{"a sensor raves", &sysfstest.FS{Files: map[string]string{nvmePCI + "/nvme/nvme0/hwmon0/temp1_input": "3892314000\n"}}, snapshot.Good,
			[]string{"warning sensor-failed pci0000:00/04.0/00.0/nvme/Composite"}, ""},
		{"a sensor gives EAGAIN", &sysfstest.FS{Errs: map[string]error{nvmePCI + "/nvme/nvme0/hwmon0/temp1_input": unix.EAGAIN}}, snapshot.Good, nil, ""},
		{"a function has fatal PCIe errors", &sysfstest.FS{Files: map[string]string{nicPCI + "/aer_dev_fatal": "DLP 2\nTOTAL_ERR_FATAL 2\n"}}, snapshot.Regressed,
			[]string{"critical pci-errors pci0000:00/05.0/00.0"}, ""},
		{"a function has PCIe errors", &sysfstest.FS{Files: map[string]string{nicPCI + "/aer_dev_nonfatal": "DLP 2\nTOTAL_ERR_NONFATAL 2\n"}}, snapshot.Good,
			[]string{"warning pci-errors pci0000:00/05.0/00.0"}, ""},
		{"a link flaps", &sysfstest.FS{Files: map[string]string{nicPCI + "/aer_dev_correctable": "RxErr 5000\nTOTAL_ERR_COR 5000\n"}}, snapshot.Good,
			[]string{"warning pci-errors-corrected pci0000:00/05.0/00.0"}, ""},
		{"counters of PCIe errors are noise", &sysfstest.FS{Files: map[string]string{nicPCI + "/aer_dev_fatal": "\x00\xff"}}, snapshot.Good, nil, "aer_fatal"},
		{"the driver falls back to line interrupts", &sysfstest.FS{Removed: []string{nvmePCI + "/msi_irqs"}}, snapshot.Good,
			[]string{"warning pci-interrupts-worse pci0000:00/04.0/00.0"}, ""},
		{"a RAID controller does not answer", &sysfstest.FS{Files: map[string]string{raidHost + "/state": "recovery\n"}}, snapshot.Regressed,
			[]string{"critical scsi-host-stuck pci0000:00/03.0/00.0"}, ""},
		{"a RAID controller's firmware crashed", &sysfstest.FS{Files: map[string]string{raidHost + "/fw_crash_state": "1\n"}}, snapshot.Good,
			[]string{"warning scsi-firmware-crashed pci0000:00/03.0/00.0"}, ""},
		{"the state of a RAID controller cannot be read", &sysfstest.FS{Errs: map[string]error{raidHost + "/state": unix.EINVAL}}, snapshot.Good, nil, "state"},
		{"a disk was given up", &sysfstest.FS{Files: map[string]string{sataDisk + "/device/state": "offline\n"}}, snapshot.Regressed,
			[]string{"critical disk-offline wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"commands to a disk fail", &sysfstest.FS{Files: map[string]string{sataDisk + "/device/ioerr_cnt": "0x40\n", sataDisk + "/device/iotmo_cnt": "0x2\n"}}, snapshot.Good,
			[]string{"warning disk-io-timeouts wwid:naa.50014ee2b5a8f3c1"}, ""}, // what ATA disks answer is counted too
		{"a USB port was switched off", &sysfstest.FS{Files: map[string]string{xhciPCI + "/usb2/2-0:1.0/usb2-port2/over_current_count": "3\n"}}, snapshot.Good,
			[]string{"warning usb-over-current pci0000:00/02.0/00.0/usb/2/usb3"}, ""},
		{"a USB disk fell back to usb-storage", &sysfstest.FS{Links: map[string]string{xhciPCI + "/usb2/2-2/2-2:1.0/driver": "../../../../../../../bus/usb/drivers/usb-storage"}}, snapshot.Good,
			[]string{"warning disk-driver-changed at:pci0000:00/02.0/00.0/usb/2/1.0/0:0:0/RTL9210B-CG", "warning usb-uas-lost pci0000:00/02.0/00.0/usb/2/46f4:0003"}, ""},
		{"a USB device has other firmware", &sysfstest.FS{Files: map[string]string{xhciPCI + "/usb2/2-2/bcdDevice": "2002\n"}}, snapshot.Good,
			[]string{"info usb-firmware-changed pci0000:00/02.0/00.0/usb/2/46f4:0003"}, ""},
		{"a USB controller has no driver", &sysfstest.FS{Removed: []string{xhciPCI + "/driver", xhciPCI + "/usb1", xhciPCI + "/usb2"}}, snapshot.Regressed, []string{
			"critical pci-driver-lost pci0000:00/02.0/00.0 + at:pci0000:00/02.0/00.0/usb/2/1.0/0:0:0/RTL9210B-CG + usb:46f4_0001_AA00000000000489/0:0:0 + " +
				"on:at:pci0000:00/02.0/00.0/usb/2/1.0/0:0:0/RTL9210B-CG/part1 + on:usb:46f4_0001_AA00000000000489/0:0:0/part1 + " +
				"pci0000:00/02.0/00.0/usb/1/1.0 + pci0000:00/02.0/00.0/usb/2/1.0 + pci0000:00/02.0/00.0/usb/1/46f4:0001 + pci0000:00/02.0/00.0/usb/2/46f4:0003 + " +
				"pci0000:00/02.0/00.0/usb/3/0525:a4a2 + pci0000:00/02.0/00.0 + at:pci0000:00/02.0/00.0/usb/3/1.0",
		}, ""},
		{"a USB controller drives no bus", &sysfstest.FS{Removed: []string{xhciPCI + "/usb1", xhciPCI + "/usb2"}}, snapshot.Regressed, []string{
			"critical xhci-no-root-hub pci0000:00/02.0/00.0 + at:pci0000:00/02.0/00.0/usb/2/1.0/0:0:0/RTL9210B-CG + usb:46f4_0001_AA00000000000489/0:0:0 + " +
				"on:at:pci0000:00/02.0/00.0/usb/2/1.0/0:0:0/RTL9210B-CG/part1 + on:usb:46f4_0001_AA00000000000489/0:0:0/part1 + " +
				"pci0000:00/02.0/00.0/usb/1/1.0 + pci0000:00/02.0/00.0/usb/2/1.0 + pci0000:00/02.0/00.0/usb/1/46f4:0001 + pci0000:00/02.0/00.0/usb/2/46f4:0003 + " +
				"pci0000:00/02.0/00.0/usb/3/0525:a4a2 + at:pci0000:00/02.0/00.0/usb/3/1.0",
		}, ""},
		{"the kernel's log cannot be read", &sysfstest.FS{Errs: map[string]error{"/console.log": unix.EPERM}}, snapshot.Good, nil, "operation not permitted"},
		{"the kernel complains", &sysfstest.FS{Files: map[string]string{"/console.log": "[    9.000000] sd 0:0:0:0: rejecting I/O to offline device\n"},
			Links: map[string]string{"/sys/bus/scsi/devices/0:0:0:0": "../../../devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"}}, snapshot.Regressed,
			[]string{"critical kernel-message scsi-offlined@wwid:naa.50014ee2b5a8f3c1"}, ""},
		{"the firmware is another", &sysfstest.FS{Files: map[string]string{"/sys/class/dmi/id/bios_version": "9.9\n", "/sys/class/dmi/id/bios_date": "01/01/2027\n"}}, snapshot.Good,
			[]string{"info firmware-changed machine"}, ""},
		{"there is no hardware of a kind", &sysfstest.FS{Gone: []string{"/sys/class/hwmon", "/sys/class/thermal", "/sys/bus/usb"}}, snapshot.Regressed, []string{
			"info usb-missing pci0000:00/02.0/00.0/usb/1/46f4:0001", "critical usb-missing pci0000:00/02.0/00.0/usb/2/46f4:0003",
			"critical usb-missing pci0000:00/02.0/00.0/usb/3/0525:a4a2", "warning sensor-missing pci0000:00/04.0/00.0/nvme/Composite", "info cooling-missing Processor",
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(c.faults.Release)
			old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{}))
			new := take(t.Context(), t, open(t, "full61", c.faults))
			j := judge(t, old, new)
			got, want := brief(j.Findings), append([]string{}, c.want...)
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" || j.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s; findings (-want +got):\n%s", j.Verdict, c.verdict, d)
			}
			var told []string
			for _, g := range j.Gaps {
				told = append(told, g.Reason)
			}
			if all := strings.Join(told, "\n"); !strings.Contains(all, c.gap) || (c.gap == "") != (all == "") {
				t.Errorf("gaps %q, want one with %q", told, c.gap)
			}
		})
	}
}

// Disks that never answer cost their neighbours nothing: not one other subject is
// lost, and none is called gone.
func TestSickDisks(t *testing.T) {
	files := []string{
		"size", "ro", "removable", "queue/logical_block_size", "queue/rotational", "serial", "wwid", "device/serial", "device/wwid", "device/vpd_pg80",
		"device/model", "device/name", "device/rev", "device/firmware_rev", "device/fwrev",
	}
	sick := &sysfstest.FS{}
	t.Cleanup(sick.Release)
	for _, f := range files {
		sick.Hang = append(sick.Hang, sataDisk+"/"+f, nvmeDisk+"/"+f)
	}
	old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{}))
	new := take(t.Context(), t, open(t, "full61", sick))
	others := func(s *snapshot.Snapshot) []snapshot.Subject {
		return slices.DeleteFunc(slices.Clone(s.Subjects), func(s snapshot.Subject) bool {
			if s.Kind == "hw.partition" {
				return strings.HasPrefix(s.Text("name"), "nvme0n1")
			}
			return s.ID == "disk" || s.ID == "block" || (s.Kind == "hw.disk" && (strings.Contains(s.Text("location"), "00/1f.2/") || strings.Contains(s.Text("location"), "00/04.0/")))
		})
	}
	if d := cmp.Diff(others(old), others(new)); d != "" {
		t.Errorf("the other subjects (-before +after):\n%s", d)
	}
	if n := len(old.Subjects) - len(others(old)); n != 5 {
		t.Errorf("%d subjects were left out, want the two disks, the partition of one and their sources", n)
	}
	if j := judge(t, old, new); j.Verdict != snapshot.Incomplete || len(j.Findings) > 0 {
		t.Errorf("verdict %s, findings %v", j.Verdict, brief(j.Findings))
	}
}

// A tree without sysfs says nothing of the hardware.
func TestNoSysfs(t *testing.T) {
	old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{}))
	new := take(t.Context(), t, sysfs.New(&sysfstest.FS{Files: map[string]string{"/proc/cmdline": "quiet\n"}}))
	for _, s := range new.Subjects {
		if s.Kind != snapshot.SourceKind || s.Outcome != snapshot.Inconclusive || !(strings.Contains(s.Reason, "sysfs is not mounted") || strings.Contains(s.Reason, "no console.log")) {
			t.Errorf("%s: %s, %q", s.Key(), s.Outcome, s.Reason)
		}
	}
	if j := judge(t, old, new); j.Verdict != snapshot.Incomplete || len(j.Findings) > 0 {
		t.Errorf("verdict %s, findings %v", j.Verdict, brief(j.Findings))
	}
}
