package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lastgood/internal/kernels"
	"lastgood/internal/kmod"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm/vmtest"
)

// removeCommand stands among a guest's commands for taking a device off its bus: the
// path of its attribute "remove", with stars.
const removeCommand = "@remove"

// guestPatience bounds each wait inside a guest.
const guestPatience = 90 * time.Second

// awaitPaths waits until so many paths fit a pattern.
func awaitPaths(ctx context.Context, pattern string, n int) error {
	return until(ctx, fmt.Sprintf("%d of %s", n, pattern), func() bool {
		found, _ := filepath.Glob(pattern) // an error is of the pattern, which then matches nothing
		return len(found) >= n
	})
}

func until(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
	return nil
}

// removeDevice takes a device off its bus, as pulling it would; the kernel is done with
// it when the write returns.
func removeDevice(_ context.Context, pattern string) error {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("%d paths %s", len(found), pattern), err)
	}
	return os.WriteFile(found[0], []byte("1"), 0)
}

// server is a machine with a USB stick, a USB disk that speaks UAS, a RAID volume, an
// NVMe drive, a SATA disk, a network card and a BMC, each at a slot of its own.
func server(parts ...string) []string {
	all := map[string]string{
		"board": "-machine q35",
		"usb":   "-device pcie-root-port,id=rp1,bus=pcie.0,addr=3,chassis=1,slot=1 -device qemu-xhci,id=xhci,bus=rp1,p2=4,p3=4",
		"stick": "-blockdev driver=null-co,node-name=stick,size=67108864,read-zeroes=on -device usb-storage,bus=xhci.0,port=1,drive=stick,serial=AA00000000000489,removable=on",
		"uas": "-device usb-uas,id=uas,bus=xhci.0,port=2,serial=012345678904 -blockdev driver=null-co,node-name=uas,size=67108864,read-zeroes=on " +
			"-device scsi-hd,bus=uas.0,scsi-id=0,lun=0,drive=uas,vendor=Realtek,product=RTL9210B-CG,ver=1.00,serial=012345678904,wwn=0x5000000000000901",
		"raid": "-device pcie-root-port,id=rp2,bus=pcie.0,addr=4,chassis=2,slot=2 -device megasas-gen2,id=perc,bus=rp2,hba_serial=PERC0001 " +
			"-blockdev driver=null-co,node-name=ld0,size=67108864,read-zeroes=on " +
			"-device scsi-hd,bus=perc.0,channel=0,scsi-id=0,drive=ld0,vendor=DELL,product=PERC_H730_Mini,ver=4.30,serial=S0000001,wwn=0x61866da05f7f9c00",
		"nvme": "-device pcie-root-port,id=rp3,bus=pcie.0,addr=5,chassis=3,slot=3 -blockdev driver=null-co,node-name=nv0,size=67108864,read-zeroes=on " +
			"-device nvme,bus=rp3,serial=S5Z7NE0N905140,drive=nv0",
		"sata": "-blockdev driver=null-co,node-name=sata,size=67108864,read-zeroes=on -device ide-hd,bus=ide.0,drive=sata,serial=WD-WCC4N1234567,wwn=0x50014ee2b5a8f3c1",
		"card": "-device pcie-root-port,id=rp4,bus=pcie.0,addr=6,chassis=4,slot=4 -device e1000e,bus=rp4,mac=52:54:00:12:34:56",
		"bmc":  "-device ipmi-bmc-sim,id=bmc0 -device isa-ipmi-kcs,bmc=bmc0,irq=0",
		"another nvme": "-device pcie-root-port,id=rp0,bus=pcie.0,addr=2,chassis=9,slot=9 -blockdev driver=null-co,node-name=nv9,size=67108864,read-zeroes=on " +
			"-device nvme,bus=rp0,serial=NEWDRIVE01,drive=nv9",
	}
	var out []string
	for _, p := range parts {
		out = append(out, strings.Fields(all[p])...)
	}
	return out
}

// hardwareFindings are a report's findings that are not of BPF, a line each, without the
// names that disks have by chance.
func hardwareFindings(t *testing.T, out string) []string {
	t.Helper()
	rep, err := report.Decode([]byte(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := []string{}
	for _, f := range rep.Findings {
		if strings.HasPrefix(f.Subject.Kind, "bpf.") || f.Code == "disk-renamed" {
			continue
		}
		line := fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID)
		for _, b := range f.Behind {
			line += " + " + b.ID
		}
		lines = append(lines, line)
	}
	return lines
}

func worseThanInfo(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, string(snapshot.Info)) })
}

