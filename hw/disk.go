package hw

import (
	"context"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const diskKind = "hw.disk"

var _ = catalogue.Add(source.Source{
	Name: "disk",
	Doc: `whole disks, by what they are

Reads /sys/block. Left out is what is no disk of this host: block devices without
a device behind them (loop, ram, zram, md, dm, nbd, drbd, bcache), rbd, which are
network images, optical and floppy drives, whose medium comes and goes, the boot
and RPMB areas of eMMC, and the hidden paths of NVMe multipath.

Where a disk is awake, a few kilobytes at its start and its end are read, so that it
can be known by its partition table as well.`,
	Kinds: []snapshot.Kind{disk},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		found, errs, unsure := readDisks(ctx, h, true)
		subjects := subjectsOf(found)
		crossCheckDisks(h, subjects)
		return subjects, errors.Join(append(errs, unsure...)...)
	},
})

const blockFolder = "/sys/block"

// readDisks reads all disks, what they hold if that is wanted, and who they are. errs
// say what could not be found, unsure which of the found could not be told.
func readDisks(ctx context.Context, h source.Host, contents bool) (found []*device, errs, unsure []error) {
	found, errs = devices(ctx, h, blockFolder, diskKind, readers, (*device).readDisk)
	inParallel(readers, found, func(d *device) {
		if contents {
			d.held = d.probeDisk()
			d.keepTable()
		}
		if a := d.held.contentAlias(); a != "" {
			d.also = append(d.also, a)
		}
		d.Set("aliases", snapshot.List(slices.Concat(d.aliases, d.also, []string{d.place})...))
	})
	return found, errs, identify(h, found)
}

