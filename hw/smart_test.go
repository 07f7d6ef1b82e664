package hw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// The kernel's structures have these sizes on every 64-bit machine.
func TestKernelStructures(t *testing.T) {
	if n := unsafe.Sizeof(sgHeader{}); n != 88 {
		t.Errorf("struct sg_io_hdr has %d bytes, want 88", n)
	}
	if n := unsafe.Sizeof(nvmePassthru{}); n != 72 { // the 0x48 in nvmeAdminCommand
		t.Errorf("struct nvme_passthru_cmd has %d bytes, want 72", n)
	}
}

func nvmePage() []byte {
	b := make([]byte, nvmeLogBytes)
	b[0], b[3], b[5] = 0x05, 97, 3
	binary.LittleEndian.PutUint16(b[1:], 273+41)
	binary.LittleEndian.PutUint64(b[128:], 12345)
	binary.LittleEndian.PutUint64(b[144:], 7)
	binary.LittleEndian.PutUint64(b[160:], 2)
	return b
}

// sum makes the last byte of a sector its checksum.
func sum(b []byte) []byte {
	b[511] = 0
	var s byte
	for _, x := range b {
		s += x
	}
	b[511] = -s
	return b
}

func ataPage(entries ...[]byte) []byte {
	b := make([]byte, ataSector)
	for i, e := range entries {
		copy(b[2+12*i:], e)
	}
	return sum(b)
}

// entry is an attribute: id, whether it foretells failure, value now and raw bytes.
func entry(id byte, prefail bool, value byte, raw ...byte) []byte {
	e := make([]byte, 12)
	e[0], e[3], e[4] = id, value, value
	if prefail {
		e[1] = 1
	}
	copy(e[5:], raw)
	return e
}

func identity(has, on bool) []byte {
	b := make([]byte, ataSector)
	binary.LittleEndian.PutUint16(b[2*83:], 1<<14)
	if has {
		b[2*82] = 1
	}
	if on {
		b[2*85] = 1
	}
	return b
}

// fakeDisk answers SCSI commands: to a READ the bytes, to a question its registers.
type fakeDisk struct {
	power    byte
	identity []byte
	data     []byte
	mid      byte // of the verdict
	fixed    bool // sense data of the fixed format
	asked    []byte
	logs     map[byte][]byte
	sense    []byte // what REQUEST SENSE gives
	illegal  bool   // no log pages at all
	silent   bool   // passes no ATA command on
}

func (f *fakeDisk) registers(count, mid, high byte) []byte {
	if f.fixed {
		s := make([]byte, 18)
		s[0], s[4], s[6], s[10], s[11], s[12], s[13] = 0x70, 0x50, count, mid, high, 0, 0x1d
		return s
	}
	s := make([]byte, 22)
	s[0], s[7], s[8], s[9], s[13], s[17], s[19], s[21] = 0x72, 14, 0x09, 12, count, mid, high, 0x50
	return s
}

func (f *fakeDisk) command(cdb, in []byte) (scsiReply, error) {
	give := func(b []byte) (scsiReply, error) { return scsiReply{got: copy(in, b)}, nil }
	if cdb[0] == passThrough16 {
		if f.silent {
			return scsiReply{status: statusCheck, sense: []byte{0x72, illegalRequest, 0x20, 0}}, nil
		}
		f.asked = append(f.asked, cdb[14])
	}
	switch {
	case cdb[0] == 0x03:
		return give(f.sense)
	case cdb[0] == realtekTunnel:
		return give(f.data)
	case cdb[0] == 0x4d && f.illegal:
		return scsiReply{status: statusCheck, sense: []byte{0x72, illegalRequest, 0x20, 0}}, nil
	case cdb[0] == 0x4d:
		return give(f.logs[cdb[2]&0x3f])
	case cdb[14] == checkPowerMode:
		return scsiReply{status: statusCheck, sense: f.registers(f.power, 0, 0)}, nil
	case cdb[14] == ataIdentify:
		return give(f.identity)
	case cdb[4] == smartData:
		return give(f.data)
	case cdb[4] == smartThresholds:
		return give(ataPage(entry(ataReallocated, false, 36), []byte{5, 36}))
	}
	high := byte(smartKeyHigh)
	if f.mid == smartFailingMid {
		high = smartFailingHigh
	}
	return scsiReply{status: statusCheck, sense: f.registers(0, f.mid, high)}, nil
}

var goodATA = ataPage(entry(ataReallocated, true, 100, 4), entry(ataPowerOn, false, 90, 0x10, 0x27, 0, 0x99), entry(ataTemperature, false, 60, 33, 0, 20, 0, 45),
	entry(ataPending, false, 100, 1), entry(ataUncorrectable, false, 100), entry(ataCRC, false, 200, 9))

