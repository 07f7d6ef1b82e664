package hw_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/vm/vmtest"
)

// bench is a machine of things that a guest makes itself: an ACPI zone whose
// temperature is in a page of memory, chips on an I2C bus that is none, an array of two
// disks, and firmware that tells of a BMC which is not there.
var bench = script("bench", func(in *inside) error {
	chips, err := in.makeChips()
	if err != nil {
		return err
	}
	defer chips.Close()
	array, err := in.makeArray()
	if err != nil {
		return err
	}
	defer array.Close()
	// It finds nothing at that port, and may say so: the reading tells.
	if err := in.load("ipmi_si", ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"cool", func() error { return in.heat(40) }},
		{"warm", func() error { return in.heat(77) }},
		{"hot", func() error { return in.heat(91) }},
		{"frozen", func() error { return in.heat(-273) }},
		{"failed", chips.fail},
		{"degraded", func() error { return in.breakArray(array) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := in.read(step.name); err != nil {
			return err
		}
	}
	return nil
})

// zonePage is where testdata/vm/zone.asl has its values.
const zonePage = 0x20000000

// heat sets the zone's temperature and waits until the kernel reads it.
func (in *inside) heat(celsius int) error {
	f, err := os.OpenFile("/dev/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), zonePage, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the zone's page: %w", err)
	}
	defer unix.Munmap(page)
	tenths := max(0, celsius*10+2732)
	binary.LittleEndian.PutUint32(page, uint32(tenths))
	return in.until("the zone is at that temperature", func() bool {
		b, err := os.ReadFile("/sys/class/thermal/thermal_zone0/temp")
		n, err2 := strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && err2 == nil && n/1000 == celsius
	})
}

// i2cBus is an open bus, of include/uapi/linux/i2c-dev.h.
type i2cBus struct{ *os.File }

// makeChips makes a fan controller (MAX6639, at 0x2f) and a memory sensor (JC42.4, at
// 0x18) out of registers that keep what is written to them, and has drivers bind to them.
func (in *inside) makeChips() (*i2cBus, error) {
	if err := in.load("i2c_stub", "chip_addr=0x2f,0x18"); err != nil {
		return nil, err
	}
	var adapter string
	for _, name := range glob("/sys/bus/i2c/devices/i2c-*/name") {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), "SMBus stub driver") {
			adapter = filepath.Dir(name)
		}
	}
	f, err := os.OpenFile("/dev/"+filepath.Base(adapter), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	bus := &i2cBus{f}
	const fanCount1, fanCount2, jcMax, jcCrit, jcTemp = 0x20, 0x21, 2, 4, 5
	for _, w := range []struct {
		chip, register byte
		value          uint16
		wide           bool
	}{
		{0x2f, 0x00, 45, false}, {0x2f, 0x01, 46, false}, // °C
		{0x2f, fanCount1, 32, false}, {0x2f, fanCount2, 40, false}, // 4000 rpm * 30 / count
		{0x18, jcMax, swapped(85 * 16), true}, {0x18, jcCrit, swapped(95 * 16), true}, {0x18, jcTemp, swapped(38 * 16), true},
	} {
		if err := bus.write(w.chip, w.register, w.value, w.wide); err != nil {
			return nil, err
		}
	}
	for _, chip := range []string{"max6639 0x2f", "jc42 0x18"} {
		if err := os.WriteFile(filepath.Join(adapter, "new_device"), []byte(chip), 0); err != nil {
			return nil, err
		}
	}
	return bus, in.until("drivers of the chips", func() bool {
		return contains("/sys/class/hwmon/hwmon*/fan1_input", "3750") && contains("/sys/class/hwmon/hwmon*/temp1_input", "38000")
	})
}

func swapped(v uint16) uint16 { return v>>8 | v<<8 }

// write sets a register of one byte, or of two.
func (b *i2cBus) write(chip, register byte, value uint16, wide bool) error {
	const slaveForce, smbus = 0x0706, 0x0720 // I2C_SLAVE_FORCE, I2C_SMBUS
	if err := unix.IoctlSetInt(int(b.Fd()), slaveForce, int(chip)); err != nil {
		return err
	}
	data := [34]byte{byte(value), byte(value >> 8)} // union i2c_smbus_data
	transfer := struct {
		read, command byte
		size          uint32
		data          unsafe.Pointer
	}{command: register, size: 2, data: unsafe.Pointer(&data)} // I2C_SMBUS_BYTE_DATA
	if wide {
		transfer.size = 3
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, b.Fd(), smbus, uintptr(unsafe.Pointer(&transfer))); errno != 0 {
		return fmt.Errorf("write register %#x of chip %#x: %w", register, chip, errno)
	}
	return nil
}

// fail stops the first fan, breaks the first sensor of the fan controller, and has the
// second one read 255 °C without calling it broken.
func (b *i2cBus) fail() error {
	const temp1, temp2, status, ext1, fan1, broken, fan1Failed = 0x00, 0x01, 0x02, 0x05, 0x20, 0x01, 0x02
	for _, w := range [][2]byte{{temp1, 255}, {ext1, broken}, {temp2, 255}, {fan1, 255}, {status, fan1Failed}} {
		if err := b.write(0x2f, w[0], uint16(w[1]), false); err != nil {
			return err
		}
	}
	return nil
}

// Of include/uapi/linux/raid/md_u.h.
const (
	mdSetArrayInfo  = 0x40480923
	mdAddNewDisk    = 0x40140921
	mdRunArray      = 0x400c0930
	mdSetDiskFaulty = 0x0929
)

