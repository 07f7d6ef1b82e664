package hw

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

const partitionKind = "hw.partition"

var partition = snapshot.Kind{
	Name:        partitionKind,
	Doc:         "a partition of a disk or an array, known by its PARTUUID, or by its disk and its number",
	AliasAttr:   "aliases",
	WeakAliases: []string{"on", "fs"},
	Attrs: append([]snapshot.Attr{
		{Name: "name", Noise: snapshot.Evidence, Doc: "what the kernel calls it today"},
		{Name: "number", Doc: "its number in the partition table"},
		{Name: "start_bytes", Unit: snapshot.Bytes, Doc: "where it begins on its disk"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "size"},
		{Name: "partuuid", Doc: "its own GUID (GPT), or the disk's signature and its number (DOS)"},
		{Name: "ro", Doc: "yes where it cannot be written though its disk can"},
		{Name: "removable", Doc: "yes where its disk can be taken out, or did not say"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	}, contentAttrs()...),
	Rules: append(append(missingWhenHeld("partition-missing", "partition {name} is gone, which held {attr:holds}", "is its disk there, and is the partition table whole? See `sfdisk --list`"),
		snapshot.Rule{Code: "partition-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "partition {name} is gone"},
		snapshot.Rule{Code: "partition-read-only", On: snapshot.OnBecomes, Attr: "ro", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "partition {name} is read-only now, and its disk is not"},
		snapshot.Rule{Code: "partition-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "partition {name} has {new}, had {old}"},
	), contentRules("partition", "partition")...),
}

func (d *device) readPartition() bool {
	n, err := d.root.Int(d.ctx, d.dir, "partition")
	if sysfs.Absent(err) {
		return false // a disk or a volume
	}
	d.Set("name", snapshot.Text(d.name))
	if err != nil {
		d.Fail("number", err)
		if n, err = strconv.ParseInt(trailingDigits(d.name), 10, 64); err != nil {
			return false
		}
	}
	d.Set("number", snapshot.Int(n))
	d.number("size_bytes", sectorBytes, "size")
	d.number("start_bytes", sectorBytes, "start")
	d.flag("ro", "ro")
	d.Label = d.name
	return true
}

func trailingDigits(s string) string { return s[len(strings.TrimRight(s, "0123456789")):] }

// finishPartition joins a partition to its disk, by which it is known where its
// table gave it no UUID.
func (s *stack) finishPartition(d *device) {
	disk := s.devs[diskOf(d.dir)]
	if disk == nil {
		return
	}
	n, _ := d.Attrs["number"].Int()
	d.Parent = disk.Key().String()
	d.Label = fmt.Sprintf("partition %d of %s (%s)", n, disk.Name(), d.name)
	d.place = "on:" + disk.ID + "/part" + strconv.FormatInt(n, 10)
	d.Set("removable", snapshot.Text(s.removable(d)))
	if disk.Text("ro") == "yes" {
		delete(d.Attrs, "ro") // its disk's finding is enough
	}
	id, err := d.partUUID(disk, int(n))
	if err != nil {
		d.Fail("partuuid", err)
	} else if id != "" {
		d.Set("partuuid", snapshot.Text(id))
		d.alias("partuuid", id)
	}
	d.doubt(disk.unsure)
	d.keepContent(&d.held)
}

// partUUID takes a partition's UUID from the kernel (PARTUUID of its uevent, since
// Linux 6.9), from its disk's table, or from udev.
func (d *device) partUUID(disk *device, n int) (string, error) {
	if text, err := d.root.Attr(d.ctx, d.dir, "uevent"); err == nil {
		for line := range strings.Lines(text) {
			if id, found := strings.CutPrefix(strings.TrimSpace(line), "PARTUUID="); found {
				return strings.ToLower(id), nil
			}
		}
	}
	if id := disk.held.partUUID(n); id != "" {
		return id, nil
	}
	if number, err := d.root.Attr(d.ctx, d.dir, "dev"); err == nil {
		if b, err := d.root.Bytes(d.ctx, maxUdev, "/run/udev/data", "b"+number); err == nil {
			for line := range strings.Lines(string(b)) {
				if id, found := strings.CutPrefix(strings.TrimSpace(line), "E:ID_PART_ENTRY_UUID="); found {
					return strings.ToLower(id), nil
				}
			}
		}
	}
	return "", disk.held.why
}

// diskOf is the kernel name of the disk that a partition's folder lies in.
func diskOf(dir string) string { return path.Base(path.Dir(dir)) }