// TestVMHardware accepts a boot of one kernel and checks the next ones against it: with
// the newer kernel nothing is worse; when a drive is pulled, it is missed; and with a
// driver left out, a stick gone and a drive in an earlier slot only the driver and its
// disk are a regression.
func TestVMHardware(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	state, err := vmState()
	if err != nil {
		t.Fatal(err)
	}
	p := matrixPreflighter(t, state, strings.Split(bisectSuites, ",")...)
	raid := []string{"megaraid_sas", "nvme", "ahci", "e1000e", "ipmi_si", "ipmi_devintf"}
	usb := []string{"xhci_pci", "usb_storage", "sd_mod"}
	always := []string{"board", "usb", "uas", "raid", "nvme", "sata", "card", "bmc"}
	await := func(disks, drives int) map[string]int {
		return map[string]int{"/sys/block/sd*/size": disks, "/sys/block/nvme*n1/size": drives, "/dev/ipmi0": 1, "/sys/class/net/eth0": 1, "/sys/class/nvme/nvme*/hwmon*/temp1_input": drives}
	}
	run := func(series string, devices, modules []string, state []byte, wait map[string]int, commands ...[]string) guestRan {
		t.Helper()
		k := seriesKernel(t, p, series)
		tree, err := kmod.List(t.Context(), k.Modules)
		if err != nil {
			t.Fatal(err)
		}
		load, missing, err := tree.Resolve(modules...)
		if err != nil || len(missing) > 0 {
			t.Fatalf("modules: missing %v, %v", missing, err)
		}
		machine := *p.lab.Machine
		machine.CPUs = 1 // with two a boot may be run once more with one, which is another machine
		machine.Devices = server(devices...)
		begun := time.Now()
		ran := bootOn(t, machine, k, load, state, guestRun{Commands: commands, Await: wait, Budget: "12s"})
		t.Logf("%s: %v, commands %v", k.Release, time.Since(begun).Round(time.Millisecond), ran.Took)
		return ran
	}
	check := []string{"check", "-o", "json"}

	first := run("6.1.", append(always, "stick"), slices.Concat(raid, usb, []string{"uas"}), nil, await(4, 1), check, []string{"accept"})
	if !slices.Equal(first.Status, []int{0, 0}) {
		t.Fatalf("first boot: %v\n%s", first.Status, strings.Join(first.Out, "\n"))
	}
	second := run("6.12.", append(always, "stick"), slices.Concat(raid, usb, []string{"uas"}), first.State, await(4, 1),
		check, []string{removeCommand, "/sys/bus/pci/drivers/nvme/0000:*/remove"}, check)
	if found := hardwareFindings(t, second.Out[0]); len(worseThanInfo(found)) > 0 {
		t.Errorf("another kernel:\n%s", strings.Join(found, "\n"))
	}
	const nvme = "pci0000:00/05.0/00.0"
	pulled := worseThanInfo(hardwareFindings(t, second.Out[1]))
	if want := []string{"critical pci-missing " + nvme + " + nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1 + " + nvme + "/nvme/Composite"}; !slices.Equal(pulled, want) || second.Status[1] != 1 {
		t.Errorf("a drive was pulled: exit status %d\n%s\nwant\n%s", second.Status[1], strings.Join(pulled, "\n"), want)
	}
	third := run("6.12.", append(always, "another nvme"), slices.Concat(usb, raid), first.State, await(2, 2), check)
	found := hardwareFindings(t, third.Out[0])
	t.Logf("no driver, no stick, a drive more:\n%s", strings.Join(found, "\n"))
	const port = "pci0000:00/03.0/00.0/usb/"
	if want := []string{"critical usb-driver-lost " + port + "2/46f4:0003 + at:" + port + "2/1.0/0:0:0/RTL9210B-CG + " + port + "2/1.0"}; !slices.Equal(worseThanInfo(found), want) || third.Status[0] != 1 {
		t.Errorf("exit status %d, want\n%s", third.Status[0], strings.Join(want, "\n"))
	}
	for _, want := range []string{"info usb-missing " + port + "1/46f4:0001", "info disk-new nvme:QEMU_NVMe_Ctrl_NEWDRIVE01/ns1"} {
		if !slices.ContainsFunc(found, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("no finding %q", want)
		}
	}
}

// seriesKernel is the newest kernel of a series with all its modules.
func seriesKernel(t *testing.T, p *preflighter, series string) kernels.Kernel {
	t.Helper()
	finding.Lock()
	defer finding.Unlock()
	all, err := p.find.there(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found *kernels.Kernel
	for i := range all {
		if all[i].Flavour == "amd64" && strings.HasPrefix(all[i].Release, series) && all[i].Testable {
			found = &all[i]
		}
	}
	if found == nil {
		t.Fatalf("the archive offers no kernel %s…-amd64", series)
	}
	k, err := p.find.files(t.Context(), *found)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