// makeArray makes a mirror of the two SATA disks, without superblocks.
func (in *inside) makeArray() (*os.File, error) {
	const node = "/dev/lastgood-md0"
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(9, 0))); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	// mdu_array_info_t: major, minor, patch, ctime, level, size, nr_disks, raid_disks,
	// md_minor, not_persistent, utime, state (1: clean) …
	info := [18]int32{1: 90, 4: 1, 5: 65536, 6: 2, 7: 2, 9: 1, 11: 1, 12: 2, 13: 2}
	if err := ioctl(f, mdSetArrayInfo, unsafe.Pointer(&info)); err != nil {
		return nil, fmt.Errorf("set array: %w", err)
	}
	const activeInSync = 1<<1 | 1<<2
	for i, name := range []string{"/dev/sda", "/dev/sdb"} {
		number, err := deviceNumber(name)
		if err != nil {
			return nil, err
		}
		disk := [5]int32{int32(i), int32(unix.Major(number)), int32(unix.Minor(number)), int32(i), activeInSync}
		if err := ioctl(f, mdAddNewDisk, unsafe.Pointer(&disk)); err != nil {
			return nil, fmt.Errorf("add %s: %w", name, err)
		}
	}
	if err := ioctl(f, mdRunArray, nil); err != nil {
		return nil, fmt.Errorf("run array: %w", err)
	}
	return f, in.until("the array", func() bool {
		return contains("/sys/block/md0/md/degraded", "0") && !contains("/sys/block/md0/md/array_state", "inactive")
	})
}

func deviceNumber(node string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", node, err)
	}
	return st.Rdev, nil
}

// breakArray throws the second disk out of the array.
func (in *inside) breakArray(array *os.File) error {
	number, err := deviceNumber("/dev/sdb")
	if err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(array.Fd()), mdSetDiskFaulty, int(number)); err != nil {
		return fmt.Errorf("fail a disk: %w", err)
	}
	return in.until("degraded", func() bool { return contains("/sys/block/md0/md/degraded", "1") })
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// forQEMU copies a file of testdata/vm to where QEMU, which runs as nobody, may read it.
func forQEMU(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../testdata/vm", name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(openFolder(t), name)
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestVMBench warms a zone up, stops a fan, breaks sensors and degrades an array, and
// compares the firmware's tale of a BMC with a machine that has one.
func TestVMBench(t *testing.T) {
	vmtest.Need(t)
	t.Parallel()
	disk := func(name string, bus string) []string {
		return []string{"-blockdev", "driver=null-co,size=67108864,read-zeroes=on,node-name=" + name, "-device", "ide-hd,bus=" + bus + ",drive=" + name + ",serial=" + name}
	}
	r := boot(t, guestKernel(t, "6.12."), machine{
		script:  bench,
		devices: join(board, []string{"-acpitable", "file=" + forQEMU(t, "zone.aml"), "-smbios", "file=" + forQEMU(t, "type38.bin")}, disk("mirror0", "ide.0"), disk("mirror1", "ide.1")),
		modules: []string{"fan", "ahci", "sd_mod", "raid1", "i2c-dev", "max6639", "jc42", "ipmi_devintf"},
		later:   []string{"i2c_stub", "ipmi_si"},
		args:    []string{"memmap=4K$0x20000000"},
		await:   []string{"/sys/class/thermal/thermal_zone0/temp", "/sys/block/sda/size", "/sys/block/sdb/size"},
	})
	const zone, chip = "thermal/acpitz", "002f/max6639/"
	compared(t, r["cool"], r["warm"], snapshot.Good, "warning sensor-hot "+zone)
	compared(t, r["cool"], r["hot"], snapshot.Regressed, "critical sensor-critical "+zone)
	compared(t, r["hot"], r["cool"], snapshot.Good)
	compared(t, r["cool"], r["frozen"], snapshot.Good, "warning sensor-failed "+zone)
	compared(t, r["frozen"], r["failed"], snapshot.Regressed, "critical fan-stopped "+chip+"fan1", "warning sensor-failed "+chip+"temp1", "warning sensor-failed "+chip+"temp2")
	compared(t, r["failed"], r["degraded"], snapshot.Regressed, "critical md-degraded at:md0 + md-degraded@at:md0")
	ghost(t, troubled(t, "6.12.")["before"], r["cool"])
}

// ghost is what is said of the BMC alone, on a machine that had one.
func ghost(t *testing.T, old, new *guestReading) {
	t.Helper()
	var got []string
	for _, f := range judge(t, old.Snapshot, new.Snapshot).Findings {
		if f.Subject.Kind == "hw.bmc" {
			got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID))
		}
	}
	if d := cmp.Diff([]string{"critical bmc-driver-lost bmc"}, got); d != "" {
		t.Errorf("a BMC that is told of and not there (-want +got):\n%s", d)
	}
}

// The table is what the compiler makes of its source, but for the header, in which the
// compiler enters its version.
func TestZoneTable(t *testing.T) {
	iasl, err := exec.LookPath("iasl")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip("iasl (acpica-tools) is not installed")
	}
	dir := t.TempDir()
	if out, err := exec.Command(iasl, "-p", filepath.Join(dir, "zone"), "../testdata/vm/zone.asl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := os.ReadFile(filepath.Join(dir, "zone.aml"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("../testdata/vm/zone.aml")
	if err != nil {
		t.Fatal(err)
	}
	const header = 36
	if len(made) < header || len(kept) < header || !bytes.Equal(made[header:], kept[header:]) {
		t.Error("testdata/vm/zone.aml is not what its source gives: run iasl -p zone zone.asl there")
	}
}