var disk = snapshot.Kind{
	Name: diskKind,
	Doc: `a whole disk, known by its serial number (NVMe), that of its bridge (USB), its WWID or its serial number (all others), or, where another
disk bears the same or it has none, by where it sits`,
	Required:    true,
	AliasAttr:   "aliases",
	WeakAliases: []string{"at", "table", "fs"},
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "what the kernel calls it today"},
		{Name: "model", Doc: "model"},
		{Name: "serial", Doc: "serial number"},
		{Name: "wwid", Doc: "world-wide identifier (SCSI page 0x83, NVMe namespace)"},
		{Name: "firmware", Doc: "firmware revision"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "capacity"},
		{Name: "logical_block_bytes", Unit: snapshot.Bytes, Doc: "logical block size"},
		{Name: "ro", Doc: "yes where it cannot be written"},
		{Name: "rotational", Doc: "yes where it has platters, or says so"},
		{Name: "removable", Doc: "yes where its medium can be taken out"},
		{Name: "driver", Doc: "driver of the controller or bridge that it is reached by"},
		{Name: "state", Doc: "running or live, offline, blocked …, as the kernel has it"},
		{Name: "queue_depth", Unit: snapshot.Count, Doc: "commands that the kernel gives it at a time (SCSI, SATA)"},
		{Name: "table", Doc: "gpt, dos, or none where it bears no partition table; only where it could be read"},
		{Name: "table_id", Doc: "GUID of its partition table, or the signature of a DOS one"},
		{Name: "io_errors", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "commands that failed since boot (SCSI); a few when a disk is set up are normal. Not of ATA disks: each answer about sleep or health is counted as one there"},
		{Name: "io_timeouts", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "commands that got no answer since boot (SCSI)"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "controller, port and unit"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "disk-missing", On: snapshot.OnMissing, Where: map[string]string{"removable": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "disk {name} is gone", Hint: "look for its controller and its driver in the kernel's log"},
		{Code: "disk-removable-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "disk {name} is gone; it is removable, or did not say"},
		{Code: "disk-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "disk {name} is new"},
		{Code: "disk-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "same disk: was {old}, is {new}; what names it {old}: {users}", Hint: "name disks by UUID or by /dev/disk/by-id"},
		{Code: "disk-read-only", On: snapshot.OnBecomes, Attr: "ro", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "disk {name} is read-only now"},
		{Code: "disk-offline", On: snapshot.OnBecomes, Attr: "state", From: []string{"running", "live"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Symptom: true, Message: "disk {name} is {new}, was {old}", Hint: "look for its controller in the kernel's log"},
		{Code: "disk-io-errors", On: snapshot.OnGrowth, Attr: "io_errors", Ratio: 2, Floor: 10, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{new} commands to disk {name} failed since boot, were {old}"},
		{Code: "disk-io-timeouts", On: snapshot.OnGrowth, Attr: "io_timeouts", Ratio: 2, Floor: 1, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{new} commands to disk {name} got no answer since boot, were {old}"},
		{Code: "disk-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Where: map[string]string{"removable": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "disk {name} has {new}, had {old}"},
		{Code: "disk-block-size-changed", On: snapshot.OnChanged, Attr: "logical_block_bytes", Where: map[string]string{"removable": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "disk {name} has logical blocks of {new}, had {old}: its partitions and file systems cannot be read"},
		{Code: "disk-table-lost", On: snapshot.OnBecomes, Attr: "table", From: []string{"gpt", "dos"}, To: []string{"none"}, Where: map[string]string{"removable": "no"}, Topic: "table",
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Cause: true, Message: "disk {name} has no partition table, had one ({old})", Hint: "write nothing to it; see `sgdisk --verify`, and whether its block size changed"},
		{Code: "disk-table-changed", On: snapshot.OnChanged, Attr: "table_id", Where: map[string]string{"removable": "no"}, Topic: "table", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Cause: true, Message: "disk {name} bears another partition table: {new}, was {old}"},
		{Code: "disk-queue-lost", On: snapshot.OnBecomes, Attr: "queue_depth", To: []string{"1"}, Unless: []string{"driver"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "disk {name} is given one command at a time, was given {old}: its queue is not used", Hint: "look for \"NCQ\" or \"Unexpected\" in the kernel's log of its port"},
		{Code: "disk-driver-changed", On: snapshot.OnChanged, Attr: "driver", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "disk {name} is reached by {new}, was by {old}"},
		{Code: "disk-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of disk {name} is {new}, was {old}"},
		{Code: "disk-wwid-changed", On: snapshot.OnChanged, Attr: "wwid", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the WWID of disk {name} is {new}, was {old}; its names under /dev/disk/by-id change with it"},
		{Code: "disk-replaced", On: snapshot.OnChanged, Attr: "model", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "another disk is where {name} was: was {old}, is {new}"},
	},
}

// notDisks are names of block devices that have a device behind them and are
// still none of this host's disks.
var notDisks = regexp.MustCompile(`^(sr|fd|rbd|scd)[0-9]+$|^mmcblk[0-9]+(boot[0-9]+|rpmb|gp[0-9]+)$`)

// sectorBytes is what the size attribute counts in, whatever the block size.
const sectorBytes = 512

func (d *device) readDisk() bool {
	if notDisks.MatchString(d.name) {
		return false
	}
	real, err := d.root.Exists(d.ctx, d.dir, "device")
	if err != nil {
		d.doubt(err)
		real = true
	}
	hidden, err := d.root.Attr(d.ctx, d.dir, "hidden")
	if !real || (err == nil && hidden == "1") {
		return false
	}
	d.Set("name", snapshot.Text(d.name))
	// What it is comes first: a read that hangs ends the reading of this disk.
	model := d.keepFirst("model", []string{"device", "model"}, []string{"device", "name"})
	at := d.controllerFolder()
	d.settle(at)
	d.Parent = d.hangsOn(at)
	d.diskIdentity(model)
	d.number("size_bytes", sectorBytes, "size")
	d.keep("state", "device", "state")
	d.number("queue_depth", 1, "device", "queue_depth")
	// The answers of ATA's power and SMART commands come back as sense data, which
	// the SCSI layer counts as failures: with smartd at work the number grows for ever.
	if !onATA.MatchString(d.dir) && d.attr("io_errors", "device", "vendor") != "ATA" {
		d.number("io_errors", 1, "device", "ioerr_cnt")
	}
	d.number("io_timeouts", 1, "device", "iotmo_cnt")
	d.number("logical_block_bytes", 1, "queue", "logical_block_size")
	d.flag("ro", "ro")
	d.flag("removable", "removable")
	d.flag("rotational", "queue", "rotational")
	d.keepFirst("firmware", []string{"device", "firmware_rev"}, []string{"device", "rev"}, []string{"device", "fwrev"})
	if drv, err := d.driverAbove(path.Dir(at)); err != nil {
		d.Fail("driver", err)
	} else {
		d.Set("driver", snapshot.Text(drv))
	}
	d.Label = d.name
	if model != "" {
		d.Label = model + " (" + d.name + ")"
	}
	return true
}

// keepFirst sets the first of several attributes that is there: each kind of disk
// has its own file for it.
func (d *device) keepFirst(name string, files ...[]string) string {
	for _, f := range files {
		if s := d.keep(name, f...); s != "" {
			return s
		}
	}
	return ""
}

// controllerFolder is the disk's folder, for a disk of NVMe multipath the one that
// it would have on its first controller: the disk itself hangs on none.
func (d *device) controllerFolder() string {
	if !strings.HasPrefix(d.dir, "/sys/devices/virtual/nvme-subsystem/") {
		return d.dir
	}
	names, err := d.root.List(d.ctx, path.Dir(d.dir))
	if err != nil {
		d.doubt(err)
		return d.dir
	}
	for _, n := range names {
		if nvmeController.MatchString(n) {
			if t, err := d.root.Target(d.ctx, path.Dir(d.dir), n); err == nil {
				return path.Join(t, d.name)
			}
		}
	}
	return d.dir
}

var (
	nvmeController = regexp.MustCompile(`^nvme[0-9]+$`)
	nvmeDisk       = regexp.MustCompile(`^nvme[0-9]+n[0-9]+$`)
)

// diskIdentity gathers the aliases. A kernel may change its mind about a WWID, and
// then the disk must not look lost. For NVMe the serial number, which every drive
// has, comes first: NVME_QUIRK_BOGUS_NID gives a drive another WWID. A USB disk has
// a WWID and a serial number under uas and may have neither under usb-storage
// (skip_vpd_pages), so that it is known by its bridge's serial number or its socket.
func (d *device) diskIdentity(model string) {
	switch {
	case nvmeDisk.MatchString(d.name):
		d.aliasSerial("nvme", model, "/"+namespace(d.dir))
		d.aliasWWID()
	case onUSB(d.dir):
		d.alias("usb", d.bridgeSerial())
		if serial, err := d.diskSerial(); err == nil && !junk(serial) {
			d.also = append(d.also, "serial:"+joinWords(model, serial))
		}
		if wwid, err := d.wwid(); err == nil && !junkWWID(wwid) {
			d.also = append(d.also, "wwid:"+joinWords(wwid))
		}
	default:
		d.aliasWWID()
		d.aliasSerial("serial", model, "")
	}
	place := "at:" + d.place
	d.place = place + "/" + joinWords(model)
}

// aliasSerial makes the serial number an alias, together with the model, within
// which it counts.
func (d *device) aliasSerial(kind, model, unit string) {
	serial, err := d.diskSerial()
	d.doubt(err)
	if !junk(serial) {
		d.alias(kind, joinWords(model, serial)+unit)
	}
}

func (d *device) aliasWWID() {
	wwid, err := d.wwid()
	d.doubt(err)
	if !junkWWID(wwid) {
		d.alias("wwid", joinWords(wwid))
	}
}

// junkWWID reports whether a WWID, "naa." or the like and a number, tells nothing.
func junkWWID(wwid string) bool {
	_, number, _ := strings.Cut(wwid, ".")
	return junk(number)
}

// bridgeSerial names a USB disk by the serial number of the USB device and its unit.
func (d *device) bridgeSerial() string {
	for dir := d.dir; len(dir) > len("/sys/devices"); dir = path.Dir(dir) {
		if !usbPort.MatchString(path.Base(dir)) {
			continue
		}
		var words []string
		for _, f := range []string{"idVendor", "idProduct", "serial"} {
			s, err := d.root.Attr(d.ctx, dir, f)
			if err != nil && !sysfs.Absent(err) {
				d.doubt(err)
			}
			words = append(words, s)
		}
		if junk(words[2]) {
			return ""
		}
		return joinWords(words...) + "/" + path.Base(d.place)
	}
	return ""
}

func namespace(dir string) string { return submatch(path.Base(dir), false) }

// diskSerial reads the serial number and sets it: an attribute for NVMe, virtio and
// MMC, SCSI page 0x80 as the kernel keeps it for the rest.
func (d *device) diskSerial() (string, error) {
	serial, err := d.first("serial", "device/serial")
	if serial == "" && err == nil {
		var page []byte
		page, err = d.root.Bytes(d.ctx, sysfs.PageSize, d.dir, "device", "vpd_pg80")
		if sysfs.Absent(err) || errors.Is(err, unix.EINVAL) { // EINVAL: the kernel dropped the page
			err = nil
		}
		serial = unitSerial(page)
	}
	d.identifier("serial", serial, err)
	return serial, err
}

// first reads the first of several attributes that is there and not blank.
func (d *device) first(files ...string) (string, error) {
	for _, f := range files {
		s, err := d.root.Attr(d.ctx, d.dir, f)
		if err != nil && !sysfs.Absent(err) {
			return "", err
		}
		if s != "" {
			return strings.Join(strings.Fields(s), " "), nil
		}
	}
	return "", nil
}

func (d *device) identifier(name, value string, err error) {
	if err != nil {
		d.Fail(name, err)
	} else if value != "" {
		d.Set(name, snapshot.Text(value))
	}
}

// unitSerial takes the serial number out of a unit serial number page (SPC-4,
// 7.8.15): byte 1 is the page code, bytes 2 and 3 the length. "" where it is none.
func unitSerial(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	s := string(page[4:min(4+n, len(page))])
	for _, r := range s {
		if r < ' ' || r > '~' {
			return ""
		}
	}
	return strings.Join(strings.Fields(s), " ")
}

// wwid reads the world-wide identifier and sets it. ENXIO is the kernel's word for
// a SCSI disk without one (sdev_show_wwid of drivers/scsi/scsi_sysfs.c).
func (d *device) wwid() (string, error) {
	s, err := d.first("wwid", "device/wwid", "device/cid")
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EINVAL) {
		err = nil
	}
	d.identifier("wwid", s, err)
	return s, err
}

// joinWords makes one word of several texts: an ID without blanks.
func joinWords(texts ...string) string {
	return strings.Join(strings.Fields(strings.Join(texts, " ")), "_")
}

// minSerial is the shortest serial number that is taken for one: bridges report
// "1", "0000" and the like.
const minSerial = 5

// countsUp is how many digits in a row make a serial number one that was never
// set: bridges come with 0123456789ABCDE, 012345678904 and 123456789012.
const countsUp = 8

// JunkSerial reports whether a serial number tells nothing of the device that bears it.
func JunkSerial(s string) bool { return junk(s) }

// junk reports whether a serial number tells nothing: too short, one character
// over and over, or digits that count up.
func junk(s string) bool {
	s = strings.ToLower(strings.Join(strings.Fields(s), ""))
	if len(s) < minSerial || strings.Trim(s, s[:1]) == "" {
		return true
	}
	head := s[:min(len(s), countsUp)]
	return strings.HasPrefix("0123456789", head) || strings.HasPrefix("123456789", head)
}
