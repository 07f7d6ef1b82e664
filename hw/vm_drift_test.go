package hw_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/vm/vmtest"
)

// The machine of these tests: a USB stick and a USB disk that speaks UAS, a RAID volume,
// an NVMe drive, a SATA disk, a network card and a BMC, each at a slot of its own.
var (
	board = []string{"-machine", "q35"}
	xhci  = []string{
		"-device", "pcie-root-port,id=rp1,bus=pcie.0,addr=3,chassis=1,slot=1",
		"-device", "qemu-xhci,id=xhci,bus=rp1,p2=4,p3=4",
	}
	stick = []string{
		"-blockdev", "driver=null-co,node-name=stick,size=67108864,read-zeroes=on",
		"-device", "usb-storage,id=stick,bus=xhci.0,port=1,drive=stick,serial=AA00000000000489,removable=on",
	}
	uas = []string{
		"-device", "usb-uas,id=uas,bus=xhci.0,port=2,serial=012345678904",
		"-blockdev", "driver=null-co,node-name=uas,size=67108864,read-zeroes=on",
		"-device", "scsi-hd,bus=uas.0,scsi-id=0,lun=0,drive=uas,vendor=Realtek,product=RTL9210B-CG,ver=1.00,serial=012345678904,wwn=0x5000000000000901",
	}
	raid = append([]string{"-device", "pcie-root-port,id=rp2,bus=pcie.0,addr=4,chassis=2,slot=2"}, behind("rp2", perc)...)
	nvme = []string{
		"-device", "pcie-root-port,id=rp3,bus=pcie.0,addr=5,chassis=3,slot=3",
		"-blockdev", "driver=null-co,node-name=nv0,size=67108864,read-zeroes=on",
		"-device", "nvme,id=nv0,bus=rp3,serial=S5Z7NE0N905140,drive=nv0",
	}
	sata = []string{
		"-blockdev", "driver=null-co,node-name=sata,size=67108864,read-zeroes=on",
		"-device", "ide-hd,bus=ide.0,drive=sata,serial=WD-WCC4N1234567,wwn=0x50014ee2b5a8f3c1",
	}
	card = []string{"-device", "pcie-root-port,id=rp4,bus=pcie.0,addr=6,chassis=4,slot=4", "-device", "e1000e,bus=rp4,mac=52:54:00:12:34:56"}
	bmc  = []string{"-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0,irq=0"}
	// another is an NVMe drive in an earlier slot.
	another = []string{
		"-device", "pcie-root-port,id=rp0,bus=pcie.0,addr=2,chassis=9,slot=9",
		"-blockdev", "driver=null-co,node-name=nv9,size=67108864,read-zeroes=on",
		"-device", "nvme,id=nv9,bus=rp0,serial=NEWDRIVE01,drive=nv9",
	}
)

// behind puts the first of some devices behind a port.
func behind(port string, devices []string) []string {
	out := append([]string{}, devices...)
	out[1] += ",bus=" + port
	return out
}

func join(parts ...[]string) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

var (
	wholeServer  = join(board, xhci, stick, uas, raid, nvme, sata, card, bmc)
	usbModules   = []string{"xhci_pci", "usb_storage", "sd_mod"}
	otherModules = []string{"megaraid_sas", "nvme", "ahci", "e1000e", "ipmi_si", "ipmi_devintf"}
	wholeAwait   = []string{"/dev/ipmi0", "/dev/nvme0n1", "/sys/class/nvme/nvme0/hwmon*/temp1_alarm", "/sys/class/net/eth0", disksOf("2:0:0"), disksOf("0:0:0")}
)

// disksOf are disks at an address behind their host: channel, target, unit.
func disksOf(address string) string { return "/sys/bus/scsi/devices/*:" + address + "/block/*/size" }

// disks counts the disks that the SCSI layer has.
func disks() int { return len(glob("/sys/block/sd*")) }

