package hw

import (
	"context"
	"path"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const scsiHostKind = "hw.scsi_host"

var _ = catalogue.Add(source.Source{
	Name: "scsi_host",
	Doc: `SCSI hosts: RAID controllers, SATA ports, USB disks

Reads /sys/class/scsi_host. Left out are hosts without a device behind them (iSCSI in
software, scsi_debug). Of a controller's crash dump only its state is asked for: to read
the dump makes the kernel log an error.`,
	Kinds: []snapshot.Kind{scsiHost},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		return scan(ctx, h, "/sys/class/scsi_host", scsiHostKind, (*device).readSCSIHost)
	},
})

// stuckStates are those of enum scsi_host_state (include/scsi/scsi_host.h) in which a
// host takes no commands. In "recovery" the kernel tries to bring the controller back:
// disks still say that they run, and it is the earliest sign that one dies.
var stuckStates = []string{"recovery", "cancel", "cancel/recovery", "deleted", "deleted/recovery", "offline"}

var scsiHost = snapshot.Kind{
	Name: scsiHostKind,
	Doc:  "a SCSI host, known by where its controller, port or bridge sits",
	Attrs: []snapshot.Attr{
		{Name: "state", Doc: "running, recovery …, as the kernel has it"},
		{Name: "driver", Doc: "driver of the controller or bridge"},
		{Name: "proc_name", Doc: "what the driver calls its hosts; not set where it has no name"},
		{Name: "firmware_crash_state", Doc: "state of the dump that the controller's firmware left, 0 where there is none (MegaRAID)"},
		{Name: "can_queue", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "commands that it takes at a time"},
		{Name: "hotplug", Doc: "yes where it comes and goes with a USB device"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "controller and port"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "number of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "scsi-host-stuck", On: snapshot.OnBecomes, Attr: "state", From: []string{"running"}, To: stuckStates, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Symptom: true,
			Message: "SCSI host {name} is in state {new}, was {old}: its disks do not answer", Hint: "look for resets of its controller in the kernel's log"},
		{Code: "scsi-host-missing", On: snapshot.OnMissing, Where: map[string]string{"hotplug": "no"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "SCSI host {name} is gone"},
		{Code: "scsi-host-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "SCSI host {name} is gone"},
		{Code: "scsi-firmware-crashed", On: snapshot.OnBecomes, Attr: "firmware_crash_state", From: []string{"0"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the firmware of SCSI host {name} crashed and left a dump"},
	},
}

func (d *device) readSCSIHost() bool {
	at := path.Dir(path.Dir(d.dir)) // …/host6/scsi_host/host6
	d.settle(at)
	if d.place == "platform" || strings.HasPrefix(at, "/sys/devices/virtual/") || strings.HasPrefix(d.place, "pseudo_") {
		return false
	}
	d.Parent = d.hangsOn(at)
	d.Set("name", snapshot.Text(d.name))
	d.keep("state", "state")
	if name := d.attr("proc_name", "proc_name"); name != "" && name != "(null)" && name != "<NULL>" {
		d.Set("proc_name", snapshot.Text(name))
	}
	d.keep("firmware_crash_state", "fw_crash_state")
	d.number("can_queue", 1, "can_queue")
	d.Set("hotplug", yesNo(onUSB(at)))
	drv, err := d.driverAbove(path.Dir(at))
	if err != nil {
		d.Fail("driver", err)
	} else {
		d.Set("driver", snapshot.Text(drv))
	}
	d.Label = strings.TrimSpace(drv + " " + d.name)
	return true
}
