package hw

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// holding is what was found out about the content of one block device.
type holding struct {
	content
	power power
	why   error // why the content could not be told
}

// errAsleep is the reason of not reading a disk.
var errAsleep = errors.New("the disk sleeps, and is not woken for this")

// readers is how many devices are read at a time: a disk with platters takes some
// ten milliseconds for each part, and there may be hundreds.
const readers = 16

// powerPatience is how long a disk may take to say whether it sleeps.
const powerPatience = time.Second

// inParallel calls f for each item, so many at a time.
func inParallel[T any](atOnce int, items []T, f func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range min(atOnce, len(items)) {
		wg.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}

// probeDisk reads what a whole disk holds, where that wakes nothing.
func (d *device) probeDisk() (r holding) {
	if size, ok := d.Attrs["size_bytes"].Int(); ok && size == 0 {
		r.why = errors.New("there is no medium")
		return r
	}
	r.power, r.why = d.diskPower()
	if r.why == nil {
		d.probe(&r)
	}
	if r.why != nil {
		d.fromUdev(&r)
	}
	return r
}

// probe reads the superblocks of an awake device.
func (d *device) probe(r *holding) {
	size, ok := d.Attrs["size_bytes"].Int()
	if !ok || size <= 0 {
		r.why = errors.New("its size is not known")
		return
	}
	number, err := d.root.Attr(d.ctx, d.dir, "dev")
	if err != nil {
		r.why = err
		return
	}
	m := &medium{size: size}
	spans := superblockSpans(size)
	for range 3 { // the superblock, LVM's metadata area, its text
		data, err := d.root.Spans(d.ctx, number, spans, node(d.name))
		if err != nil {
			r.why = err
			return
		}
		for i, b := range data {
			m.pages = append(m.pages, page{spans[i].Off, b})
		}
		r.content, spans = identifySuperblock(m)
		if len(spans) == 0 {
			return
		}
	}
}

// node is a block device's name under /dev: "cciss!c0d0" is /dev/cciss/c0d0.
func node(name string) string { return "/dev/" + strings.ReplaceAll(name, "!", "/") }

var onATA = regexp.MustCompile(`/ata[0-9]+/`)

// diskPower tells whether reading the disk could wake it; an error says that it must
// not be read. What has no platters wakes at no cost. A USB bridge's disk with
// platters is not asked, for bridges exist that hang on the question.
func (d *device) diskPower() (power, error) {
	if d.suspended() {
		return powerStandby, errAsleep
	}
	rotational, err := d.root.Attr(d.ctx, d.dir, "queue", "rotational")
	switch {
	case err != nil && !sysfs.Absent(err):
		return powerUnknown, err
	case rotational != "1" || !d.root.Live():
		return powerAwake, nil
	case onUSB(d.dir):
		return powerUnknown, errors.New("whether a disk behind a USB bridge sleeps cannot be told, and it is not woken for this")
	case !strings.HasPrefix(d.name, "sd"):
		return powerAwake, nil // an MMC card, a virtual disk: they know no standby
	}
	p, err := d.askPower(onATA.MatchString(d.dir))
	switch {
	case p == powerStandby:
		return p, errAsleep
	case errors.Is(err, sysfs.ErrHung):
		return p, err
	}
	return p, nil // a RAID controller's disk that does not understand the question
}

// suspended reports whether the kernel itself put the disk to sleep: opening it wakes it.
func (d *device) suspended() bool {
	s, err := d.root.Attr(d.ctx, d.dir, "device", "power", "runtime_status")
	return err == nil && strings.HasPrefix(s, "suspend")
}

func (d *device) askPower(ata bool) (power, error) {
	number, err := d.root.Attr(d.ctx, d.dir, "dev")
	if err != nil {
		return powerUnknown, err
	}
	return sysfs.Node(d.ctx, d.root, powerPatience, false, number, node(d.name), func(fd int) (power, error) {
		if ata {
			return ataPower(sgNode(fd))
		}
		return scsiPower(sgNode(fd))
	})
}

// maxUdev bounds a device's entry in udev's database.
const maxUdev = 64 << 10

// fromUdev takes what udev found when the device came, where the device itself must
// not or could not be read.
func (d *device) fromUdev(r *holding) {
	number, err := d.root.Attr(d.ctx, d.dir, "dev")
	if err != nil {
		return
	}
	b, err := d.root.Bytes(d.ctx, maxUdev, "/run/udev/data", "b"+number)
	if err != nil {
		return
	}
	if c, ok := parseUdev(string(b)); ok {
		r.content, r.why = c, nil
	}
}

// parseUdev reads the lines "E:NAME=value" of an entry; ok is false where udev
// identified nothing.
func parseUdev(text string) (c content, ok bool) {
	e := map[string]string{}
	for line := range strings.Lines(text) {
		if kv, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "E:"); found {
			k, v, _ := strings.Cut(kv, "=")
			e[k] = v
		}
	}
	c.Type, c.UUID, c.Label = e["ID_FS_TYPE"], e["ID_FS_UUID"], printable(e["ID_FS_LABEL"])
	if e["ID_PART_ENTRY_NUMBER"] == "" { // a partition bears its disk's table too
		c.Table, c.TableUUID = e["ID_PART_TABLE_TYPE"], strings.ToLower(e["ID_PART_TABLE_UUID"])
	}
	switch e["ID_FS_USAGE"] {
	case "filesystem":
		c.Holds = "filesystem"
	case "crypto":
		c.Holds = "encrypted"
	case "raid":
		c.Holds = "raid"
	}
	switch c.Type {
	case "LVM2_member":
		c.Holds, c.Type = "lvm", "LVM2"
	case "linux_raid_member":
		c.Type, c.Set, c.UUID = "md", textUUID(c.UUID), textUUID(e["ID_FS_UUID_SUB"])
	case "btrfs":
		c.Set, c.UUID = c.UUID, e["ID_FS_UUID_SUB"]
	case "swap":
		c.Holds = "swap"
	}
	return c, c.Type != "" || c.Table != ""
}

