package hw_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/vm/vmtest"
)

// perc is a RAID controller with one volume of nothing. QEMU 7.2 answers for disk 0
// whichever is asked for beyond 255, so there is one disk.
var perc = []string{
	"-device", "megasas-gen2,id=perc,hba_serial=PERC0001",
	"-blockdev", "driver=null-co,node-name=ld0,size=67108864,read-zeroes=on",
	"-device", "scsi-hd,bus=perc.0,channel=0,scsi-id=0,drive=ld0,vendor=DELL,product=PERC_H730_Mini,ver=4.30,serial=S0000001,wwn=0x61866da05f7f9c00",
}

// serverWith is a machine with a RAID volume and a BMC.
func serverWith(devices []string) machine {
	return machine{
		script: logsEvent, devices: devices,
		modules: []string{"megaraid_sas", "sd_mod", "ipmi_si", "ipmi_devintf"}, await: []string{"/dev/ipmi0", "/sys/block/sda/size"},
	}
}

// logsEvent reads the hardware twice. In between it has the management controller log a
// critical temperature, if there is a controller that takes it.
var logsEvent = script("logs event", func(in *inside) error {
	if err := in.read("before"); err != nil {
		return err
	}
	if err := addSEL(in.ctx); err != nil {
		// A controller that gives no answer cannot log either: the second reading says so.
		fmt.Fprintln(os.Stderr, "add SEL entry:", err)
	}
	return in.read("after")
})

func (r *guestReading) subject(t *testing.T, kind, id string) *snapshot.Subject {
	t.Helper()
	s := r.Snapshot.Subject(snapshot.Key{Kind: kind, ID: id})
	if s == nil {
		t.Fatalf("there is no %s/%s", kind, id)
	}
	return s
}

// TestVMControllers reads a RAID controller and a management controller through the
// drivers of a Debian kernel, and tells an event that is logged in between.
func TestVMControllers(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	k := guestKernel(t, "6.1.")
	devices := append([]string{"-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0,irq=0"}, perc...)
	r := boot(t, k, serverWith(devices))
	before, after := r["before"], r["after"]
	for _, s := range before.Snapshot.Subjects {
		if want := map[bool]snapshot.Outcome{true: snapshot.Unsupported, false: snapshot.Measured}[s.Kind == "hw.smart"]; s.Outcome != want { // QEMU's SCSI disks have no log pages
			t.Errorf("%s: %s: %s", s.Key(), s.Outcome, s.Reason)
		}
	}
	const at = "pci0000:00/02.0"
	texts := []struct{ kind, id, attr, want string }{
		{"hw.bmc", "bmc", "state", "working"}, {"hw.bmc", "bmc", "interface", "kcs"}, {"hw.bmc", "bmc", "found_by", "acpi"}, {"hw.bmc", "bmc", "described_address", "io 0xca2"},
		{"hw.chassis", "bmc", "intrusion", "no"}, {"hw.sel", "bmc", "overflow", "no"},
		{"hw.raid", at, "driver", "megaraid_sas"}, {"hw.raid", at, "host_state", "running"}, {"hw.raid", at, "ids", "1000:0079"},
		{"hw.raid_firmware", at, "product", "LSI MegaRAID SAS 9260-8i"}, {"hw.raid_firmware", at, "serial", "PERC0001"}, {"hw.raid_firmware", at, "battery", "absent"},
		{"hw.raid_volume", at + "/volume/0", "state", "optimal"}, {"hw.raid_volume", at + "/volume/0", "wwid", "naa.61866da05f7f9c00"},
		{"hw.raid_volume", at + "/volume/0", "size_bytes", "67108864"}, {"hw.raid_disk", "sas:1221000000000000", "size_bytes", "67108864"},
	}
	for _, c := range texts {
		if got := before.subject(t, c.kind, c.id).Attrs[c.attr].String(); got != c.want {
			t.Errorf("%s/%s: %s is %q, want %q", c.kind, c.id, c.attr, got, c.want)
		}
	}
	if n, _ := before.subject(t, "hw.raid_firmware", at).Attrs["event_newest"].Int(); n == 0 {
		t.Error("the controller's log has no newest event")
	}
	t.Logf("took %v", before.Took)
	if d := cmp.Diff([]string{"critical sel-critical bmc"}, brief(judge(t, before.Snapshot, after.Snapshot).Findings)); d != "" {
		t.Errorf("findings of an event that was logged (-want +got):\n%s", d)
	}
	want := "temperature (sensor 0x30): above its upper critical limit"
	if got, _ := after.subject(t, "hw.sel", "bmc").Attrs["critical"].Items(); len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("critical events %q, want one that ends in %q", got, want)
	}
}

