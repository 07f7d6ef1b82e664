package hw

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// put writes texts and numbers at their offsets.
func put(size int, fields map[int]any) []byte {
	b := make([]byte, size)
	le := binary.LittleEndian
	for at, v := range fields {
		switch v := v.(type) {
		case string:
			copy(b[at:], v)
		case uint8:
			b[at] = v
		case uint16:
			le.PutUint16(b[at:], v)
		case uint32:
			le.PutUint32(b[at:], v)
		case uint64:
			le.PutUint64(b[at:], v)
		}
	}
	return b
}

// The answers of a controller with two volumes, three disks and an enclosure, by the
// offsets of the published structures.
func mfiAnswerBytes() map[mfiOpcode]map[uint16][]byte {
	disk := func(id uint16, fields map[int]any) []byte {
		all := map[int]any{0: id, 12: "SEAGATE ", 20: "ST600MM0088     ", 36: "TT31", 40: "W42000AB", 184: uint16(0x18), 188: uint16(2 << 12), 232: uint64(1 << 20), 256: uint16(32), 259: uint8(id)}
		if fields[12] != nil { // another layout: none of these texts
			delete(all, 20)
			delete(all, 36)
			delete(all, 40)
		}
		for at, v := range fields {
			all[at] = v
		}
		return put(512, all)
	}
	return map[mfiOpcode]map[uint16][]byte{
		mfiControllerInfo: {0: put(0x800, map[int]any{0x540: "PERC H730 Mini", 0x590: "58N00AB", 0x5b0: uint8(1), 0x5c0: uint16(2), 0x5c8: uint16(3), 0x5d0: uint16(1024), 0x5d4: uint16(7), 0x5d6: uint16(1), 0x640: "25.5.9.0001\x1b[2J"})},
		mfiVolumeList:     {0: put(1032, map[int]any{0: uint32(2), 8: uint8(0), 12: uint8(3), 16: uint64(1 << 21), 24: uint8(5), 28: uint8(2), 32: uint64(1 << 22)})},
		mfiDiskList: {0: put(6152, map[int]any{4: uint32(4),
			8: uint16(0), 10: uint16(32), 13: uint8(0), 16: uint64(0x5000c50012345678),
			32: uint16(1), 34: uint16(32), 37: uint8(1), 40: uint64(0x4433221100000000),
			56: uint16(2), 58: uint16(32), 61: uint8(2), 64: uint64(0x5000c50012345680),
			80: uint16(32), 86: uint8(13), 88: uint64(0x500056b312345678)})},
		mfiDiskInfo: {
			0: disk(0, map[int]any{168: uint32(4), 172: uint32(5), 176: uint32(6)}),
			1: disk(1, map[int]any{12: "     WD-WX11A1234567WDC WD10SPSX-22A6WT0                    01.01A01", 188: uint16(3 << 12), 184: uint16(0x11), 193: uint8(1)}),
			2: disk(9, nil), // an answer for another disk
		},
		mfiEventInfo:     {0: put(20, map[int]any{0: uint32(1900), 4: uint32(3), 16: uint32(1880)})},
		mfiBatteryStatus: {0: put(64, map[int]any{0: uint8(2), 2: uint16(3900), 6: uint16(31), 8: uint32(bbuReplace)})},
	}
}

// fakeMFI answers from bytes; refuse gives a status instead, hang nothing.
type fakeMFI struct {
	answers map[mfiOpcode]map[uint16][]byte
	refuse  map[mfiOpcode]uint8
	hang    chan struct{}
	asked   []mfiOpcode
}

func (f *fakeMFI) ask(op mfiOpcode, mailbox uint16, size int) ([]byte, error) {
	f.asked = append(f.asked, op)
	if f.hang != nil {
		<-f.hang
	}
	if s := f.refuse[op]; s != 0 {
		return nil, &mfiStatusError{op, s}
	}
	b := f.answers[op][mailbox]
	return b[:min(len(b), size)], nil
}

// askFake asks a controller at host0 of a machine that has it.
func askFake(t *testing.T, state string, f *fakeMFI) (*snapshot.Subject, []snapshot.Subject, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	if f.hang == nil {
		ctx, cancel = context.WithCancel(t.Context())
	}
	defer cancel()
	fs := &sysfstest.FS{Files: map[string]string{"/sys/class/scsi_host/host0/state": state + "\n",
		"/sys/devices/pci0/host0/target0:2:0/0:2:0:0/wwid": "naa.6abc\n"}}
	h := source.Host{Root: sysfs.WithPatience(fs, time.Hour), Now: time.Now}
	c := &snapshot.Subject{Kind: raidFirmwareKind, ID: "pci0", Outcome: snapshot.Measured}
	c.Set("host", snapshot.Text("host0"))
	c.Set("host_folder", snapshot.Text("/sys/devices/pci0/host0"))
	out, err := askController(ctx, h, c, func(context.Context, source.Host, uint16) (mfiClient, func(), error) { return f, func() {}, nil })
	return c, out, err
}