func TestATAHealth(t *testing.T) {
	numbers := map[string]int64{"reallocated": 4, "power_on_hours": 10000, "temperature_celsius": 33, "pending": 1, "uncorrectable": 0, "crc_errors": 9}
	cases := []struct {
		name string
		disk *fakeDisk
		want *smartFacts
		err  error
	}{
		{"well", &fakeDisk{power: 0xff, identity: identity(true, true), data: goodATA, mid: smartKeyMid}, &smartFacts{told: true, numbers: numbers}, nil},
		{"well, in the fixed format", &fakeDisk{power: 0x80, identity: identity(true, true), data: goodATA, mid: smartKeyMid, fixed: true}, &smartFacts{told: true, numbers: numbers}, nil},
		{"it foretells its failure", &fakeDisk{power: 0xff, identity: identity(true, true), data: goodATA, mid: smartFailingMid}, &smartFacts{told: true, warnings: []string{"failure is foretold"}, numbers: numbers}, nil},
		{"no verdict", &fakeDisk{power: 0xff, identity: identity(true, true), data: goodATA, mid: 1}, &smartFacts{numbers: numbers}, nil},
		{"it sleeps", &fakeDisk{power: 0x00}, nil, errAsleep},
		{"it sleeps in standby_y", &fakeDisk{power: 0x01}, nil, errAsleep},
		{"no SMART", &fakeDisk{power: 0xff, identity: identity(false, false)}, nil, errNoSMART},
		{"turned off", &fakeDisk{power: 0xff, identity: identity(true, false)}, nil, errSMARTOff},
		{"a broken page", &fakeDisk{power: 0xff, identity: identity(true, true), data: make([]byte, 100)}, nil, errCommand},
		{"a wrong sum", &fakeDisk{power: 0xff, identity: identity(true, true), data: append([]byte{1}, make([]byte, 511)...)}, nil, errPage},
		{"a bridge that passes nothing on", &fakeDisk{silent: true}, nil, errNoATA},
	}
	for _, c := range cases {
		got, err := ataHealth(c.disk)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(smartFacts{})); d != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", c.name, err, c.err, d)
		}
		if errors.Is(c.err, errAsleep) && !slices.Equal(c.disk.asked, []byte{checkPowerMode}) {
			t.Errorf("%s: it was asked %x", c.name, c.disk.asked)
		}
	}
	low, err := ataAttributes(ataPage(entry(ataReallocated, true, 10, 4)), sum(append([]byte{0, 0, 5, 36}, make([]byte, 508)...)))
	if err != nil || len(low.warnings) != 1 {
		t.Errorf("below its threshold: %+v, %v", low, err)
	}
}