// TestVMSilentBMC has a management controller that tells who it is and then answers
// nothing else: what is asked of it ends within its time, and all else is read.
func TestVMSilentBMC(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	k := guestKernel(t, "6.1.")
	socket := fakeBMC(t)
	devices := append([]string{"-chardev", "socket,id=bmc,server=on,wait=off,path=" + socket, "-device", "ipmi-bmc-extern,id=bmc0,chardev=bmc", "-device", "isa-ipmi-kcs,bmc=bmc0,irq=0"}, perc...)
	r := boot(t, k, serverWith(devices))
	before, after := r["before"], r["after"]
	for _, s := range before.Snapshot.Subjects {
		silent := s.Kind == "hw.sel" || s.Kind == "hw.chassis" || s.ID == "bmc_log" || s.ID == "bmc_sensor"
		want := snapshot.Measured
		switch {
		case silent:
			want = snapshot.Inconclusive
		case s.Kind == "hw.smart":
			want = snapshot.Unsupported
		}
		if s.Outcome != want {
			t.Errorf("%s: %s (%s), want %s", s.Key(), s.Outcome, s.Reason, want)
		}
		if silent && !strings.Contains(s.Reason, "no answer") {
			t.Errorf("%s: %q does not say that there was no answer", s.Key(), s.Reason)
		}
	}
	if got := before.subject(t, "hw.bmc", "bmc").Text("state"); got != "working" {
		t.Errorf("state %q", got)
	}
	if took := before.Took["bmc_log"]; took < time.Second || took > 20*time.Second { // emulated, on a machine that may be busy
		t.Errorf("asking took %v, want about three seconds", took)
	}
	t.Logf("took %v", before.Took)
	if f := brief(judge(t, before.Snapshot, after.Snapshot).Findings); len(f) > 0 {
		t.Errorf("findings %v", f)
	}
}

// fakeBMC serves QEMU's protocol for management controllers outside of it (docs of
// OpenIPMI's ipmi_sim, "VM interface"): it answers the application's commands, which
// the driver needs to begin, and no others. QEMU listens, for where it connects by
// itself it does so before there is an interface, and dies of that.
func fakeBMC(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lastgood-bmc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "bmc")
	if err := os.Chmod(dir, 0o777); err != nil { // QEMU, which makes the socket, runs as nobody
		t.Fatal(err)
	}
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if c, err := net.Dial("unix", socket); err == nil {
				serveBMC(c)
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
			}
		}
	}()
	return socket
}

const (
	vmMessageEnd = 0xa0
	vmCommandEnd = 0xa1
	vmEscape     = 0xaa
)

func serveBMC(c net.Conn) {
	defer c.Close()
	var message []byte
	escaped := false
	buf := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		switch b := buf[0]; {
		case b == vmCommandEnd:
			message = nil
		case b == vmMessageEnd:
			if answer := answerBMC(message); answer != nil {
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
			message = nil
		case b == vmEscape:
			escaped = true
		case escaped:
			message, escaped = append(message, b&^0x10), false
		default:
			message = append(message, b)
		}
	}
}

// answerBMC answers sequence, function, command, data, checksum.
func answerBMC(m []byte) []byte {
	const application = 0x06
	if len(m) < 4 || m[1]>>2 != application {
		return nil
	}
	answer := []byte{m[0], m[1] | 1<<2, m[2]}
	switch m[2] {
	case 0x01: // get device id
		answer = append(answer, 0, 0x20, 1, 2, 0x34, 2, 0x8d, 0xa2, 2, 0, 0, 1, 0, 0, 0, 0)
	case 0x2e, 0x30: // set global enables, clear flags
		answer = append(answer, 0)
	case 0x2f: // get global enables
		answer = append(answer, 0, 0)
	case 0x31: // get flags
		answer = append(answer, 0, 0)
	default:
		answer = append(answer, 0xc1)
	}
	var sum byte
	for _, b := range answer {
		sum -= b
	}
	var out bytes.Buffer
	for _, b := range append(answer, sum) {
		if b == vmMessageEnd || b == vmCommandEnd || b == vmEscape {
			out.WriteByte(vmEscape)
			b |= 0x10
		}
		out.WriteByte(b)
	}
	out.WriteByte(vmMessageEnd)
	return out.Bytes()
}