// keepContent sets what the device holds, or why that could not be told.
func (d *device) keepContent(r *holding) {
	switch {
	case r.why != nil:
		d.Fail("holds", r.why)
		return
	case r.Holds == "":
		d.Fail("holds", errors.New("nobody told"))
		return
	}
	d.Set("holds", snapshot.Text(r.Holds))
	for name, value := range map[string]string{"type": r.Type, "fs_uuid": r.fsUUID(), "fs_label": r.Label, "group": r.Group} {
		if value != "" {
			d.Set(name, snapshot.Text(value))
		}
	}
}

// fsUUID is the UUID that is mounted or assembled by.
func (c *content) fsUUID() string {
	if c.Set != "" {
		return c.Set
	}
	return c.UUID
}

// contentAlias is what a device is known by for what is on it: its own part of an
// array or of a btrfs of several disks, never what it shares with the others.
func (c *content) contentAlias() string {
	switch {
	case c.TableUUID != "":
		return "table:" + c.TableUUID
	case c.UUID != "":
		return "fs:" + c.UUID
	}
	return ""
}

// contentAttrs are declared by every kind that holds something.
func contentAttrs() []snapshot.Attr {
	return []snapshot.Attr{
		{Name: "holds", Doc: "filesystem, raid, lvm, encrypted, swap, or unknown where no such thing was recognised"},
		{Name: "type", Doc: "ext4, xfs, btrfs, vfat, LVM2, crypto_LUKS, md, swap …"},
		{Name: "fs_uuid", Doc: "UUID that it is mounted, opened or assembled by"},
		{Name: "fs_label", Doc: "label of what it holds"},
		{Name: "group", Doc: "LVM volume group that it belongs to"},
	}
}

// heldWhere are the values of holds that a loss is critical for.
var heldWhere = []string{"filesystem", "raid", "lvm", "encrypted", "swap"}

// missingWhenHeld makes the rules for a kind whose loss is critical where it held
// something and its disk is none that is taken out.
func missingWhenHeld(code, message, hint string) []snapshot.Rule {
	var rules []snapshot.Rule
	for _, holds := range heldWhere {
		rules = append(rules, snapshot.Rule{Code: code, On: snapshot.OnMissing, Where: map[string]string{"holds": holds, "removable": "no"},
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: message, Hint: hint})
	}
	return rules
}

// contentRules are the rules about what a device holds.
func contentRules(prefix, what string) []snapshot.Rule {
	return []snapshot.Rule{
		{Code: prefix + "-content-lost", On: snapshot.OnBecomes, Attr: "holds", From: heldWhere, To: []string{"unknown"}, Where: map[string]string{"removable": "no"},
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: what + " {name} held {old}, and nothing is recognised on it now"},
		{Code: prefix + "-uuid-changed", On: snapshot.OnChanged, Attr: "fs_uuid", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: what + " {name} holds another file system or volume: its UUID is {new}, was {old}"},
	}
}