// logPage makes a log page of parameters: code, then bytes.
func logPage(page byte, params map[uint16][]byte) []byte {
	var body []byte
	for _, code := range slices.Sorted(maps.Keys(params)) {
		body = append(binary.BigEndian.AppendUint16(body, code), append([]byte{0, byte(len(params[code]))}, params[code]...)...)
	}
	return append([]byte{page, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func TestSCSIHealth(t *testing.T) {
	awake := []byte{0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	standby := slices.Clone(awake)
	standby[12], standby[13] = 0x5e, 0x02
	logs := map[byte][]byte{
		logSupported:     {logSupported, 0, 0, 4, logSupported, logReadErrors, logBackground, logInformational},
		logReadErrors:    logPage(logReadErrors, map[uint16][]byte{6: {0, 0, 0, 3}, 5: {9}}),
		logBackground:    logPage(logBackground, map[uint16][]byte{0: {0, 0, 0x0b, 0xb8, 0, 0}}),
		logInformational: logPage(logInformational, map[uint16][]byte{0: {failureForetold, 0, 40}}),
	}
	got, err := scsiHealth(&fakeDisk{sense: awake, logs: logs})
	want := &smartFacts{told: true, warnings: []string{"failure is foretold"}, numbers: map[string]int64{"uncorrectable": 3, "power_on_hours": 50}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(smartFacts{})); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := scsiHealth(&fakeDisk{sense: standby, logs: logs}); !errors.Is(err, errAsleep) {
		t.Errorf("one that sleeps: %v", err)
	}
	if _, err := scsiHealth(&fakeDisk{sense: awake, illegal: true}); !errors.Is(err, errNoLogs) {
		t.Errorf("one without log pages: %v", err)
	}
	if f, err := realtekHealth(&fakeDisk{data: nvmePage()}); err != nil || f.numbers["media_errors"] != 2 {
		t.Errorf("through a bridge: %+v, %v", f, err)
	}
	if _, err := realtekHealth(&fakeDisk{data: make([]byte, nvmeLogBytes)}); !errors.Is(err, errCommand) {
		t.Errorf("a bridge that gives zeros: %v", err)
	}
}

// fakeAsker stands for the disks of a host.
type fakeAsker struct {
	page  []byte
	disks map[string]commander
	hang  map[string]bool
}

func (f fakeAsker) nvme(context.Context, *device, string) ([]byte, error) { return f.page, nil }

func (f fakeAsker) scsi(ctx context.Context, d *device, ask func(commander) (*smartFacts, error)) (*smartFacts, error) {
	if f.hang[d.name] {
		return sysfs.Ask(ctx, d.root, time.Millisecond, d.name, func() (*smartFacts, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}
	dev, ok := f.disks[d.name]
	if !ok {
		return nil, fmt.Errorf("no such disk as %s", d.name)
	}
	return ask(dev)
}

func recorded(t testing.TB, name string, links map[string]string) source.Host {
	t.Helper()
	under, err := sysfs.OpenTreeFS("../testdata/hosts/" + name + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	vendor := map[string]string{"/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/device/vendor": "ATA     \n"} // not asked for when it was recorded
	return source.Host{Root: sysfs.WithPatience(&sysfstest.FS{Under: under, Files: vendor, Links: links}, time.Hour)}
}

// Every disk answers for itself: one that hangs or refuses costs no other.
func TestReadSMART(t *testing.T) {
	const raid = "/sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0/driver"
	host := recorded(t, "full61", map[string]string{raid: "../../../../bus/pci/drivers/mpt3sas"}) // with it they are disks, and not volumes
	ask := fakeAsker{page: nvmePage(), hang: map[string]bool{"sdc": true}, disks: map[string]commander{
		"sda": &fakeDisk{power: 0xff, identity: identity(true, true), data: goodATA, mid: smartKeyMid},
		"sdb": &fakeDisk{sense: make([]byte, 18), illegal: true},
		"sdd": &fakeDisk{silent: true}, "sde": &fakeDisk{power: 0},
	}}
	outcomes := func() map[string]snapshot.Outcome {
		subjects, err := readSMART(t.Context(), host, ask)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]snapshot.Outcome{}
		for _, s := range subjects {
			_, name, _ := strings.Cut(s.Label, "(")
			out[strings.TrimSuffix(name, ")")] = s.Outcome
			if s.Parent != "hw.disk/"+s.ID || (s.Outcome != snapshot.Measured) != (s.Reason != "") {
				t.Errorf("%+v", s)
			}
		}
		return out
	}
	want := map[string]snapshot.Outcome{"nvme0n1": snapshot.Measured, "sda": snapshot.Measured, "sdb": snapshot.Unsupported, "sdc": snapshot.Inconclusive}
	if d := cmp.Diff(want, outcomes()); d != "" {
		t.Errorf("USB bridges are not asked (-want +got):\n%s", d)
	}
	volumes := host
	host = recorded(t, "full61", nil)
	want["sdc"] = snapshot.Unsupported
	if d := cmp.Diff(want, outcomes()); d != "" {
		t.Errorf("volumes of a RAID controller are not asked (-want +got):\n%s", d)
	}
	host, want["sdc"] = volumes, snapshot.Inconclusive
	host.Bridges = true
	want["sdd"], want["sde"] = snapshot.Unsupported, snapshot.Skipped
	if d := cmp.Diff(want, outcomes()); d != "" {
		t.Errorf("USB bridges are asked (-want +got):\n%s", d)
	}
}

func TestNVMeHealth(t *testing.T) {
	got, err := nvmeHealth(nvmePage())
	want := &smartFacts{told: true, warnings: []string{"spare is low", "reliability is degraded"},
		numbers: map[string]int64{"temperature_celsius": 41, "available_spare": 97, "percentage_used": 3, "power_on_hours": 12345, "unsafe_shutdowns": 7, "media_errors": 2}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(smartFacts{})); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := nvmeHealth(make([]byte, 100)); !errors.Is(err, errPage) {
		t.Errorf("a short page: %v", err)
	}
}

func FuzzHealthPages(f *testing.F) {
	f.Add(nvmePage(), byte(0))
	f.Add(goodATA, byte(1))
	f.Add(identity(true, true), byte(2))
	for _, p := range scsiPages {
		f.Add(logPage(p, map[uint16][]byte{0: {1, 2, 3, 4}, 6: {0, 0, 0, 3}}), p)
	}
	f.Add((&fakeDisk{}).registers(0xff, 1, 2), byte(3))
	f.Add((&fakeDisk{fixed: true}).registers(0xff, 1, 2), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, page byte) {
		var all []*smartFacts
		if facts, err := nvmeHealth(b); err == nil {
			all = append(all, facts)
		}
		if facts, err := ataAttributes(b, b); err == nil {
			all = append(all, facts)
		}
		facts := newFacts()
		if facts.scsiPage(page, b) == nil {
			all = append(all, facts)
		}
		for _, facts := range all {
			for name, n := range facts.numbers {
				if n < 0 && name != "temperature_celsius" {
					t.Errorf("%s = %d", name, n)
				}
			}
		}
		senseCodes(b)
		if regs, ok := ataReturn(b); ok && len(b) < 14 {
			t.Errorf("registers %+v out of %d bytes", regs, len(b))
		}
		if _, _, err := ataIdentity(b); err == nil && len(b) < ataSector {
			t.Errorf("an identity out of %d bytes", len(b))
		}
	})
}
