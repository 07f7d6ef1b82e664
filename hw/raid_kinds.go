package hw

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const (
	raidFirmwareKind = "hw.raid_firmware"
	raidVolumeKind   = "hw.raid_volume"
	raidDiskKind     = "hw.raid_disk"
)

var raidFirmware = snapshot.Kind{
	Name: raidFirmwareKind,
	Doc:  "what the firmware of a MegaRAID controller says of itself",
	Attrs: []snapshot.Attr{
		{Name: "product", Doc: "model"},
		{Name: "serial", Doc: "serial number"},
		{Name: "package", Doc: "version of the firmware package"},
		{Name: "memory_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "cache memory"},
		{Name: "memory_correctable", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors of its memory that were corrected"},
		{Name: "memory_uncorrectable", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors of its memory that could not be corrected"},
		{Name: "battery", Doc: "what keeps the write cache when the power fails: ok, charging, learning, low, hot, failed, missing, absent"},
		{Name: "battery_volts", Unit: snapshot.Volts, Noise: snapshot.Evidence, Doc: "its voltage"},
		{Name: "battery_celsius", Unit: snapshot.Celsius, Noise: snapshot.Ambient, Doc: "its temperature"},
		{Name: "event_newest", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "number of the newest event in its log"},
		{Name: "events_since_start", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "events in its log since it was started"},
		{Name: "host", Noise: snapshot.Evidence, Doc: "name of its SCSI host of today"},
		{Name: "host_folder", Noise: snapshot.Evidence, Doc: "folder of its SCSI host"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "chain of slots from the root bus"},
	},
	Rules: []snapshot.Rule{
		{Code: "raid-battery-failed", On: snapshot.OnBecomes, Attr: "battery", From: []string{"ok", "charging", "learning", "low", "hot"}, To: []string{"failed", "missing", "absent"},
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "the battery of RAID controller {name} is {new}, was {old}",
			Hint: "without it writes wait for the disks, or are lost when the power fails"},
		{Code: "raid-battery-weak", On: snapshot.OnBecomes, Attr: "battery", From: []string{"ok"}, To: []string{"low", "hot"}, Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the battery of RAID controller {name} is {new}"},
		{Code: "raid-memory-corrected", On: snapshot.OnWorse, Attr: "memory_correctable", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name}: {new} errors of the controller's memory were corrected, were {old}"},
		{Code: "raid-memory-lost", On: snapshot.OnWorse, Attr: "memory_uncorrectable", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "{name}: {new} errors of the controller's memory could not be corrected, were {old}", Hint: "what was in the write cache may be wrong on the disks"},
		{Code: "raid-package-changed", On: snapshot.OnChanged, Attr: "package", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware package of {name} is {new}, was {old}", Hint: "two things changed at once: what else is found may come from either"},
		{Code: "raid-controller-replaced", On: snapshot.OnChanged, Attr: "serial", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "another RAID controller is in the slot: its serial number is {new}, was {old}"},
	},
}

var raidVolume = snapshot.Kind{
	Name: raidVolumeKind,
	Doc:  "a volume (logical drive) of a MegaRAID controller, known by its number in the controller's configuration",
	Attrs: []snapshot.Attr{
		{Name: "state", Order: []string{"optimal", "partially_degraded", "degraded", "offline"}, Doc: "partially_degraded where it can still bear the loss of a disk, degraded where it cannot"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "size"},
		{Name: "wwid", Doc: "world-wide identifier of the disk that the kernel made of it"},
		{Name: "target", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "its number"},
	},
	Rules: []snapshot.Rule{
		{Code: "raid-volume-worse", On: snapshot.OnWorse, Attr: "state", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "{name} is {new}, was {old}", Hint: "look which of its disks failed, and replace it before the next one does"},
		{Code: "raid-volume-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{name} is gone from the controller's configuration",
			Hint: "disks with another controller's configuration on them are listed as foreign by its tool"},
		{Code: "raid-volume-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} is new"},
		{Code: "raid-volume-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{name} has {new}, had {old}"},
	},
}

// goneStates are those of a disk that its volumes do without.
var goneStates = []string{"failed", "offline", "unconfigured_bad"}

var raidDisk = snapshot.Kind{
	Name: raidDiskKind,
	Doc:  "a disk behind a MegaRAID controller, known by its serial number, its SAS address or its slot",
	Attrs: []snapshot.Attr{
		{Name: "state", Doc: "online, rebuild, hot_spare, copyback, system, unconfigured_good, unconfigured_bad, offline, failed"},
		{Name: "model", Doc: "maker and model"},
		{Name: "serial", Doc: "serial number"},
		{Name: "firmware", Doc: "revision of its firmware"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Doc: "size"},
		{Name: "media_errors", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors of its medium, as the controller counts"},
		{Name: "other_errors", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "errors on the way to it, as the controller counts"},
		{Name: "predictive_failures", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "how often it said that it will fail soon (SMART)"},
		{Name: "path_broken", Doc: "yes where one of its paths is broken"},
		{Name: "sas_address", Doc: "SAS address of its first port"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "controller, enclosure and slot"},
		{Name: "device_id", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "the controller's number of it today, as `smartctl -d megaraid,N` wants it"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "raid-disk-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{name} is gone"},
		{Code: "raid-disk-failed", On: snapshot.OnBecomes, Attr: "state", From: []string{"online", "rebuild", "hot_spare", "copyback", "system", "unconfigured_good"}, To: goneStates,
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "{name} is {new}, was {old}"},
		{Code: "raid-disk-rebuilding", On: snapshot.OnBecomes, Attr: "state", From: []string{"online"}, To: []string{"rebuild"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} is being written anew: it was out of its volume for a while"},
		{Code: "raid-disk-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} is new"},
		{Code: "raid-disk-will-fail", On: snapshot.OnWorse, Attr: "predictive_failures", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} says that it will fail soon ({new} times, was {old})", Hint: "replace it while its volume is optimal"},
		{Code: "raid-disk-media-errors", On: snapshot.OnWorse, Attr: "media_errors", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} had {new} errors of its medium, had {old}"},
		{Code: "raid-disk-other-errors", On: snapshot.OnGrowth, Attr: "other_errors", Ratio: 2, Floor: 10, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} had {new} errors on the way to it, had {old}", Hint: "a cable, a backplane or its own electronics"},
		{Code: "raid-disk-path-broken", On: snapshot.OnBecomes, Attr: "path_broken", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "one of the paths to {name} is broken"},
		{Code: "raid-disk-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "the firmware of {name} is {new}, was {old}"},
	},
}

func (a *mfiAnswers) fillController(c *snapshot.Subject) {
	for attr, text := range map[string]string{"product": a.controller.product, "serial": a.controller.serial, "package": a.controller.pkg} {
		if text != "" {
			c.Set(attr, snapshot.Text(text))
		}
	}
	if a.controller.product != "" {
		c.Label = a.controller.product
	}
	if a.controller.memoryMiB > 0 {
		c.Set("memory_bytes", snapshot.Int(a.controller.memoryMiB<<20))
	}
	c.Set("memory_correctable", snapshot.Int(a.controller.correctable))
	c.Set("memory_uncorrectable", snapshot.Int(a.controller.uncorrectable))
	if a.events != nil {
		c.Set("event_newest", snapshot.Int(a.events.newest))
		if a.events.newest >= a.events.boot {
			c.Set("events_since_start", snapshot.Int(a.events.newest-a.events.boot))
		}
	} else {
		c.Fail("event_newest", a.errs["events"])
	}
	if a.battery == nil {
		c.Fail("battery", a.errs["battery"])
		return
	}
	c.Set("battery", snapshot.Text(a.battery.state))
	if a.battery.millivolts > 0 {
		c.Set("battery_volts", snapshot.Float(float64(a.battery.millivolts)/1000))
		c.Set("battery_celsius", snapshot.Int(a.battery.celsius))
	}
}

func (v *mfiVolume) subject(controller, parent string) snapshot.Subject {
	s := snapshot.Subject{Kind: raidVolumeKind, ID: fmt.Sprintf("%s/volume/%d", controller, v.target), Label: fmt.Sprintf("RAID volume %d", v.target), Parent: parent, Outcome: snapshot.Measured}
	s.Set("state", snapshot.Text(v.state))
	s.Set("size_bytes", snapshot.Int(v.bytes))
	s.Set("target", snapshot.Int(v.target))
	return s
}

// diskSubjects are the disks; one that did not tell who it is is an error, for it
// may be known by another name than at the last boot.
func (a *mfiAnswers) diskSubjects(ctx context.Context, h source.Host, controller, parent string) ([]snapshot.Subject, error) {
	var found []*device
	var errs []error
	for i := range a.disks {
		r := &a.disks[i]
		d := &device{ctx: ctx, root: h.Root, place: fmt.Sprintf("%s/slot/%d:%d", controller, r.ref.enclosure, r.ref.slot)}
		d.Kind, d.Parent, d.Outcome = raidDiskKind, parent, snapshot.Measured
		d.Label = fmt.Sprintf("RAID disk %d:%d", r.ref.enclosure, r.ref.slot)
		d.Set("device_id", snapshot.Int(r.ref.id))
		d.Set("location", snapshot.Text(d.place))
		if r.err != nil {
			d.Outcome, d.Reason = snapshot.Inconclusive, r.err.Error()
			errs = append(errs, fmt.Errorf("ask %s: %w", d.Label, r.err))
		} else {
			d.fillRAIDDisk(&r.info)
		}
		if r.ref.sas != 0 {
			d.Set("sas_address", snapshot.Text(fmt.Sprintf("%016x", r.ref.sas)))
			d.alias("sas", fmt.Sprintf("%016x", r.ref.sas))
		}
		if len(d.aliases) > 0 {
			d.Set("aliases", snapshot.List(d.aliases...))
		}
		found = append(found, d)
	}
	errs = append(errs, identify(h, found)...)
	return subjectsOf(found), errors.Join(errs...)
}

func (d *device) fillRAIDDisk(i *mfiDisk) {
	model := i.model
	if i.vendor != "" && i.vendor != "ATA" {
		model = i.vendor + " " + i.model
	}
	for attr, text := range map[string]string{"model": model, "serial": i.serial, "firmware": i.rev, "state": i.state} {
		if text != "" {
			d.Set(attr, snapshot.Text(text))
		}
	}
	if model != "" {
		d.Label += " (" + model + ")"
	}
	d.Set("size_bytes", snapshot.Int(i.bytes))
	d.Set("media_errors", snapshot.Int(i.mediaErrors))
	d.Set("other_errors", snapshot.Int(i.otherErrors))
	d.Set("predictive_failures", snapshot.Int(i.predictions))
	d.Set("path_broken", yesNo(i.brokenPath))
	if i.serial != "" && i.model != "" {
		d.alias("serial", strings.ReplaceAll(model+"_"+i.serial, " ", "_"))
	}
}