func TestMFIController(t *testing.T) {
	c, out, err := askFake(t, "running", &fakeMFI{answers: mfiAnswerBytes()})
	if err == nil || !strings.Contains(err.Error(), "answered for disk 9") {
		t.Errorf("a disk that answers for another: %v", err)
	}
	got := map[string]string{}
	for _, s := range append(out, *c) {
		for name, v := range s.Attrs {
			got[s.ID+" "+name] = v.String()
		}
	}
	want := map[string]string{
		"pci0 product": "PERC H730 Mini", "pci0 serial": "58N00AB", "pci0 package": "25.5.9.0001[2J", "pci0 memory_bytes": "1073741824", "pci0 memory_correctable": "7",
		"pci0 memory_uncorrectable": "1", "pci0 battery": "failed", "pci0 battery_volts": "3.9", "pci0 battery_celsius": "31", "pci0 event_newest": "1900", "pci0 events_since_start": "20",
		"pci0/volume/0 state": "optimal", "pci0/volume/0 size_bytes": "1073741824", "pci0/volume/0 wwid": "naa.6abc", "pci0/volume/5 state": "degraded", "pci0/volume/5 size_bytes": "2147483648",
		"serial:SEAGATE_ST600MM0088_W42000AB state": "online", "serial:SEAGATE_ST600MM0088_W42000AB media_errors": "4", "serial:SEAGATE_ST600MM0088_W42000AB other_errors": "5",
		"serial:SEAGATE_ST600MM0088_W42000AB predictive_failures": "6", "serial:SEAGATE_ST600MM0088_W42000AB firmware": "TT31", "serial:SEAGATE_ST600MM0088_W42000AB size_bytes": "536870912",
		"serial:WDC_WD10SPSX-22A6WT0_WD-WX11A1234567 state": "failed", "serial:WDC_WD10SPSX-22A6WT0_WD-WX11A1234567 path_broken": "yes",
		"serial:WDC_WD10SPSX-22A6WT0_WD-WX11A1234567 firmware": "01.01A01", "sas:5000c50012345680 location": "pci0/slot/32:2",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(out) != 5 {
		t.Errorf("%d subjects, want two volumes and three disks", len(out))
	}
}

// A controller that is sick is not asked, and one that gives no answer is given up on.
func TestMFIFailures(t *testing.T) {
	short := mfiAnswerBytes()
	short[mfiVolumeList][0] = short[mfiVolumeList][0][:20]
	fewer := mfiAnswerBytes()
	fewer[mfiVolumeList][0][0] = 1
	many := mfiAnswerBytes()
	many[mfiVolumeList][0][3] = 0xff
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	cases := []struct {
		name, state string
		fake        *fakeMFI
		outcome     snapshot.Outcome
		err         string
	}{
		{"in recovery", "recovery", &fakeMFI{}, snapshot.Inconclusive, "long in coming"},
		{"no answer", "running", &fakeMFI{hang: hang}, snapshot.Inconclusive, "no answer"},
		{"cut short", "running", &fakeMFI{answers: short}, snapshot.Inconclusive, "list of volumes: 20 bytes"},
		{"too many", "running", &fakeMFI{answers: many}, snapshot.Inconclusive, "it says that there are"},
		{"fewer than it counts", "running", &fakeMFI{answers: fewer}, snapshot.Measured, "counts 2 volumes and lists 1"},
		{"refuses", "running", &fakeMFI{answers: mfiAnswerBytes(), refuse: map[mfiOpcode]uint8{mfiControllerInfo: 3}}, snapshot.Inconclusive, "status 0x03"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, _, err := askFake(t, c.state, c.fake)
			if err == nil || !strings.Contains(err.Error(), c.err) || s.Outcome != c.outcome {
				t.Errorf("%s, %v; want %s with %q", s.Outcome, err, c.outcome, c.err)
			}
			if c.state != "running" && len(c.fake.asked) > 0 {
				t.Error("it was asked")
			}
		})
	}
	s, _, _ := askFake(t, "running", &fakeMFI{answers: mfiAnswerBytes(), refuse: map[mfiOpcode]uint8{mfiBatteryStatus: mfiNoHardware, mfiEventInfo: 3}})
	if s.Text("battery") != "absent" || s.Errs["event_newest"] == "" {
		t.Errorf("battery %q, errors %v", s.Text("battery"), s.Errs)
	}
}