func contains(pattern, text string) bool {
	for _, name := range glob(pattern) {
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}

const (
	xhciAt = "pci0000:00/03.0/00.0"
	usbAt  = xhciAt + "/usb/"
	nvmeAt = "pci0000:00/05.0/00.0"
	nvmeID = "nvme:QEMU_NVMe_Ctrl_S5Z7NE0N905140/ns1"
)

// troubles befall a machine one after the other, with a reading after each.
var troubles = struct {
	script string
	mu     sync.Mutex
	seen   map[string]map[string]*guestReading
}{script: script("troubles", befall), seen: map[string]map[string]*guestReading{}}

func befall(in *inside) error {
	if err := in.until("four disks", func() bool { return disks() == 4 }); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
		seen func() bool
	}{
		{"before", func() error { return nil }, func() bool { return true }},
		{"hot", func() error {
			return in.ask("qom-set", map[string]any{"path": "/machine/peripheral/nv0", "property": "smart_critical_warning", "value": 2})
		}, func() bool { return contains("/sys/class/nvme/nvme0/hwmon*/temp1_alarm", "1") }},
		{"bus error", func() error {
			return in.ask("human-monitor-command", map[string]any{"command-line": "pcie_aer_inject_error rp3 UNSUP"})
		}, func() bool { return contains("/sys/bus/pci/devices/*/aer_dev_nonfatal", "UnsupReq 1") }},
		{"unplugged", func() error { return in.ask("device_del", map[string]any{"id": "stick"}) }, func() bool { return disks() == 3 }},
		{"dead", in.killXHCI, func() bool { return disks() == 2 && len(glob("/sys/bus/usb/devices/[0-9]*-[0-9]*")) == 2 }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		if err := in.until(step.name, step.seen); err != nil {
			return err
		}
		if err := in.read(step.name); err != nil {
			return err
		}
	}
	return nil
}

// killXHCI takes the USB controller off the bus, as a bus error does: reading its
// registers gives ones from then on. Nobody notices before something is asked of a disk
// behind it, which then has three seconds.
func (in *inside) killXHCI() error {
	controllers := glob("/sys/bus/pci/drivers/xhci_hcd/0000:*/config")
	timeouts := glob("/sys/bus/usb/devices/*-2:1.0/host*/target*/*/timeout")
	nodes := glob("/sys/bus/usb/devices/*-2:1.0/host*/target*/*/block/*")
	if len(controllers) != 1 || len(timeouts) != 1 || len(nodes) != 1 {
		return os.ErrNotExist
	}
	if err := os.WriteFile(timeouts[0], []byte("3"), 0); err != nil {
		return err
	}
	f, err := os.OpenFile(controllers[0], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const command = 4 // PCI_COMMAND
	if _, err := f.WriteAt([]byte{0, 0}, command); err != nil {
		return err
	}
	disk, err := os.OpenFile("/dev/"+filepath.Base(nodes[0]), os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	go func() { // fails when the kernel has given the disk up
		defer disk.Close()
		page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			_, _ = disk.ReadAt(page, 1<<20)
		}
	}()
	return nil
}

// compared tells what became of a machine between two readings.
func compared(t *testing.T, old, new *guestReading, verdict snapshot.Verdict, want ...string) {
	t.Helper()
	if old == nil || new == nil {
		t.Fatal("a reading is missing")
	}
	j := judge(t, old.Snapshot, new.Snapshot)
	got := slices.DeleteFunc(brief(j.Findings), func(f string) bool { return strings.HasPrefix(f, "info disk-renamed ") }) // names are by chance
	if d := cmp.Diff(append([]string{}, want...), got); d != "" || j.Verdict != verdict {
		t.Errorf("%s to %s: verdict %s, want %s; findings (-want +got):\n%s", old.Name, new.Name, j.Verdict, verdict, d)
	}
	for _, g := range j.Gaps {
		t.Errorf("%s to %s: gap: %+v", old.Name, new.Name, g)
	}
}

// troubled boots the whole server under a kernel and has its troubles befall it, once
// in a run of the tests.
func troubled(t *testing.T, series string) map[string]*guestReading {
	t.Helper()
	troubles.mu.Lock()
	defer troubles.mu.Unlock()
	if r, ok := troubles.seen[series]; ok {
		return r
	}
	r := boot(t, guestKernel(t, series), machine{
		script: troubles.script, devices: wholeServer, await: wholeAwait, modules: join(otherModules, usbModules, []string{"uas"}),
	})
	troubles.seen[series] = r
	return r
}

const (
	stickAt = usbAt + "1/46f4:0001"
	stickID = "usb:46f4_0001_AA00000000000489/0:0:0"
	diskAt  = usbAt + "2/46f4:0003"
	diskID  = "at:" + usbAt + "2/1.0/0:0:0/RTL9210B-CG"
)

// TestVMTroubles has a hot drive, a bus error, a pulled plug and a dead controller on
// one machine under two kernels, whose messages differ.
func TestVMTroubles(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	for _, series := range []string{"6.1.", "6.12."} {
		t.Run(series, func(t *testing.T) {
			r := troubled(t, series)
			if len(r) != 5 {
				t.Fatalf("%d readings, want 5", len(r))
			}
			askedDisks(t, r["before"])
			if d := cmp.Diff(refused(r["before"]), refused(r["unplugged"])); d != "" {
				t.Errorf("commands of our own that disks refused, in four readings (-first +last):\n%s", d)
			}
			compared(t, r["before"], r["hot"], snapshot.Regressed, "critical smart-warning "+nvmeID, "warning sensor-alarm "+nvmeAt+"/nvme/Composite")
			compared(t, r["hot"], r["bus error"], snapshot.Good, "warning pci-errors pci0000:00/05.0 + aer-nonfatal@pci0000:00/05.0")
			compared(t, r["bus error"], r["unplugged"], snapshot.Good, strings.Join([]string{
				"info usb-missing " + stickAt, stickID, usbAt + "1/1.0", "cache-flush-failed@" + stickAt, "usb-disconnect@" + stickAt}, " + "))
			deadController(t, r["unplugged"], r["dead"])
		})
	}
}

// deadController is that all which a controller took along is one finding. What the
// kernel manages to say of the disk before it goes differs a little from time to time.
func deadController(t *testing.T, old, new *guestReading) {
	t.Helper()
	f := judge(t, old.Snapshot, new.Snapshot).Findings
	if len(f) != 1 || f[0].Severity != snapshot.Critical || f[0].Code != "xhci-died" || f[0].Subject.ID != xhciAt {
		t.Fatalf("findings %q, want that %s died", brief(f), xhciAt)
	}
	var got []string
	for _, b := range f[0].Behind {
		got = append(got, b.ID)
	}
	for _, id := range []string{diskID, usbAt + "2/1.0", diskAt, "xhci-died@" + xhciAt, "uas-abort@" + diskAt, "scsi-offlined@" + diskAt, "usb-disconnect@" + diskAt} {
		if !slices.Contains(got, id) {
			t.Errorf("%s is not behind it: %q", id, got)
		}
	}
}

// askedDisks is that each disk was asked for its health through the kernel, and answered
// in its own way: a log page of NVMe, SMART of ATA, the refusal of a SCSI disk that keeps
// no log; the stick and the bridge were left in peace.
func askedDisks(t *testing.T, r *guestReading) {
	t.Helper()
	want := map[string]string{
		nvmeID:                      "measured: spare 0 %, used 0 %, 50 °C",
		"wwid:naa.50014ee2b5a8f3c1": "measured: reallocated 0, 1 h, 31 °C",
		"wwid:naa.61866da05f7f9c00": "unsupported",
	}
	got := map[string]string{}
	for i := range r.Snapshot.Subjects {
		s := &r.Snapshot.Subjects[i]
		switch {
		case s.Kind == snapshot.SourceKind && s.Outcome != snapshot.Measured:
			t.Errorf("%s: %s: %s", s.Key(), s.Outcome, s.Reason)
		case s.Kind != "hw.smart" && s.Outcome != snapshot.Measured:
			t.Errorf("%s: %s: %s", s.Key(), s.Outcome, s.Reason)
		case s.Kind != "hw.smart":
		case s.Outcome != snapshot.Measured:
			got[s.ID] = string(s.Outcome)
		case strings.HasPrefix(s.ID, "nvme:"):
			got[s.ID] = "measured: spare " + s.Attrs["available_spare"].String() + " %, used " + s.Attrs["percentage_used"].String() + " %, " + s.Attrs["temperature_celsius"].String() + " °C"
		default:
			got[s.ID] = "measured: reallocated " + s.Attrs["reallocated"].String() + ", " + s.Attrs["power_on_hours"].String() + " h, " + s.Attrs["temperature_celsius"].String() + " °C"
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("health of disks (-want +got):\n%s", d)
	}
}

// refused is how many commands failed on each disk.
func refused(r *guestReading) map[string]string {
	out := map[string]string{}
	for i := range r.Snapshot.Subjects {
		s := &r.Snapshot.Subjects[i]
		if n, ok := s.Attrs["io_errors"]; ok && s.ID != stickID {
			out[s.ID] = n.String()
		}
	}
	return out
}

// latecomer reads the hardware before and after the driver of UAS is there.
var latecomer = script("latecomer", func(in *inside) error {
	if err := in.until("three disks", func() bool { return disks() == 3 }); err != nil {
		return err
	}
	if err := in.read("no uas"); err != nil {
		return err
	}
	if err := in.load("uas", ""); err != nil {
		return err
	}
	if err := in.until("four disks", func() bool { return disks() == 4 && len(glob(disksOf("0:0:0"))) == 3 }); err != nil {
		return err
	}
	if err := in.read("uas"); err != nil {
		return err
	}
	in.bridges = true
	return in.read("bridges")
})

// taken reads the hardware, has one NVMe drive taken out, and reads it again.
var taken = script("taken", func(in *inside) error {
	if err := in.until("four disks", func() bool { return disks() == 4 && len(glob("/sys/block/nvme*")) == 2 }); err != nil {
		return err
	}
	if err := in.read("two drives"); err != nil {
		return err
	}
	if err := in.ask("device_del", map[string]any{"id": "nv9"}); err != nil {
		return err
	}
	// The kernel waits five seconds, should somebody press the button again (pciehp).
	if err := in.until("one drive", func() bool { return len(glob("/sys/block/nvme*")) == 1 && len(glob("/sys/class/nvme/*")) == 1 }); err != nil {
		return err
	}
	return in.read("one drive")
})

// TestVMDrift boots one machine under another kernel, in another order, without a
// driver, and with a drive more: names change, and only what is lost is a regression.
func TestVMDrift(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	good, newer := troubled(t, "6.1."), troubled(t, "6.12.")
	k := guestKernel(t, "6.12.")
	t.Run("another kernel", func(t *testing.T) {
		noRegression(t, good["before"], newer["before"])
		noRegression(t, newer["before"], good["before"])
	})
	t.Run("another order", func(t *testing.T) {
		r := boot(t, k, machine{
			script: latecomer, devices: wholeServer, later: []string{"uas"}, modules: join(usbModules, otherModules),
			await: wholeAwait,
		})
		compared(t, newer["before"], r["no uas"], snapshot.Regressed, "critical usb-driver-lost "+diskAt+" + "+diskID+" + "+usbAt+"2/1.0")
		noRegression(t, good["before"], r["uas"])
		noRegression(t, newer["before"], r["uas"])
		for _, id := range []string{stickID, diskID} { // asked for it, they say that they know no ATA commands
			if s := r["bridges"].subject(t, "hw.smart", id); s.Outcome != snapshot.Unsupported {
				t.Errorf("%s: %s: %s", s.Key(), s.Outcome, s.Reason)
			}
		}
	})
	t.Run("another drive", func(t *testing.T) {
		const newAt, newID = "pci0000:00/02.0/00.0", "nvme:QEMU_NVMe_Ctrl_NEWDRIVE01/ns1"
		await := append([]string{"/dev/nvme1n1"}, wholeAwait...)
		r := boot(t, k, machine{script: taken, devices: join(wholeServer, another), await: await, modules: join(otherModules, usbModules, []string{"uas"})})
		compared(t, newer["before"], r["two drives"], snapshot.Good, "info disk-new "+newID, "info pci-new pci0000:00/02.0", "info pci-new "+newAt, "info kernel-message nvme-bogus-ids@"+newAt)
		compared(t, r["two drives"], r["one drive"], snapshot.Regressed, "critical pci-missing "+newAt+" + "+newID+" + "+newAt+"/nvme/Composite")
	})
}

// noRegression is that nothing is told above info, and nothing is lost or new.
func noRegression(t *testing.T, old, new *guestReading) {
	t.Helper()
	compared(t, old, new, snapshot.Good, driverVersion(old, new)...)
}

// driverVersion is the one thing that does change with the kernel.
func driverVersion(old, new *guestReading) []string {
	if old.Snapshot.Identity.Kernel.Release == new.Snapshot.Identity.Kernel.Release {
		return nil
	}
	return []string{"info raid-driver-version pci0000:00/04.0/00.0"}
}