// Nothing but the six commands that read is ever put into a packet.
func TestMFIOnlyReads(t *testing.T) {
	var allowed []mfiOpcode
	for class := range 16 {
		for group := range 256 {
			for _, low := range []int{0, 0x100, 0x200, 0x300, 0x400, 0x500, 0x1000, 0x2000, 0x8000} {
				op := mfiOpcode(class<<24 | group<<16 | low)
				if _, err := mfiPacket(0, op, 0, 8); err == nil {
					allowed = append(allowed, op)
				}
			}
		}
	}
	want := []mfiOpcode{0x01010000, 0x01040100, 0x02010000, 0x02020000, 0x03010000, 0x05010000}
	if d := cmp.Diff(want, allowed); d != "" {
		t.Errorf("commands (-want +got):\n%s", d)
	}
	for _, op := range []mfiOpcode{0x01050000, 0x01101000, 0x04030000, 0x04040000, 0x02030100, 0x03090000, 0x05030000, 0} { // shut down, flush, clear the configuration …
		if _, err := mfiPacket(0, op, 0, 8); err == nil {
			t.Errorf("0x%08x may be sent", uint32(op))
		}
	}
	p, err := mfiPacket(0x0102, mfiDiskInfo, 0x0304, 512)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]byte{}
	for i, b := range p {
		if b != 0 {
			got[i] = b
		}
	}
	bytes := map[int]byte{0: 2, 1: 1, 4: 0x28, 8: 1, 20: 5, 22: 0xff, 27: 1, 36: 0x10, 41: 2, 46: 2, 47: 2, 48: 4, 49: 3, 157: 2}
	if d := cmp.Diff(bytes, got); d != "" {
		t.Errorf("packet (-want +got):\n%s", d)
	}
}

func TestParseMajor(t *testing.T) {
	const text = "Character devices:\n  1 mem\n245 megaraid_sas_ioctl\n\nBlock devices:\n246 megaraid_sas_ioctl_x\n"
	if n, err := parseMajor(text, "megaraid_sas_ioctl"); n != 245 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseMajor(text, "megaraid_sas_ioctl_x"); !errors.Is(err, errNoMFI) {
		t.Errorf("a block device: %v", err)
	}
}

// A device is opened by its number, and there is no path to it.
func TestOpenPrivately(t *testing.T) {
	const mem, null = 1, 3
	fd, err := openPrivately(mem, null)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) {
		if requireBPF() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Rdev != unix.Mkdev(mem, null) {
		t.Errorf("device %x, %v", st.Rdev, err)
	}
	if n, err := unix.Write(fd, []byte("x")); n != 1 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	mounts, err := sysfs.Live().Bytes(t.Context(), 1<<20, "/proc/self/mountinfo")
	if err != nil || slices.Contains(strings.Fields(string(mounts)), "size=64k") {
		t.Errorf("it is mounted: %v", err)
	}
}

func TestBatteryStates(t *testing.T) {
	for raw, want := range map[uint32]string{0: "ok", bbuMissing: "missing", bbuCapacityLow: "failed", bbuHot: "hot", 1 << 6: "learning", bbuCharging: "charging", bbuVoltageLow: "low", bbuCharging | bbuReplace: "failed"} {
		if b, err := parseMFIBattery(put(64, map[int]any{0: uint8(1), 8: raw})); err != nil || b.state != want {
			t.Errorf("0x%x: %s, %v; want %s", raw, b.state, err, want)
		}
	}
	if b, _ := parseMFIBattery(make([]byte, 64)); b.state != "absent" {
		t.Errorf("no battery: %s", b.state)
	}
}

func FuzzMFI(f *testing.F) {
	for _, answers := range mfiAnswerBytes() {
		for _, b := range answers {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _ := parseMFIController(b)
		d, _ := parseMFIDisk(b)
		for _, s := range []string{c.product, c.serial, c.pkg, d.model, d.serial, d.vendor, d.rev} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q is not plain", s)
			}
		}
		if v, err := parseMFIVolumes(b); err == nil && len(v) > mfiMaxVolumes {
			t.Errorf("%d volumes", len(v))
		}
		if d, err := parseMFIDisks(b); err == nil && len(d) > mfiMaxDisks {
			t.Errorf("%d disks", len(d))
		}
		if _, err := parseMFIEvents(b); err == nil && len(b) < mfiEventBytes {
			t.Error("events out of nothing")
		}
		if s, err := parseMFIBattery(b); err == nil && s.state == "" {
			t.Error("a battery without a state")
		}
	})
}
